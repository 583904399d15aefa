"""A training loop with something wrong in it, or unusual and right: run, and judged as it runs.

``edits`` are made to ``bases/loop.py``. The judge is called once an iteration, at one of the four places
marked there, another for each seed: what it finds must not depend on it.
"""

from __future__ import annotations

import importlib.util
import json
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.doctor.blame import ordered
from engine.doctor.contracts import LoopJudge, Previous
from tests.faults.case import Case

PLACES = 4


@dataclass(frozen=True)
class LoopCase(Case):
    """``row``, ``expected`` and ``functions`` as in ``Case``; there are no channels in a loop."""

    previous: Previous | None = None
    steps: int = 40
    with_loader: bool = False
    """Whether the judge is given the loader."""

    def findings(self, folder: Path, seed: int) -> list[dict[str, Any]]:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "train.py"
        text = self.source()
        place = f"# place {seed % PLACES}\n"
        path.write_text(text.replace(place, "run.step(losses, images)\n" if "0" not in place else FIRST))
        spec = importlib.util.spec_from_file_location(f"loop_{self.slug.replace('-', '_')}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        judges: list[_Watched] = []

        def watch(model: Any, optimizer: Any = None, loader: Any = None, **more: Any) -> _Watched:
            judge = LoopJudge(
                model, optimizer, loader if self.with_loader else None, previous=self.previous, **more
            )
            judges.append(_Watched(judge))
            return judges[-1]

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says some of it too
            module.train(watch, self.steps)
        for each in judges:
            each.judge.close()
            if each.judge.broken:
                raise AssertionError(f"the judge gave up: {each.judge.broken}")
        found = ordered([finding for each in judges for finding in each.found])
        made: list[dict[str, Any]] = json.loads(json.dumps([finding.to_json() for finding in found]))
        return made


FIRST = "run.step(locals().get('losses', {}), images)\n"
"""Above the forward pass: the losses are those of the iteration before."""


class _Watched:
    def __init__(self, judge: LoopJudge) -> None:
        self.judge = judge
        self.found: list[Any] = []

    def step(self, losses: Any = None, images: Any = None) -> None:
        self.found += self.judge.step(losses, images, place=("train.py", 87))


def loop_fault(
    slug: str, about: str, *edits: tuple[str, str], to: str | Sequence[str], **more: Any
) -> LoopCase:
    functions = (to,) if isinstance(to, str) else tuple(to)
    return LoopCase(slug, "loop", about, edits, functions=functions, **more)


def loop_legitimate(slug: str, about: str, *edits: tuple[str, str], **more: Any) -> LoopCase:
    return LoopCase(slug, "loop", about, edits, expected="none", **more)
