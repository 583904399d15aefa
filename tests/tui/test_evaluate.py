"""``yolotui eval``: what it says of a network on a split, to people and to programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.data import demo
from engine.predictor import demo_weights
from tui.commands.evaluate import evaluate_split

CONFIG = Path(__file__).parents[2] / "configs" / "demo.toml"


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The demo set, of four pictures to score."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "SPLITS", {"train": 1, "val": 4})
        demo.draw_demo(demo.demo_root(str(folder)))
    return [f"data.root={folder}", "train.workers=0"]


@pytest.mark.parametrize("tta", [pytest.param(False, marks=pytest.mark.slow), True])
def test_it_says_what_was_scored_how_and_with_what_errors(
    options: list[str], tta: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(as_json: bool) -> str:
        assert evaluate_split(CONFIG, str(demo_weights()), None, "val", options, tta, tta, as_json) == 0
        return capsys.readouterr().out

    document = json.loads(printed(as_json=True))
    assert document["tta"] is tta
    assert document["images"] == 4
    assert 0.5 < document["map50_95"] <= document["map50"] <= 1
    assert ("errors" in document) is tta
    first, *rest = printed(as_json=False).splitlines()
    assert first.startswith(f"4 images, {document['objects']} objects")
    assert ("--tta" in first) is tta
    assert ("what mAP50 would gain without its errors, by kind:" in rest) is tta
