"""Where a wrong ``assign`` puts a truth, and what it writes there: hypotheses tried on every truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...boxes import shape_iou
from ..inputs import Scene
from ..stage import Stage


@dataclass(frozen=True)
class ExplainedTargets:
    text: str = ""
    fix: str = ""
    channels: tuple[str, ...] = ()


Place = tuple[int, int, int, int]
"""Head, row, column, anchor."""


def explain_place(stage: Stage, made: Scene, targets: list[Tensor], wanted: list[Tensor]) -> ExplainedTargets:
    """A rule that sends every truth exactly where the user's assign sends it."""
    mask = stage.layout.target.index("mask")
    where = [_positions(targets, image, mask) for image in range(made.batch)]
    should = [_positions(wanted, image, mask) for image in range(made.batch)]
    truths = sum(len(each) for each in should)
    count = sum(len(each) for each in where)
    if not count:
        return ExplainedTargets(
            "assign makes no slot positive", "write 1 into the mask channel of the truth's slot", ("mask",)
        )
    for text, fix, channels, rule in _rules(stage):
        moved = [{rule(made, image, place) for place in places} for image, places in enumerate(should)]
        if moved == where:
            return ExplainedTargets(text, fix, channels)
    if _in_other_images(where, should):
        return ExplainedTargets(
            "assign writes the truths of one image into another", "use the image's own index b", ("mask",)
        )
    subset = all(w <= s for w, s in zip(where, should, strict=True))
    if subset:
        return ExplainedTargets(
            f"assign loses {truths - count} of {truths} truths that nothing competes with",
            "every truth keeps its slot: check what skips or erases it",
            ("mask",),
        )
    if all(s <= w for w, s in zip(where, should, strict=True)):
        return ExplainedTargets(
            f"assign makes {count - truths} more slots positive than the declared rule allows",
            'one slot a truth under model.assign = "best"; declare "multi" for more'
            if stage.detector.rule == "best"
            else "only the two nearest cells and anchors within the ratio",
            ("mask",),
        )
    cells = [{p[:3] for p in places} for places in where] == [{p[:3] for p in places} for places in should]
    if cells:
        return ExplainedTargets(
            "assign picks another anchor than the one of best w/h IoU",
            "compare w, h in the anchors' unit (w * grid_w, h * grid_h), both boxes on one centre",
            ("w", "h"),
        )
    if _own_cells(stage, made, where):
        return ExplainedTargets(
            "assign puts truths into the right cell of another head: it picks another anchor than the one of "
            "best w/h IoU of all heads",
            "compare sizes with all heads' anchors in one unit: anchors * stride, w * input_w, h * input_h",
            ("w", "h"),
        )
    return ExplainedTargets(channels=("x", "y"))


def _own_cells(stage: Stage, made: Scene, where: list[set[Place]]) -> bool:
    """Every slot lies in the cell of its head that holds a truth's centre; none but the head is wrong."""
    for image, places in enumerate(where):
        cells = {
            (k, min(int(cy * head.grid_h), head.grid_h - 1), min(int(cx * head.grid_w), head.grid_w - 1))
            for k, head in enumerate(stage.heads)
            for cx, cy in made.boxes[image][:, :2].tolist()
        }
        if not {place[:3] for place in places} <= cells or len(places) < len(made.boxes[image]):
            return False
    return True


def _positions(targets: list[Tensor], image: int, mask: int) -> set[Place]:
    return {
        (k, y, x, a)
        for k, target in enumerate(targets)
        for y, x, a in (target[image, ..., mask] != 0).nonzero().tolist()
    }


def _in_other_images(where: list[set[Place]], should: list[set[Place]]) -> bool:
    """The right slots, in the wrong images."""
    found, wanted = (sorted(p for places in each for p in places) for each in (where, should))
    return where != should and found == wanted


Rule = Callable[[Scene, int, Place], Place]


def _rules(stage: Stage) -> list[tuple[str, str, tuple[str, ...], Rule]]:
    heads = stage.heads

    def clamped(k: int, y: int, x: int, a: int) -> Place:
        head = heads[k]
        return k, min(max(y, 0), head.grid_h - 1), min(max(x, 0), head.grid_w - 1), a

    def by_anchor(size: Callable[[Tensor, int], Tensor]) -> Rule:
        def rule(made: Scene, image: int, place: Place) -> Place:
            k, y, x, _ = place
            box = made.boxes[image]
            if len(box) != 1:
                return place
            best = shape_iou(size(box[:, 2:], k), heads[k].anchors.float()).argmax(1)
            return k, y, x, int(best)

        return rule

    def grid(k: int) -> Tensor:
        return torch.tensor([heads[k].grid_w, heads[k].grid_h], dtype=torch.float32)

    def pixels(k: int) -> Tensor:
        return torch.tensor([heads[k].input_w, heads[k].input_h], dtype=torch.float32)

    def nearest(made: Scene, image: int, place: Place) -> Place:
        k, _, _, a = place
        if len(made.boxes[image]) != 1:
            return place
        x, y = (made.boxes[image][0, :2] * grid(k)).round().long().tolist()
        return clamped(k, y, x, a)

    index_fix = "index targets[b, gy, gx, a]: the row (from cy) before the column (from cx)"
    anchor_fix = "compare the truth and head.anchors in one unit: w * grid_w, h * grid_h"
    return [
        (
            "assign swaps row and column: targets[b, gx, gy] for targets[b, gy, gx]",
            index_fix,
            ("x", "y"),
            lambda m, i, p: clamped(p[0], p[2], p[1], p[3]),
        ),
        (
            "assign puts every truth one row and one column too far",
            "gx = int(cx * grid_w), gy = int(cy * grid_h)",
            ("x", "y"),
            lambda m, i, p: clamped(p[0], p[1] + 1, p[2] + 1, p[3]),
        ),
        (
            "assign puts every truth one column too far",
            "gx = int(cx * grid_w)",
            ("x",),
            lambda m, i, p: clamped(p[0], p[1], p[2] + 1, p[3]),
        ),
        (
            "assign puts every truth one row too far",
            "gy = int(cy * grid_h)",
            ("y",),
            lambda m, i, p: clamped(p[0], p[1] + 1, p[2], p[3]),
        ),
        (
            "assign puts every truth one row and one column too early",
            "gx = int(cx * grid_w), gy = int(cy * grid_h)",
            ("x", "y"),
            lambda m, i, p: clamped(p[0], p[1] - 1, p[2] - 1, p[3]),
        ),
        (
            "assign rounds to the nearest cell instead of the cell that holds the centre",
            "use floor (or int), not round",
            ("x", "y"),
            nearest,
        ),
        (
            "assign takes the column from grid_h and the row from grid_w",
            "gx = int(cx * grid_w), gy = int(cy * grid_h)",
            ("x", "y"),
            _crossed(heads),
        ),
        (
            "assign takes the cell of the box's top left corner, not of its centre",
            "use cx, cy",
            ("x", "y"),
            _corner(heads),
        ),
        (
            "assign compares sizes in 0..1 of the image with anchors in grid units",
            anchor_fix,
            ("w", "h"),
            by_anchor(lambda wh, k: wh),
        ),
        (
            "assign compares sizes in pixels with anchors in grid units",
            anchor_fix,
            ("w", "h"),
            by_anchor(lambda wh, k: wh * pixels(k)),
        ),
        (
            "assign compares width with anchor height and height with anchor width",
            anchor_fix,
            ("w", "h"),
            by_anchor(lambda wh, k: (wh * grid(k)).flip(-1)),
        ),
        (
            "assign numbers the anchors in reverse",
            "keep head.anchors' order",
            ("w", "h"),
            lambda m, i, p: (*p[:3], heads[p[0]].anchor_count - 1 - p[3]),
        ),
        (
            "assign always takes the first anchor",
            "take the argmax of the w/h IoU",
            ("w", "h"),
            lambda m, i, p: (*p[:3], 0),
        ),
        (
            "assign always takes the last anchor",
            "take the argmax of the w/h IoU",
            ("w", "h"),
            lambda m, i, p: (*p[:3], heads[p[0]].anchor_count - 1),
        ),
        ("assign takes the anchor of worst w/h IoU", "argmax, not argmin", ("w", "h"), _worst(heads)),
    ]


def _crossed(heads: tuple[object, ...]) -> Rule:
    def rule(made: Scene, image: int, place: Place) -> Place:
        k, _, _, a = place
        head = heads[k]
        if len(made.boxes[image]) != 1:
            return place
        cx, cy = made.boxes[image][0, :2].tolist()
        x, y = int(cx * head.grid_h), int(cy * head.grid_w)  # type: ignore[attr-defined]
        return k, min(y, head.grid_h - 1), min(x, head.grid_w - 1), a  # type: ignore[attr-defined]

    return rule


def _corner(heads: tuple[object, ...]) -> Rule:
    def rule(made: Scene, image: int, place: Place) -> Place:
        k, _, _, a = place
        head = heads[k]
        if len(made.boxes[image]) != 1:
            return place
        cx, cy, w, h = made.boxes[image][0].tolist()
        return k, max(int((cy - h / 2) * head.grid_h), 0), max(int((cx - w / 2) * head.grid_w), 0), a  # type: ignore[attr-defined]

    return rule


def _worst(heads: tuple[object, ...]) -> Rule:
    def rule(made: Scene, image: int, place: Place) -> Place:
        k, y, x, _ = place
        head = heads[k]
        if len(made.boxes[image]) != 1:
            return place
        size = made.boxes[image][:, 2:] * torch.tensor([float(head.grid_w), float(head.grid_h)])  # type: ignore[attr-defined]
        return k, y, x, int(shape_iou(size, head.anchors.float()).argmin(1))  # type: ignore[attr-defined]

    return rule


def explain_values(
    stage: Stage, made: Scene, targets: list[Tensor], wanted: list[Tensor], wrong: tuple[str, ...]
) -> ExplainedTargets:
    """A formula that gives every wrong value, in all positive slots."""
    names = stage.layout.target
    mask = names.index("mask")
    rows: dict[str, list[float]] = {}
    got_rows = []
    for k, (got, want) in enumerate(zip(targets, wanted, strict=True)):
        both = (got[..., mask] != 0) & (want[..., mask] != 0)
        b, y, x, a = both.nonzero(as_tuple=True)
        got_rows.append(got[b, y, x, a])
        head = stage.heads[k]
        canonical = made.targets[k][b, y, x, a]
        for key, column in {
            "class": canonical[:, 1],
            "x": canonical[:, 2],
            "y": canonical[:, 3],
            "w": canonical[:, 4],
            "h": canonical[:, 5],
            "col": x.float(),
            "row": y.float(),
            "aw": head.anchors.float()[a, 0],
            "ah": head.anchors.float()[a, 1],
            "gw": torch.full((len(b),), float(head.grid_w)),
            "gh": torch.full((len(b),), float(head.grid_h)),
            "stride": torch.full((len(b),), float(head.stride)),
        }.items():
            rows.setdefault(key, []).extend(column.tolist())
    got_all = torch.cat(got_rows)
    v = {key: torch.tensor(value) for key, value in rows.items()}
    texts = []
    for name in wrong:
        column = got_all[:, names.index(name)]
        found = next((text for text, value in _value_formulas(name, v) if _same(value, column)), "")
        texts.append(f"{name} = {found}" if found else "")
    found_texts = [text for text in texts if text]
    if not found_texts:
        return ExplainedTargets()
    return ExplainedTargets(f"it writes {', '.join(found_texts)}")


def _same(a: Tensor, b: Tensor) -> bool:
    return len(a) > 0 and bool(((a - b).abs() <= 2e-4 * (1 + b.abs())).all())


def _value_formulas(name: str, v: dict[str, Tensor]) -> list[tuple[str, Tensor]]:
    ones = torch.ones_like(v["x"])
    lists: list[tuple[str, Tensor]] = [("0", ones * 0), ("1", ones)]
    lists += [("class + 1", v["class"] + 1), ("class - 1", v["class"] - 1), ("class", v["class"])]
    last = v["class"].max()
    lists += [("min(class + 1, last)", (v["class"] + 1).clamp(max=float(last)))]
    sides = (("x", "gw", "col"), ("y", "gh", "row"), ("w", "gw", "aw"), ("h", "gh", "ah"))
    own = next((s for s in sides if s[0] == name), None)
    for key, grid, third in sorted(sides, key=lambda s: s is not own):
        value, size, other = v[key], v[grid], v[third]
        across = v["gh" if grid == "gw" else "gw"]
        lists += [
            (f"{key} in 0..1 of the input", value),
            (f"{key} in cells", value * size),
            (f"{key} in pixels", value * size * v["stride"]),
            (f"{key} in cells of the other axis", value * across),
            (f"{key} / grid", value / size),
            (f"sqrt({key})", value.sqrt()),
            (f"{key} / 2", value / 2),
        ]
        if key in "xy":
            half = v["w" if key == "x" else "h"] / 2
            flipped = v["row" if key == "x" else "col"]
            lists += [
                (f"{key} as the fraction inside the cell", value * size - other),
                (f"{key} as the fraction inside the cell, over the grid", (value * size - other) / size),
                (f"the lower corner of the box in {key}", value - half),
                (f"the upper corner of the box in {key}", value + half),
                (f"{key} in cells minus the other axis's cell", value * size - flipped),
            ]
        else:
            ratio = value * size / other
            lists += [
                (f"log of {key} over the anchor", ratio.log()),
                (f"{key} over the anchor", ratio),
                (f"log of {key}", value.log()),
                (f"log of {key} (image) over the anchor (grid)", (value / other).log()),
                (f"log of {key} in cells", (value * size).log()),
            ]
    area = v["w"] * v["h"]
    lists += [
        ("w*h", area),
        ("1 - w*h", 1 - area),
        ("2 - w*h in cells", 2 - area * v["gw"] * v["gh"]),
        ("2", ones * 2),
    ]
    return lists
