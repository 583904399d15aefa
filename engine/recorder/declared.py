"""What ``watch`` was told of somebody's tensors, in whatever form, as a layout and heads."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..config import Config, config_from, load_config
from ..errors import UserError
from ..layout import Head, Layout

EXAMPLE = (
    "head=dict(grid=(13, 13), stride=32, anchors=[(1.3, 1.7), (3.2, 4.0)], classes=20); anchors in grid units"
)


@dataclass(frozen=True)
class Declared:
    layout: Layout = field(default_factory=Layout)
    heads: tuple[Head, ...] = ()
    """Empty: the tensors cannot be read, only the losses."""
    classes: tuple[str, ...] = ()
    config: Config | None = None
    """The config that was named, where one was."""

    @property
    def profile(self) -> dict[str, Any]:
        """The ``[loss]`` keys and the assignment, where a config declares them."""
        if self.config is None:
            return {}
        rule = {"assign": self.config.model.assign, "assign_ratio": self.config.model.assign_ratio}
        return {**self.config.loss.model_dump(mode="json"), **rule}

    def known(self, rate: float, batch_size: int, epochs: int) -> dict[str, Any]:
        """What is known of the run, as the tables of a config; 0: not known. Raises ``UserError`` where the
        trainer would not have it."""
        train = {"lr": rate, "batch_size": batch_size, "epochs": epochs}
        layout = {f.name: getattr(self.layout, f.name) for f in dataclasses.fields(Layout) if f.init}
        values: dict[str, Any] = self.config.model_dump(mode="json") if self.config is not None else {}
        values["layout"] = {k: list(v) if isinstance(v, tuple) else v for k, v in layout.items()}
        values["train"] = {**values.get("train", {}), **{k: v for k, v in train.items() if v > 0}}
        if self.heads and self.config is None:
            first = self.heads[0]
            anchors = [[_short(pair) for pair in head.anchors.tolist()] for head in self.heads]
            values["model"] = {"input_size": [first.input_w, first.input_h], "anchors": anchors}
        if self.classes and self.config is None:
            values["data"] = {"classes": list(self.classes)}
        config_from(values, "watch")
        return values


def _short(anchor: Sequence[float]) -> list[float]:
    """As they were written: single precision makes 1.2000000476837158 of 1.2."""
    return [float(f"{value:.7g}") for value in anchor]


def declare(layout: Any, head: Any, classes: Sequence[str] | None) -> Declared:
    """From what ``watch`` was given. Raises ``UserError`` saying what does not fit and how to mend it."""
    config = None
    if isinstance(layout, (str, Path)) and str(layout).endswith(".toml"):
        config = load_config(layout)
        read = config.layout.build()
    else:
        read = _layout(layout)
    names = tuple(str(name) for name in classes or ())
    heads: tuple[Head, ...] = ()
    if head is not None:
        several = isinstance(head, (list, tuple))
        given = [_head(each, names) for each in (head if several else [head])]
        heads = tuple(each for each, _ in given)
        names = names or next((own for _, own in given if own), ())
    elif config is not None:
        names = names or tuple(config.data.classes)
        heads = _heads_of(config, names)
    if names and any(each.classes != len(names) for each in heads):
        raise UserError(
            f"has {heads[0].classes} classes, and {len(names)} names of classes were given",
            where="head",
            fix="classes is their count, or the list of their names",
        )
    return Declared(read, heads, names, config)


def _layout(value: Any) -> Layout:
    if value is None:
        return Layout()
    if isinstance(value, str):
        value = {"order": value}
    if not isinstance(value, Mapping):
        names = [f.name for f in dataclasses.fields(Layout) if f.init]
        if not all(hasattr(value, name) for name in names):
            raise UserError(
                f"is a {type(value).__name__}",
                where="layout",
                fix='give a dict as in [layout], a config.toml, or the order of the axes as "b (a c) y x"',
            )
        value = {name: getattr(value, name) for name in names}
    plain = {key: list(each) if isinstance(each, tuple) else each for key, each in value.items()}
    return config_from({"layout": plain}, "layout").layout.build()


def _head(value: Any, names: tuple[str, ...]) -> tuple[Head, tuple[str, ...]]:
    """A head, and the names of its classes where they came with it."""
    if not isinstance(value, Mapping):
        keys = ("grid_h", "grid_w", "stride", "anchors", "classes")
        if not all(hasattr(value, key) for key in keys):
            raise UserError(f"is a {type(value).__name__}", where="head", fix=f"give {EXAMPLE}")
        value = {key: getattr(value, key) for key in keys}
    given = dict(value)
    grid = given.pop("grid", None)
    if grid is not None:
        rows, columns = grid if isinstance(grid, (list, tuple)) else (grid, grid)
        given = {"grid_h": rows, "grid_w": columns, **given}
    own: tuple[str, ...] = ()
    if isinstance(given.get("classes"), (list, tuple)):
        own = tuple(str(name) for name in given["classes"])
        given["classes"] = len(own)
    elif "classes" not in given and names:
        given["classes"] = len(names)
    for key in ("grid_h", "grid_w", "stride", "classes"):
        number = given.get(key)
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            what = f"lacks {key}" if number is None else f"{key} = {number!r} is not a whole number above 0"
            raise UserError(what, where="head", fix=f"give {EXAMPLE}")
    unknown = set(given) - {"grid_h", "grid_w", "stride", "anchors", "classes"}
    if unknown:
        raise UserError(f"has the unknown key {sorted(unknown)[0]!r}", where="head", fix=f"give {EXAMPLE}")
    anchors = _anchors(given.get("anchors"))
    return Head(given["grid_h"], given["grid_w"], given["stride"], anchors, given["classes"]), own


def _anchors(value: Any) -> torch.Tensor:
    try:
        pairs = [(float(w), float(h)) for w, h in (value.tolist() if hasattr(value, "tolist") else value)]
    except (TypeError, ValueError):
        pairs = []
    if not pairs or not all(math.isfinite(side) and side > 0 for pair in pairs for side in pair):
        raise UserError(f"anchors = {value!r} are not pairs of sizes", where="head", fix=f"give {EXAMPLE}")
    return torch.tensor(pairs)


def _heads_of(config: Config, classes: tuple[str, ...]) -> tuple[Head, ...]:
    """Those of a config that says all about them; none where anchors or classes are still to be found."""
    from ..blueprint import Blueprint, declared_anchors  # knows the networks

    anchors = declared_anchors(config.model)
    if anchors is None or not classes:
        raise UserError(
            "does not tell the heads: it leaves anchors or classes to the data",
            where="layout",
            fix=f"write model.anchors and data.classes, or give {EXAMPLE}",
        )
    return Blueprint.of(config, classes, anchors).heads()
