"""``deep``: a network learns a batch by heart, or it is said why it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import load_config
from engine.doctor.check import check, one_thread
from engine.doctor.deep import overfit
from engine.doctor.findings import Finding
from engine.doctor.stage import stages
from engine.doctor.subject import Called, blueprint_of, load_user

from ..healthy import Design, errors, examine
from ..plain import NETWORK, PLAIN, changed


@pytest.fixture(autouse=True)
def on_one_thread() -> Iterator[None]:
    """The tries have a time, and threads that wait for each other on busy cores are many times slower."""
    with one_thread():
        yield


SMALL = Design(2, {"input_size": [160, 128]})


@pytest.mark.slow
def test_a_sound_detector_learns_a_batch_by_heart(tmp_path: Path) -> None:
    report = examine(tmp_path, PLAIN + NETWORK, SMALL, deep=True)
    assert report.ok, errors(report)
    assert any(p.name == "loop.overfit" and p.status == "passed" for p in report.probes)


DEAF = {
    "drops nearly all": changed(
        NETWORK,
        ("self.head = nn.Conv2d(width,", "self.head = nn.Sequential(nn.Dropout(0.98), nn.Conv2d(width,"),
        ("self.channels, 1)\n", "self.channels, 1))\n"),
    ),
    "saturates": changed(
        NETWORK,
        ("2, 1, bias=False), nn.BatchNorm2d(out), nn.LeakyReLU(0.1)]", "2, 1), nn.Sigmoid()]"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", DEAF)
def test_a_network_that_cannot_learn_is_named(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone it does all that the contract asks."""
    monkeypatch.setattr(overfit, "BY_HEART", 5.0)
    report = examine(tmp_path, PLAIN + DEAF[fault], SMALL, deep=True)
    first = report.findings[0]
    assert (first.function, first.probe, first.severity) == ("build_model", "loop.overfit", "error")
    assert "with the reference's build_model in place" in first.message


def learnt(folder: Path, text: str, design: Design = SMALL) -> list[Finding]:
    """What the overfit alone says, though the probes of each function would have said it before."""
    source = design.write(folder)
    code = folder / "mine.py"
    code.write_text(text)
    config = load_config(source)
    blueprint = blueprint_of(config, tuple(config.data.classes))
    user, _ = load_user(code)
    stage = stages(blueprint.detector())[0]
    told = overfit.probe_overfit(Called(user), blueprint, stage)
    return [finding for name, found in told if name == "loop.overfit" for finding in found]


FAULTS = {
    "detect": ("keep = score > conf", "keep = score > 2"),
    "decode": (
        "pred[..., 3:5].exp() * head.anchors / size",
        "pred[..., 3:5].exp() * head.anchors / size * 0.4",
    ),
    "assign": ("out[b, gy, gx, a] = ", "out[b, gy, gx, 0] = out[b, gy, gx, a] = 0 * "),
    "loss": ("lbox = (weight", "lbox = 0 * (weight"),
}


@pytest.mark.slow
@pytest.mark.parametrize("function", FAULTS)
def test_the_function_whose_exchange_mends_it_is_named(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overfit, "BY_HEART", 3.0)
    found = learnt(tmp_path, changed(PLAIN, FAULTS[function]) + NETWORK)
    assert [f.function for f in found] == [function], found
    assert found[0].severity == "error"


@pytest.mark.slow
def test_a_deep_finding_beside_an_earlier_error_is_its_consequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that cannot work, and a network that does not learn."""
    monkeypatch.setattr(overfit, "BY_HEART", 5.0)
    monkeypatch.setattr(overfit, "AGAIN", 4.0)
    source = SMALL.write(tmp_path)
    source.write_text(source.read_text() + "\n[train]\nmomentum = 1.0\n")
    code = tmp_path / "mine.py"
    code.write_text(PLAIN + DEAF["drops nearly all"])
    report = check(load_config(source), source=source, code=code, deep=True)
    assert report.findings[0].probe == "contract.momentum"
    deep = next(f for f in report.findings if f.probe == "loop.overfit")
    assert deep.consequence_of == 0
