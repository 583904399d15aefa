"""``yolotui eval``: what it says of a network on a split, to people and to programs."""

from __future__ import annotations

import json
import shutil
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


def test_what_is_wrong_with_the_split_is_said_beside_the_scores(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, root = Path(options[0].partition("=")[2]), tmp_path / "data"
    shutil.copytree(source, root)
    gone, cut = sorted(demo.demo_root(str(root)).glob("JPEGImages/*val*"))[:2]
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:300])
    told = [f"data.root={root}", "train.workers=0"]
    assert evaluate_split(CONFIG, str(demo_weights()), None, "val", told, False, False, True) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (document["images"], document["unread_images"]) == (3, 1)
    assert [each["kind"] for each in document["problems"]] == ["missing image", "unreadable image"]
    first, missing, unread = printed.err.splitlines()
    assert first.startswith("val: 3 images, ")
    assert missing.startswith("val: 1 x missing image, first in ")
    assert cut.name in unread
