"""``yolotui darknet``: a cfg's layers as Darknet prints them, and whether a weights file fits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.nets.darknet.cfg import read_cfg
from engine.nets.darknet.plan import Plan, make_plan
from engine.nets.darknet.summary import as_json, layer_lines, summary

from ..console import print_json


def darknet(cfg: Path, weights: Path | None, as_document: bool) -> int:
    """Raises ``UserError`` where the cfg cannot be built, or the weights are not its own."""
    plan = make_plan(read_cfg(cfg))
    held = _weights(weights, plan) if weights is not None else None
    if as_document:
        print_json({"cfg": str(cfg), **as_json(plan), "weights": held})
        return 0
    print("\n".join(layer_lines(plan)))
    print(summary(plan))
    if held is not None:
        version, images = ".".join(str(part) for part in held["version"]), f"{held['seen']:,} images seen"
        covered = "every layer" if held["rest"] is None else f"the layers before layer {held['rest']}"
        print(f"{weights}: version {version}, {images}, {held['values']:,} values, for {covered}")
    return 0


def _weights(path: Path, plan: Plan) -> dict[str, Any]:
    from engine.nets.darknet.weights_file import read_weights

    stored = read_weights(path, plan)
    return {
        "file": str(path),
        "version": list(stored.header.version),
        "seen": stored.header.seen,
        "values": sum(layer.stored for layer in plan.layers if stored.holds(layer)),
        "rest": None if stored.rest is None else stored.rest.index,
    }
