"""Which finding is the claim of root cause."""

from __future__ import annotations

from engine.doctor.blame import ordered
from engine.doctor.findings import Finding


def error(function: str, probe: str, **more: str) -> Finding:
    return Finding("error", probe, function, probe, **more)  # type: ignore[arg-type]


def test_a_function_probed_with_made_inputs_comes_before_the_data() -> None:
    """One picture cut off is no reason why a decode is wrong, nor is it put down to that."""
    cut, decode = error("data", "data.pictures"), error("decode", "decode.influence")
    first, second = ordered([cut, decode])
    assert (first.probe, second.probe) == ("decode.influence", "data.pictures")
    assert second.consequence_of is None


def test_what_only_a_loop_shows_comes_after_the_data() -> None:
    cut, loop = error("data", "data.labels"), error("loop", "loop.overfit")
    assert [f.function for f in ordered([loop, cut])] == ["data", "loop"]


def test_a_consequence_stands_after_its_cause_whatever_its_function() -> None:
    cause = error("optimizer", "contract.momentum")
    deep = error("build_model", "loop.overfit", follows="optimizer")
    first, second = ordered([deep, cause])
    assert first.probe == "contract.momentum"
    assert second.consequence_of == 0
