"""Layouts and heads in every form that a script may have them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

from engine.config import load_config
from engine.errors import UserError
from engine.layout import Head, Layout
from engine.recorder.declared import declare

HEAD: dict[str, Any] = {"grid": (3, 4), "stride": 8, "anchors": [(1.0, 2.0)], "classes": 2}
TOML = """
[data]
classes = ["cat", "dog"]
[model]
name = "yolov2"
input_size = [96, 64]
anchors = [[1.0, 2.0], [3.0, 1.0]]
[layout]
order = "b (a c) y x"
[loss]
objectness = "one"
"""


def test_a_layout_is_a_dict_an_order_a_layout_or_a_config(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TOML)
    wanted = Layout(order="b (a c) y x")
    for given in ({"order": "b (a c) y x"}, "b (a c) y x", wanted, file, str(file)):
        assert declare(given, HEAD, None).layout == wanted
    assert declare(None, None, None).layout == Layout()


def test_a_config_tells_its_heads_and_its_profile(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TOML)
    declared = declare(file, None, None)
    assert [(h.grid_h, h.grid_w, h.stride, h.classes, h.anchors.tolist()) for h in declared.heads] == [
        (2, 3, 32, 2, [[1.0, 2.0], [3.0, 1.0]])
    ]
    assert declared.classes == ("cat", "dog")
    assert declared.profile["objectness"] == "one"


@pytest.mark.parametrize(
    "given",
    [
        HEAD,
        {"grid_h": 3, "grid_w": 4, "stride": 8, "anchors": torch.tensor([[1.0, 2.0]]), "classes": 2},
        Head(3, 4, 8, torch.tensor([[1.0, 2.0]]), 2),
        {**HEAD, "classes": ["cat", "dog"]},
    ],
)
def test_a_head_is_a_dict_or_a_head(given: Any) -> None:
    (head,) = declare(None, given, None).heads
    assert (head.grid_h, head.grid_w, head.stride, head.classes) == (3, 4, 8, 2)
    assert head.anchors.tolist() == [[1.0, 2.0]]


def test_names_of_classes_come_with_the_head_or_beside_it() -> None:
    assert declare(None, {**HEAD, "classes": ["cat", "dog"]}, None).classes == ("cat", "dog")
    assert declare(None, [HEAD, {**HEAD, "grid": 6}], ["cat", "dog"]).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("layout", "head", "message"),
    [
        ({"ordr": "b y x a c"}, HEAD, "did you mean 'layout.order'"),
        ("b y x a", HEAD, "order must name each of"),
        (7, HEAD, "layout: is a int"),
        (None, {**HEAD, "anchors": [1.0, 2.0]}, "anchors"),
        (None, {**HEAD, "stride": 8.0}, "stride = 8.0 is not a whole number"),
        (None, {"grid": 3, "anchors": [(1, 1)], "classes": 2}, "lacks stride"),
        (None, {**HEAD, "classes": 3, "colour": 1}, "unknown key 'colour'"),
        (None, "13x13", "head: is a str"),
    ],
)
def test_what_does_not_fit_is_told_with_its_remedy(layout: Any, head: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        declare(layout, head, None)
    assert message in str(caught.value)
    assert caught.value.fix


def test_as_many_names_as_classes() -> None:
    with pytest.raises(UserError, match="has 2 classes, and 3 names"):
        declare(None, HEAD, ["a", "b", "c"])


def test_the_config_that_is_written_can_be_read_back(tmp_path: Path) -> None:
    head = {**HEAD, "grid": (4, 6)}
    declared = declare("b a c y x", [head, {**head, "stride": 16, "grid": (2, 3)}], None)
    (tmp_path / "config.toml").write_text(tomli_w.dumps(declared.known(3e-4, 8, 0)))
    again = load_config(tmp_path / "config.toml")
    assert again.layout.order == "b a c y x"
    assert (again.train.lr, again.train.batch_size) == (3e-4, 8)
    assert "epochs" not in (tmp_path / "config.toml").read_text(), "not known"
    assert again.model.input_wh == (48, 32)
