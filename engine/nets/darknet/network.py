"""A plan as a network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ...config import ModelConfig
from ...errors import UserError
from ...layout import Head
from .cfg import parse_cfg
from .heads import heads_of
from .layers import make_layer
from .plan import Plan, make_plan


class Darknet(nn.Module):
    """Images ``[B, 3, H, W]`` in 0..1 -> a canonical prediction a head, finest grid first.

    ``layers`` has Darknet's own numbers: ``layers.74.conv.weight`` is layer 74's kernels.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.layers = nn.ModuleList(make_layer(layer) for layer in plan.layers)
        self._order = tuple(head.layer for head in heads_of(plan))
        self._reads = tuple(layer.reads for layer in plan.layers[: max(self._order) + 1])
        self._done = _last_uses(self._reads)

    def forward(self, images: Tensor) -> list[Tensor]:
        outputs: dict[int, Tensor] = {-1: images}
        for index, reads in enumerate(self._reads):
            if not reads:
                continue
            outputs[index] = self.layers[index](*(outputs[k] for k in reads))
            for k in self._done[index]:
                del outputs[k]
        return [outputs[k] for k in self._order]


def _last_uses(reads: tuple[tuple[int, ...], ...]) -> list[list[int]]:
    """For each layer the outputs that no later one reads, so that they need not be kept."""
    last: dict[int, int] = {}
    for index, sources in enumerate(reads):
        for source in sources:
            last[source] = index
    done: list[list[int]] = [[] for _ in reads]
    for source, index in last.items():
        done[index].append(source)
    return done


def build_darknet(heads: Sequence[Head], config: ModelConfig, text: str) -> Darknet:
    """The network of a cfg's text at the config's input size.

    Raises ``UserError`` where its heads are not those that the config and the data call for.
    """
    plan = make_plan(parse_cfg(text, config.cfg or "its cfg"), config.input_wh)
    for ours, theirs in zip(heads_of(plan), heads, strict=False):
        section = plan.layers[ours.layer].section
        if ours.classes != theirs.classes:
            filters = len(ours.anchors) * (5 + theirs.classes)
            before = plan.layers[plan.layers[ours.layer].reads[0]].section
            raise section.error(
                f"has {ours.classes} classes, the data set {theirs.classes}",
                "classes",
                f"set classes={theirs.classes} in every head, filters={filters} before (line {before.line})",
            )
        if len(ours.anchors) != theirs.anchor_count:
            raise section.error(
                f"has {len(ours.anchors)} anchors, model.anchors {theirs.anchor_count}",
                fix=f'give {len(ours.anchors)}, or anchors = "kmeans" and anchor_count = {len(ours.anchors)}',
            )
    strides = [head.stride for head in heads_of(plan)]
    if strides != [head.stride for head in heads]:
        raise UserError(
            f"are {[head.stride for head in heads]}, the cfg's heads have {strides}",
            where="model.strides",
            fix="leave it out",
        )
    return Darknet(plan)
