"""The user's ``assign`` alone, against the contract rather than against the reference's tie-breaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...boxes import shape_iou
from ...yolo.assign import Assigned, assign
from ..calling import Called, Refusal
from ..data.boxes import Contest
from ..findings import Finding
from ..inputs import Scene, anchor_margin, generator, given, scene, uniform
from ..stage import Stage
from .calls import judge_empty, judge_inputs, judge_memory, raised_where
from .collisions import judge_bystanders, judge_collisions
from .explained import explain_place, explain_values
from .further import confusable, judge_edges, judge_further
from .run import TOLERANCE, run_assign, slots_of

ROUNDING = 1e-3
"""Of a value: half precision rounds to half of it."""
Results = Iterator[tuple[str, list[Finding]]]


def probe_assign(called: Called, stage: Stage, contested: Contest | None = None) -> Results:
    """One truth an image first, where nothing can collide; then many, borders, and contested slots.

    ``contested``: how many truths of the user's own data want one slot.
    """
    single = _singles(stage)
    try:
        targets = run_assign(called, stage, single)
    except Refusal as refusal:
        raise Refusal(raised_where(called, stage, single, refusal.finding)) from refusal
    yield "assign.call", []
    wrong = _judge(called, stage, single, targets, "assign.roundtrip")
    yield "assign.roundtrip", wrong
    if wrong:
        return  # what follows would say the same again
    kept = judge_memory(called, stage, single)
    yield "assign.state", kept
    if kept:
        return
    if (unlike := _unlike_anchors(stage)) is not None:
        wrong = _judge(called, stage, unlike, run_assign(called, stage, unlike), "assign.sizes")
        yield "assign.sizes", [_forgotten(f, stage) for f in wrong]
        if wrong:
            return
    if (telling := confusable(stage)) is not None:
        wrong = _judge(called, stage, telling, run_assign(called, stage, telling), "assign.sizes")
        yield "assign.sizes", wrong
        if wrong:
            return
    if stage.detector.rule == "multi":
        further = judge_further(called, stage, single, targets) or judge_edges(called, stage)
        yield "assign.further", further
        if further:
            return
    for name, made in (
        ("assign.many", scene(stage, [3, 0, 4, 1], seed=23)),
        ("assign.border", _borders(stage)),
    ):
        if name == "assign.border":
            beyond = _raises_at_edge(called, stage, made)
            if beyond:
                yield name, beyond
                return
        wrong = _judge(called, stage, made, run_assign(called, stage, made), name)
        yield name, wrong
        if wrong:
            return
    if stage.detector.rule == "best" and (shared := _one_cell(stage)) is not None:
        wrong = _judge(called, stage, shared, run_assign(called, stage, shared), "assign.one_cell")
        yield "assign.one_cell", [_erased(f) for f in wrong]
        if wrong:
            return
    bystanders = judge_bystanders(called, stage)
    yield "assign.collisions", bystanders or judge_collisions(called, stage, contested or Contest())
    yield "assign.inputs", judge_inputs(called, stage, single)
    yield "assign.empty", judge_empty(called, stage)


def _singles(stage: Stage) -> Scene:
    """Twelve images of one truth each, and one without any in the middle."""
    return scene(stage, [1] * 6 + [0] + [1] * 6, seed=7)


def _unlike_anchors(stage: Stage) -> Scene | None:
    """Truths that no anchor comes near: small, long and thin. The best of them answers for each all the same.
    None where the anchors leave no room for such a truth."""
    g = generator(41)
    anchors = torch.cat([head.anchors.float() * head.stride for head in stage.heads])
    width, height = stage.input_wh
    far = 1.15 * stage.detector.ratio if stage.detector.rule == "multi" else 1.9
    small: list[Tensor] = []
    others: list[Tensor] = []
    for number in range(900):
        if number < 300:
            w, h = (max(4.0, side * uniform(0.25, 0.6, g)) for side in anchors.amin(0).tolist())
        else:
            w, h = (float(4 * (0.8 * side / 4) ** uniform(0, 1, g)) for side in (width, height))
        kept = small if number < 300 else others
        if len(kept) == 3:
            continue
        relation = torch.tensor([[w, h]]) / anchors
        best = shape_iou(torch.tensor([[w, h]]), anchors)[0].sort(descending=True).values.tolist()
        if float(torch.maximum(relation, 1 / relation).amax(1).min()) < far:
            continue
        if len(best) > 1 and best[0] < 1.25 * best[1]:
            continue
        kept.append(torch.tensor([[0.37, 0.58, w / width, h / height]]))
    boxes = small + others
    if not boxes:
        return None
    return given(stage, boxes, [torch.tensor([k % stage.classes]) for k in range(len(boxes))])


def _forgotten(finding: Finding, stage: Stage) -> Finding:
    if finding.channels != ("mask",):
        return finding
    text = "assign gives no slot to truths whose size is far from every anchor's"
    fix = "every truth has a slot: the anchor of best w/h IoU answers for it, however small that is"
    if stage.detector.rule == "multi":
        fix += "; assign_ratio only adds further slots"
    return replace(finding, message=text, fix=fix)


def _borders(stage: Stage) -> Scene:
    """Centres at exactly 1.0 and 0.0, boxes against the right and the bottom edge, tiny and nearly whole."""
    sizes = _clear_sizes(stage, 6)
    small = [min(s, 0.4) for s in sizes[0]]
    boxes = [
        [1.0, 0.37, *sizes[0]],
        [0.41, 1.0, *sizes[1]],
        [1.0, 1.0, *sizes[2]],
        [0.0, 0.0, *sizes[3]],
        [1 - small[0] / 2, 0.63, *small],
        [0.99999, 0.99999, *sizes[4]],
    ]
    each = [torch.tensor([box], dtype=torch.float32) for box in boxes]
    labels = [torch.tensor([k % stage.classes]) for k in range(len(each))]
    return given(stage, each, labels)


def _one_cell(stage: Stage) -> Scene | None:
    """Two truths with their centres in one cell, of different best anchors: nothing is contested."""
    g = generator(37)
    head = stage.heads[-1]
    sizes = _clear_sizes(stage, 24)
    for first in sizes:
        for second in sizes:
            x, y = (1.3 + uniform(0, 0.2, g)) / head.grid_w, (0.4 + uniform(0, 0.2, g)) / head.grid_h
            pair = torch.tensor([[x, y, *first], [x + 0.1 / head.grid_w, y, *second]])
            labels = torch.tensor([0, stage.classes - 1])
            made = given(stage, [pair, pair.flip(0)], [labels, labels.flip(0)])
            if sum(int(p.sum()) for p in made.positive) == 4:
                return made
    return None


def _erased(finding: Finding) -> Finding:
    text = (
        f"{finding.message} (two truths in one cell, of different anchors: neither competes with the other)"
    )
    return replace(finding, message=text, fix="touch only the truth's own slot: targets[b, gy, gx, best]")


def _raises_at_edge(called: Called, stage: Stage, made: Scene) -> list[Finding]:
    """Where a centre at the border makes assign raise: which border, the finding's channels say."""
    refused: list[tuple[int, Finding]] = []
    for image in range(made.batch):
        alone = given(stage, made.boxes[image : image + 1], made.labels[image : image + 1])
        try:
            run_assign(called, stage, alone)
        except Refusal as refusal:
            refused.append((image, refusal.finding))
    if not refused:
        return []
    image, finding = refused[0]
    channels = tuple(
        n for k, n in enumerate("xy") if any(float(made.boxes[i][0, k]) in (0.0, 1.0) for i, _ in refused[:1])
    )
    cx, cy = made.boxes[image][0, :2].tolist()
    return [
        replace(
            finding,
            probe="assign.border",
            channels=channels or ("x", "y"),
            message=f"{finding.message}, for a truth whose centre lies at ({cx:g}, {cy:g})",
            fix="a centre at exactly 1.0 belongs to the last cell: min(int(cx * grid_w), grid_w - 1)",
        )
    ]


def _clear_sizes(stage: Stage, count: int) -> list[tuple[float, float]]:
    """Sizes with one clearly best anchor."""
    g = generator(3)
    anchors = torch.cat([head.anchors.float() * head.stride for head in stage.heads])
    width, height = stage.input_wh
    sizes: list[tuple[float, float]] = []
    for number in range(count * 40):
        w, h = anchors[number % len(anchors)].tolist()
        size = (min(w / width * uniform(0.8, 1.2, g), 0.95), min(h / height * uniform(0.8, 1.2, g), 0.95))
        if anchor_margin(size, stage.heads) > (0.04 if number < count * 30 else 0):
            sizes.append(size)
        if len(sizes) == count:
            break
    return sizes or [(0.3, 0.4)] * count


def wanted_slots(stage: Stage, made: Scene) -> list[Tensor]:
    """The contract's target, one slot a truth, declared channels on canonical axes."""
    return _declared(stage, made.targets)


def _declared(stage: Stage, canonical: list[Tensor]) -> list[Tensor]:
    count = len(stage.layout.target)
    return [
        stage.layout.to_canonical_axes(stage.layout.write_targets(t, h).contiguous(), h, count)
        for t, h in zip(canonical, stage.heads, strict=True)
    ]


def _by_rule(stage: Stage, made: Scene) -> Assigned:
    """All slots that the declared rule may use."""
    return assign(made.boxes, made.labels, stage.heads, stage.detector.rule, stage.detector.ratio)


def _judge(called: Called, stage: Stage, made: Scene, targets: list[Tensor], probe: str) -> list[Finding]:
    """Every truth in its own slot, whole; nothing but allowed slots positive; the rest zero."""
    mask = stage.layout.target.index("mask")
    wanted = wanted_slots(stage, made)
    by_rule = _declared(stage, _by_rule(stage, made).targets)
    alone = all(len(b) <= 1 for b in made.boxes)
    missing, extra, values = [], [], []
    for k, (got, want, rule) in enumerate(zip(targets, wanted, by_rule, strict=True)):
        here, there, allowed = got[..., mask] != 0, want[..., mask] != 0, rule[..., mask] != 0
        missing += [(k, *place) for place in (there & ~here).nonzero().tolist()]
        extra += [(k, *place) for place in (here & ~(allowed | there)).nonzero().tolist()]
        values += _wrong_values(stage, k, got, want, here & there)
        if alone:  # nobody competes: the further slots hold that truth
            values += _wrong_values(stage, k, got, rule, here & allowed & ~there)
    make = _Maker(called, stage, made, targets, by_rule if alone else wanted, probe)
    truths = sum(len(b) for b in made.boxes)
    slots = {place[:-1] for place in values}
    if values and len(missing) <= truths // 3 and len(slots) >= 0.75 * (truths - len(missing)):
        return [make.wrong_values(values)]  # nearly everywhere: what is out of place may come of it
    if missing or extra:
        return [make.misplaced(missing, extra)]
    if values:
        return [make.wrong_values(values)]
    return make.dirty_negatives()


def _wrong_values(stage: Stage, k: int, got: Tensor, want: Tensor, both: Tensor) -> list[tuple[int, ...]]:
    """(head, image, row, column, anchor, channel) where a positive slot's value is off; iou is free."""
    off = ~((got - want).abs() <= TOLERANCE * (1 + want.abs())) & both.unsqueeze(-1)
    if "iou" in stage.layout.target:
        off[..., stage.layout.target.index("iou")] = False
    return [(k, *place) for place in off.nonzero().tolist()]


@dataclass(frozen=True)
class _Maker:
    """Findings about one scene."""

    called: Called
    stage: Stage
    made: Scene
    targets: list[Tensor]
    wanted: list[Tensor]
    probe: str

    def misplaced(self, missing: list[tuple[int, ...]], extra: list[tuple[int, ...]]) -> Finding:
        truths = sum(len(b) for b in self.made.boxes)
        explained = explain_place(self.stage, self.made, self.targets, self.wanted)
        first = (missing or extra)[0]
        k, *cell = first
        message = explained.text or (
            f"assign leaves {len(missing)} of {truths} truths out of their slot"
            if missing
            else f"assign makes {len(extra)} slots positive that hold no truth's cell and best anchor"
        )
        place = f"targets[{', '.join(map(str, cell))}]" + (f" of head {k}" if len(self.targets) > 1 else "")
        found = slots_of(self.targets, cell[0], self.stage.layout.target.index("mask"))
        shown = ", ".join(f"[{cell[0]}, {s.y}, {s.x}, {s.a}]" for s in found[:3]) or "no slot of that image"
        return self.called.placed(
            Finding(
                "error",
                self.probe,
                "assign",
                message,
                tensor="targets",
                channels=explained.channels or ("mask",),
                expected=f"{place} {'holds' if missing else 'is zero:'} "
                + (f"the truth {self._truth(cell[0])}" if missing else "no truth belongs there"),
                got=f"positive: {shown}",
                fix=explained.fix or "index targets[b, int(cy * grid_h), int(cx * grid_w), best anchor]",
                cell=tuple(cell),
            )
        )

    def wrong_values(self, places: list[tuple[int, ...]]) -> Finding:
        names = self.stage.layout.target
        wrong = tuple(name for c, name in enumerate(names) if any(place[-1] == c for place in places))
        k, *cell, c = places[0]
        got, want = self.targets[k][tuple(cell)], self.wanted[k][tuple(cell)]
        if rounded := self._rounded(places, wrong):
            return rounded
        explained = explain_values(self.stage, self.made, self.targets, self.wanted, wrong)
        units = f"xy in {self.stage.layout.target_xy} units, wh in {self.stage.layout.target_wh}"
        return self.called.placed(
            Finding(
                "error",
                self.probe,
                "assign",
                f"assign writes {' '.join(wrong)} wrongly"
                + (f": {explained.text}" if explained.text else ""),
                tensor="targets",
                channels=explained.channels or wrong,
                expected=f"{names[c]} = {float(want[c]):.4g} (declared: {units})",
                got=f"{names[c]} = {float(got[c]):.4g}",
                fix=explained.fix or f"write {' '.join(names)} in that order, {units}",
                cell=tuple(cell),
            )
        )

    def _rounded(self, places: list[tuple[int, ...]], wrong: tuple[str, ...]) -> Finding | None:
        """Off by no more than a number of half precision is: lossy, and little else."""
        off = [
            abs(float(self.targets[k][tuple(at)]) - float(self.wanted[k][tuple(at)]))
            / max(abs(float(self.wanted[k][tuple(at)])), 0.05)
            for k, *at in places
        ]
        if max(off) > ROUNDING:
            return None
        k, *cell, c = places[0]
        return self.called.placed(
            Finding(
                "warning",
                self.probe,
                "assign",
                f"assign rounds {' '.join(wrong)}, to about {max(off):.0e} of their size",
                tensor="targets",
                channels=wrong,
                expected=f"{float(self.wanted[k][(*cell, c)]):.7g}",
                got=f"{float(self.targets[k][(*cell, c)]):.7g}",
                fix="keep float32 from the boxes to the targets",
                cell=tuple(cell),
            )
        )

    def dirty_negatives(self) -> list[Finding]:
        mask = self.stage.layout.target.index("mask")
        for target in self.targets:
            dirty = (target != 0) & (target[..., mask] == 0).unsqueeze(-1)
            if bool(dirty.any()):
                names = tuple(n for c, n in enumerate(self.stage.layout.target) if bool(dirty[..., c].any()))
                place = dirty.nonzero()[0].tolist()
                return [
                    self.called.placed(
                        Finding(
                            "error",
                            self.probe,
                            "assign",
                            f"negative slots hold {' '.join(names)}",
                            tensor="targets",
                            channels=names,
                            expected="every channel of a negative slot is 0",
                            got=f"{float(target[tuple(place)]):.4g}",
                            fix="start from torch.zeros and write the positive slots only",
                            cell=tuple(place[:4]),
                        )
                    )
                ]
        return []

    def _truth(self, image: int) -> str:
        box = self.made.boxes[image][0].tolist() if len(self.made.boxes[image]) else []
        return "(" + ", ".join(f"{v:.3f}" for v in box) + ")"
