"""``deep``: a network learns a batch by heart, or is found not to."""

from __future__ import annotations

from pathlib import Path

import pytest

from .healthy import Design, errors, examine
from .plain import NETWORK, PLAIN, changed


@pytest.mark.slow
def test_a_sound_detector_learns_a_batch_by_heart(tmp_path: Path) -> None:
    design = Design(2, {"input_size": [160, 128]})
    report = examine(tmp_path, PLAIN + NETWORK, design, deep=True)
    assert report.ok, errors(report)
    assert any(p.name == "loop.overfit" and p.status == "passed" for p in report.probes)


@pytest.mark.slow
def test_a_network_that_cannot_see_is_found(tmp_path: Path) -> None:
    """Every image gets the same prediction: nothing that a probe of one function alone would look at."""
    blind = changed(
        NETWORK, ("self.body(images)", "self.body(images).mean((2, 3), keepdim=True) + 0 * self.body(images)")
    )
    report = examine(tmp_path, PLAIN + blind, Design(2, {"input_size": [160, 128]}), deep=True)
    assert not report.ok
    assert report.findings[0].function in ("loop", "build_model")
