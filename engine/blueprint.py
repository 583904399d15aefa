"""What a trained network is, apart from its weights: enough to build it and to read its predictions.

Stands in every weights file, so that ``detect`` needs no config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from .config import Config, LayoutConfig, LossConfig, ModelConfig
from .errors import UserError
from .layout import Head
from .nets.darknet.cfg import read_cfg
from .nets.registry import build_network, head_strides
from .yolo.detector import Detector
from .yolo.loss import LossProfile
from .yolo.plugin import UserFunctions
from .yolo.views import SYMMETRIES, Symmetry

AnchorTable = tuple[tuple[tuple[float, float], ...], ...]
"""Per head, per anchor: width and height in grid units."""


@dataclass(frozen=True)
class Blueprint:
    """``model.anchors`` is resolved: k-means has been done. Heads stand finest first."""

    model: ModelConfig
    layout: LayoutConfig
    loss: LossConfig
    classes: tuple[str, ...]
    anchors: AnchorTable
    cfg: str = ""
    """The text of a Darknet cfg: the network must not depend on a file that may go."""
    symmetries: tuple[Symmetry, ...] = ()
    """What the training pictures were laid in at random; weights of other programs do not say."""
    code: str = ""
    """The file of the functions that it was trained with in the reference's places."""
    own: tuple[str, ...] = ()
    """Their names."""

    @classmethod
    def of(cls, config: Config, classes: tuple[str, ...], anchors: AnchorTable) -> Blueprint:
        cfg = read_cfg(Path(config.model.cfg)).text if config.model.cfg else ""
        drawn = tuple(name for name in SYMMETRIES if getattr(config.augment, name) > 0)
        return cls(config.model, config.layout, config.loss, classes, anchors, cfg, drawn)

    @property
    def input_wh(self) -> tuple[int, int]:
        return self.model.input_wh

    @property
    def stretched(self) -> bool:
        """Whether pictures fill the input, whatever their shape."""
        return self.model.stretched

    @property
    def fused(self) -> bool:
        """Whether each truth was learnt at several slots, so that several tell of one object."""
        return self.model.assign == "multi" and "assign" not in self.own

    def heads(self) -> tuple[Head, ...]:
        width, height = self.input_wh
        strides = head_strides(self.model)
        stretched = self.model.scale_xy or [1.0] * len(strides)
        if len(stretched) != len(strides):
            raise UserError(
                f"{len(stretched)} number(s) for {len(strides)} head(s)",
                where="model.scale_xy",
                fix="give a number a head, finest head first",
            )
        return tuple(
            Head(height // stride, width // stride, stride, torch.tensor(anchors), len(self.classes), scale)
            for stride, anchors, scale in zip(strides, self.anchors, stretched, strict=True)
        )

    def detector(self, user: UserFunctions | None = None) -> Detector:
        return Detector(
            self.heads(),
            self.layout.build(),
            LossProfile(**{**self.loss.model_dump(), "total": tuple(self.loss.total)}),
            self.model.assign,
            self.model.assign_ratio,
            user or UserFunctions(),
            self.stretched,
        )

    def network(self, user: UserFunctions | None = None) -> nn.Module:
        """A fresh network (the user's ``build_model`` where there is one), from torch's random state."""
        heads = self.heads()
        build = user.get("build_model") if user else None
        if build is None:
            return build_network(self.model, heads, self.layout.build(), self.cfg)
        model = build(heads[0] if len(heads) == 1 else list(heads), list(self.classes))
        if not isinstance(model, nn.Module):
            raise UserError(
                f"build_model returned {type(model).__name__}, expected a torch.nn.Module",
                where=user.place("build_model") if user else "",
            )
        return model

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model.model_dump(mode="json", exclude={"weights", "cfg"}),
            "layout": self.layout.model_dump(mode="json"),
            "loss": self.loss.model_dump(mode="json"),
            "classes": list(self.classes),
            "anchors": [[list(anchor) for anchor in head] for head in self.anchors],
            **({"cfg": self.cfg} if self.cfg else {}),
            **({"symmetries": list(self.symmetries)} if self.symmetries else {}),
            **({"code": self.code, "own": list(self.own)} if self.own else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], path: Path) -> Blueprint:
        """Raises ``UserError`` where a weights file describes something this version cannot build."""
        try:
            return cls(
                ModelConfig.model_validate(value["model"]),
                LayoutConfig.model_validate(value["layout"]),
                LossConfig.model_validate(value["loss"]),
                tuple(value["classes"]),
                as_table(value["anchors"]),
                str(value.get("cfg", "")),
                tuple(name for name in SYMMETRIES if name in value.get("symmetries", ())),
                str(value.get("code", "")),
                tuple(map(str, value.get("own", ()))),
            )
        except (KeyError, TypeError, ValidationError) as error:
            raise UserError(
                f"describes a network this version cannot build ({type(error).__name__})", where=path
            ) from error


def as_table(anchors: Any) -> AnchorTable:
    return tuple(tuple((float(w), float(h)) for w, h in head) for head in anchors)


def declared_anchors(config: ModelConfig) -> AnchorTable | None:
    """The anchors written in a config, a tuple a head; None for k-means. Raises ``UserError``."""
    if config.anchors == "kmeans":
        return None
    strides = head_strides(config)
    nested = bool(config.anchors) and isinstance(config.anchors[0][0], list)
    table = as_table(config.anchors if nested else [config.anchors])
    if not all(table) or len(table) != len(strides):
        raise UserError(
            f"{len(table)} list(s) of anchors for {len(strides)} head(s)",
            where="model.anchors",
            fix='give a list of [w, h] a head, finest head first, or "kmeans"',
        )
    return table
