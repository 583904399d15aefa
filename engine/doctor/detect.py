"""The user's ``detect`` alone: perfect predictions in uneven letterboxes give the truths back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..boxes import iou as corner_iou
from ..boxes import to_cxcywh, to_xyxy
from ..letterbox import Letterbox
from ..yolo.detect import undo_letterbox
from ..yolo.plugin import accepts
from .calling import Called
from .detect_explained import explain_boxes
from .findings import Finding, Table
from .inputs import Scene, encode_box, given, perfect, scene
from .stage import GROUPS, Stage, columns

Results = Iterator[tuple[str, list[Finding]]]
COLUMNS = ("x1", "y1", "x2", "y2", "score", "class")
EXPECTED = {
    "conf": {"score"},
    "x": {"x1", "x2"},
    "y": {"y1", "y2"},
    "w": {"x1", "x2"},
    "h": {"y1", "y2"},
    "class": {"score"},
}


@dataclass(frozen=True)
class Pictures:
    """One truth an image, in originals of different shapes."""

    made: Scene
    sizes: list[tuple[int, int]]
    """(height, width)."""
    pixels: list[Tensor]
    """``[N, 4]`` corners in the original."""

    def tolerance(self, stage: Stage, image: int) -> float:
        """One pixel of rounding in the input is free, wherever it is magnified to."""
        height, width = self.sizes[image]
        place = Letterbox.fit((width, height), stage.input_wh)
        return 0.7 + 1.3 / min(place.scale_x, place.scale_y)


def probe_detect(called: Called, stage: Stage, tables: list[Table]) -> Results:
    shown = pictures(stage)
    found = run_detect(called, stage, perfect(stage, shown.made), shown.sizes)
    yield "detect.call", []
    wrong = _roundtrip(called, stage, shown, found, tables)
    yield "detect.roundtrip", wrong
    if wrong:
        return
    yield "detect.many", _many(called, stage)
    yield "detect.score", _score(called, stage, shown)
    yield "detect.nms", _nms(called, stage)
    yield "detect.empty", _nothing(called, stage, shown)
    yield "detect.inputs", _inputs(called, stage, shown)


def pictures(stage: Stage) -> Pictures:
    """The input's own shape (no border), wide, tall, smaller than the input; then the same again."""
    width, height = stage.input_wh
    shapes = [(1.0, 1.0), (0.75, 1.25), (1.6, 1.1), (0.5, 0.4)] * 2
    sizes = [(max(round(height * v), 8), max(round(width * u), 8)) for v, u in shapes]
    boxes, labels, pixels = [], [], []
    for number, size in enumerate(sizes):
        box, corners = _inside(stage, size, number)
        boxes.append(box)
        labels.append(torch.tensor([(stage.classes - 1 - number) % stage.classes]))
        pixels.append(corners)
    return Pictures(given(stage, boxes, labels), sizes, pixels)


def _inside(stage: Stage, size: tuple[int, int], number: int) -> tuple[Tensor, Tensor]:
    """A truth that lies wholly in the picture of this size, in 0..1 of the input and in its pixels."""
    height, width = size
    best: tuple[Tensor, Tensor] | None = None
    for seed in range(60):
        box = scene(stage, [1], seed=1000 * number + seed).boxes[0]
        free = _undone(box, stage, size)
        within = bool((free >= 0).all()) and float(free[0, 2]) <= width and float(free[0, 3]) <= height
        if within:
            return box, free
        best = best or (box, free)
    assert best is not None
    # no anchor fits: a box in the middle
    place = Letterbox.fit((width, height), stage.input_wh)
    side = [0.3 * place.new_w / place.input_w, 0.45 * place.new_h / place.input_h]
    box = torch.tensor([[0.5 + 0.07 * side[0], 0.5 - 0.11 * side[1], *side]])
    return box, _undone(box, stage, size)


def _undone(boxes: Tensor, stage: Stage, size: tuple[int, int]) -> Tensor:
    """Corners in pixels of the original, not clipped."""
    place = Letterbox.fit((size[1], size[0]), stage.input_wh)
    pixels = to_xyxy(boxes) * boxes.new_tensor([*stage.input_wh, *stage.input_wh])
    return torch.from_numpy(place.boxes_to_source(pixels.numpy()))


def run_detect(
    called: Called, stage: Stage, preds: list[Tensor], sizes: list[tuple[int, int]]
) -> list[Tensor]:
    function = called.user.get("detect")
    assert function is not None
    known = {name: value for name, value in (("conf", 0.2), ("iou", 0.45)) if accepts(function, name)}
    got = called.call("detect", stage.declared_pred(preds), stage.given_heads(), list(sizes), **known)
    rows = list(got) if isinstance(got, (list, tuple)) else None
    good = rows is not None and len(rows) == len(sizes)
    good = good and all(isinstance(r, Tensor) and r.ndim == 2 and r.shape[1] == 6 for r in rows or [])
    if not good:
        what = (
            type(got).__name__
            if rows is None
            else str([list(getattr(r, "shape", [type(r).__name__])) for r in rows])
        )
        raise called.refusal(
            "detect",
            "shape",
            f"detect of {len(sizes)} images returns {what}",
            expected=(
                "a list of [M, 6] tensors, one an image: x1, y1, "
                "x2, y2, score, class; [0, 6] where nothing is found"
            ),
            got=what,
            fix="return [torch.cat((corners, score[:, None], label[:, None].float()), 1) for each image]",
        )
    return [r.detach().float().cpu() for r in rows or []]


def _strongest(found: Tensor) -> Tensor | None:
    return found[int(found[:, 4].argmax())] if len(found) else None


def _roundtrip(
    called: Called, stage: Stage, shown: Pictures, found: list[Tensor], tables: list[Table]
) -> list[Finding]:
    boxes_off, classes_off, counts_off = [], [], []
    for image, rows in enumerate(found):
        top = _strongest(rows)
        if top is None or len(rows) != 1:
            counts_off.append(image)
        if top is None:
            continue
        if float((top[:4] - _cut(shown, image)).abs().max()) > shown.tolerance(stage, image) and float(
            (top[:4] - shown.pixels[image][0]).abs().max()
        ) > shown.tolerance(stage, image):
            boxes_off.append(image)
        if int(top[5]) != int(shown.made.labels[image][0]):
            classes_off.append(image)
    if not (boxes_off or classes_off or counts_off):
        return []
    table = influence(called, stage, shown)
    if stage.name == "own":
        tables.append(table)
    missing, extra = _misread(table)
    make = _Maker(called, stage, shown, found, tuple(g for g in GROUPS if g in missing | extra))
    if boxes_off and not (missing | extra) & {"conf", "class"}:
        return [make.boxes(boxes_off)]
    if counts_off:
        return [make.counts(counts_off, missing, extra)]
    return [make.classes(classes_off)] if classes_off else [make.boxes(boxes_off)]


def _many(called: Called, stage: Stage) -> list[Finding]:
    """Several objects of one class in a picture, apart from each other: each is found once."""
    made = scene(stage, [3, 3, 4], seed=81)
    boxes = _apart(made.boxes)
    made = given(stage, boxes, [torch.full((len(b),), stage.classes - 1) for b in boxes])
    width, height = stage.input_wh
    found = run_detect(called, stage, perfect(stage, made), [(height, width)] * made.batch)
    wanted = [len(b) for b in made.boxes]
    counts = [len(rows) for rows in found]
    if counts == wanted:
        return []
    few = sum(counts) < sum(wanted)
    text = "loses objects that do not overlap" if few else "finds more than there is"
    return [
        _nms_finding(
            called,
            f"detect {text}: {sum(counts)} of {sum(wanted)} in pictures with several objects of one class",
            f"{wanted} detections",
            f"{counts}",
            "suppress only what overlaps a stronger box of its class; mind the box format that NMS expects",
            ("x", "y", "w", "h"),
            "detect.many",
        )
    ]


def _apart(images: list[Tensor]) -> list[Tensor]:
    """Of each image's boxes those that touch none before them."""
    result = []
    for boxes in images:
        kept: list[Tensor] = []
        for box in boxes:
            if all(float(corner_iou(to_xyxy(box), to_xyxy(other))) == 0 for other in kept):
                kept.append(box)
        result.append(torch.stack(kept) if kept else boxes)
    return result


def _cut(shown: Pictures, image: int) -> Tensor:
    height, width = shown.sizes[image]
    limit = torch.tensor([width, height, width, height], dtype=torch.float32)
    return torch.minimum(shown.pixels[image][0].clamp(min=0), limit)


def influence(called: Called, stage: Stage, shown: Pictures) -> Table:
    """Mean absolute change of the strongest detection's columns when a channel group of the objects' slots
    is moved; a detection that comes or goes counts as a change of its score."""
    base = perfect(stage, shown.made, sure=4.0)
    before = run_detect(called, stage, base, shown.sizes)
    rows = []
    for group in GROUPS:
        moved = [p.clone() for p in base]
        for pred, positive in zip(moved, shown.made.positive, strict=True):
            picked = pred[positive]
            if group == "class":
                picked[:, 5:] *= 0.25
            else:
                picked[:, columns(group)] += {"conf": -1.5}.get(group, 0.25)
            pred[positive] = picked
        after = run_detect(called, stage, moved, shown.sizes)
        rows.append(_change(before, after))
    expected = tuple(
        tuple(None if group == "class" and name == "class" else name in EXPECTED[group] for name in COLUMNS)
        for group in GROUPS
    )
    return Table(
        "detect: which channel of pred moves what of a detection", GROUPS, COLUMNS, tuple(rows), expected
    )


def _change(before: list[Tensor], after: list[Tensor]) -> tuple[float, ...]:
    total = torch.zeros(6)
    for one, two in zip(before, after, strict=True):
        a, b = _strongest(one), _strongest(two)
        if a is not None and b is not None:
            total += (a - b).abs()
        elif a is not None or b is not None:
            total[4] += 1
        total[4] += float(len(one) != len(two))
    return tuple((total / max(1, len(before))).tolist())


def _misread(table: Table) -> tuple[set[str], set[str]]:
    """Groups that move nothing, and groups that move what is not theirs."""
    missing, extra = set(), set()
    for r, group in enumerate(table.rows):
        moved = {name for c, name in enumerate(table.columns) if table.got[r][c] > (1e-4 if c > 3 else 0.02)}
        if not moved & EXPECTED[group]:
            missing.add(group)
        if group in ("conf", "class") and moved & {"x1", "y1", "x2", "y2"} and not moved & {"score"}:
            extra.add(group)
        if group not in ("conf", "class") and "score" in moved:
            extra.add(group)
    return missing, extra


@dataclass(frozen=True)
class _Maker:
    called: Called
    stage: Stage
    shown: Pictures
    found: list[Tensor]
    misread: tuple[str, ...]

    def boxes(self, images: list[int]) -> Finding:
        got = [_strongest(rows) for rows in self.found]
        explained = explain_boxes(self.stage, self.shown.made.boxes, self.shown.sizes, got)
        image = images[0]
        top = got[image]
        assert top is not None
        wrong = self._coordinates(images, got)
        height, width = self.shown.sizes[image]
        only_bordered = all(k % 4 for k in images)
        message = "detect gives the truths of perfect predictions back in the wrong place"
        if explained.text:
            message += f": {explained.text}"
        elif only_bordered:
            message += ": right where the original has the input's shape, wrong where a letterbox has borders"
        return self.called.placed(
            Finding(
                "error",
                "detect.roundtrip",
                "detect",
                message,
                tensor="detections",
                channels=explained.channels or self.misread or wrong,
                expected=_row(self.shown.pixels[image][0]) + f" in an original of {width}x{height}",
                got=_row(top[:4]),
                fix=explained.fix
                or "take the letterbox's borders off, divide by its scale: x = (x * input_w - left) / scale",
            )
        )

    def _coordinates(self, images: list[int], got: list[Tensor | None]) -> tuple[str, ...]:
        """Which of cx, cy, w, h are off in any image."""
        off = torch.zeros(4, dtype=torch.bool)
        for image in images:
            top = got[image]
            if top is not None:
                away = (to_cxcywh(top[:4]) - to_cxcywh(_cut(self.shown, image))).abs()
                off |= away > self.shown.tolerance(self.stage, image)
        return tuple(n for n, o in zip(("x", "y", "w", "h"), off.tolist(), strict=True) if o)

    def counts(self, images: list[int], missing: set[str], extra: set[str]) -> Finding:
        image = images[0]
        count = len(self.found[image])
        reads = []
        if missing:
            reads.append(f"{' '.join(g for g in GROUPS if g in missing)} does not matter to it")
        if extra:
            reads.append(f"{' '.join(g for g in GROUPS if g in extra)} changes the score")
        message = f"detect finds {count or 'nothing'} where one sure object stands"
        if reads:
            message += ": " + ", ".join(reads)
        return self.called.placed(
            Finding(
                "error",
                "detect.roundtrip",
                "detect",
                message,
                tensor="detections",
                channels=self.misread or ("conf",),
                expected="1 detection",
                got=f"{count} detections",
                fix=(
                    f"score = sigmoid({self.stage.raw(['conf'])}) x "
                    f"class probability of {self.stage.raw(['class'])}"
                ),
            )
        )

    def classes(self, images: list[int]) -> Finding:
        image = images[0]
        top = _strongest(self.found[image])
        assert top is not None
        wanted, got = int(self.shown.made.labels[image][0]), int(top[5])
        shifts = set()
        for k in images:
            row = _strongest(self.found[k])
            if row is not None:
                shifts.add(int(row[5]) - int(self.shown.made.labels[k][0]))
        shift = f", every class is shifted by {shifts.copy().pop():+d}" if len(shifts) == 1 else ""
        return self.called.placed(
            Finding(
                "error",
                "detect.roundtrip",
                "detect",
                f"detect names the wrong class{shift}",
                tensor="detections",
                channels=tuple(dict.fromkeys((*self.misread, "class"))),
                expected=f"class {wanted}",
                got=f"class {got}",
                fix=f"argmax over {self.stage.raw(['class'])}, ids from 0",
            )
        )


def _row(box: Tensor) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in zip(COLUMNS, box.tolist(), strict=False))


def _score(called: Called, stage: Stage, shown: Pictures) -> list[Finding]:
    """Confidence and class probability at values of their own: the score is their product."""
    sure, logit = torch.tensor([0.62, 0.9, 0.75, 0.995] * 2), 2.0
    preds = perfect(stage, shown.made)
    for pred, positive in zip(preds, shown.made.positive, strict=True):
        picked = pred[positive]
        images = positive.nonzero()[:, 0]
        picked[:, 0] = torch.logit(sure[images])
        # others far down but one: softmax and sigmoid stay apart from 1
        labels = torch.cat(list(shown.made.labels))[images]
        picked[:, 5:] = -9.0
        rows = torch.arange(len(picked))
        picked[rows, 5 + (labels + 1) % stage.classes] = -1.0
        picked[rows, 5 + labels] = logit
        pred[positive] = picked
    found = run_detect(called, stage, preds, shown.sizes)
    sigmoid = float(torch.tensor(logit).sigmoid())
    logits = (
        torch.tensor([logit, -1.0] + [-9.0] * max(0, stage.classes - 2))
        if stage.classes > 1
        else torch.tensor([logit])
    )
    softmax = float(logits.softmax(0)[0])
    tops = [_strongest(each) for each in found]
    pairs = [(float(s), float(r[4])) for s, r in zip(sure, tops, strict=True) if r is not None]
    missing_sure = any(row is None for s, row in zip(sure.tolist(), tops, strict=True) if s > 0.95)
    if not missing_sure and any(all(abs(got - s * p) < 0.01 for s, got in pairs) for p in (sigmoid, softmax)):
        return []
    text = "another score"
    channels: tuple[str, ...] = ("conf", "class")
    for name, missing, values in (
        ("the confidence alone", ("class",), [s for s, _ in pairs]),
        ("the class probability alone", ("conf",), [softmax] * len(pairs)),
        ("the class probability alone", ("conf",), [sigmoid] * len(pairs)),
        (
            "the confidence's logit, no sigmoid",
            ("conf",),
            [float(torch.logit(torch.tensor(s))) * softmax for s, _ in pairs],
        ),
        ("the square root of the product", ("conf", "class"), [(s * softmax) ** 0.5 for s, _ in pairs]),
        ("the class's logit, no softmax or sigmoid", ("class",), [s * logit for s, _ in pairs]),
    ):
        if all(abs(got - value) < 0.01 for (_, got), value in zip(pairs, values, strict=True)):
            text, channels = name, missing
            break
    if missing_sure and not pairs:
        text = "far below"
        pairs = [(0.97, 0.0)]
    if text in ("another score", "far below"):
        unread, extra = _misread(influence(called, stage, shown))
        channels = tuple(g for g in GROUPS if g in unread | extra) or channels
        moved = [f"{' '.join(sorted(extra))} changes it"] * bool(extra)
        text += "".join(
            f" ({', '.join([f'{g} does not matter to it' for g in sorted(unread)] + moved)})"
            for _ in [0]
            if unread or extra
        )
    finding = Finding(
        "error",
        "detect.score",
        "detect",
        f"the score is {text}, not confidence x class probability",
        tensor="detections",
        channels=channels,
        expected=f"{pairs[0][0]:.3f} x {softmax:.3f} (softmax) or x {sigmoid:.3f} (sigmoid)",
        got=f"{pairs[0][1]:.3f}",
        fix=f"score = sigmoid({stage.raw(['conf'])}) * probability from {stage.raw(['class'])}",
    )
    return [called.placed(finding)]


def _nms(called: Called, stage: Stage) -> list[Finding]:
    """Two neighbouring cells on one box: of one class the stronger survives, of two classes both do."""
    made, pair = _twins(stage)
    k, y, x, a = pair
    head = stage.heads[k]
    size = (head.input_h, head.input_w)
    pred = [torch.zeros(2, h.grid_h, h.grid_w, h.anchor_count, 5 + h.classes) for h in stage.heads]
    for each in pred:
        each[..., 0] = -12.0
    raws = [
        encode_box(
            made[j : j + 1],
            torch.tensor([[float(x + j), float(y)]]),
            head,
            torch.tensor([a]),
            stage.layout.decode,
        )[0]
        for j in (0, 1)
    ]
    sure = (torch.logit(torch.tensor(0.93)), torch.logit(torch.tensor(0.99)))
    for image, classes in enumerate(((0, 0), (0, stage.classes - 1))):
        for j in (0, 1):
            slot = pred[k][image, y, x + j, a]
            slot[0], slot[1:5] = sure[j], raws[j]
            slot[5:] = -12.0
            slot[5 + classes[j]] = 12.0
    found = run_detect(called, stage, pred, [size, size])
    findings = []
    same = found[0]
    if len(same) > 1:
        findings.append(
            _nms_finding(
                called,
                "detect leaves two detections on one object of one class",
                "1 detection",
                f"{len(same)} detections",
                "suppress boxes of a class that overlap a stronger one",
                ("x", "y", "w", "h"),
            )
        )
    elif len(same) == 1 and float(same[0, 4]) < 0.96:
        findings.append(
            _nms_finding(
                called,
                "of two detections of one object the weaker is kept",
                "score 0.99",
                f"score {float(same[0, 4]):.2f}",
                "sort by score, descending, before suppressing",
                ("conf",),
            )
        )
    if stage.classes > 1 and len(found[1]) < 2:
        findings.append(
            _nms_finding(
                called,
                "detect lets one class suppress another",
                "2 detections of two classes on one box",
                f"{len(found[1])} detection(s)",
                "run NMS within each class (boxes offset by class * a large number, or a loop over classes)",
                ("class",),
            )
        )
    return findings


def _nms_finding(
    called: Called,
    message: str,
    expected: str,
    got: str,
    fix: str,
    channels: tuple[str, ...],
    probe: str = "detect.nms",
) -> Finding:
    return called.placed(
        Finding(
            "error",
            probe,
            "detect",
            message,
            tensor="detections",
            channels=channels,
            expected=expected,
            got=got,
            fix=fix,
        )
    )


def _twins(stage: Stage) -> tuple[Tensor, tuple[int, int, int, int]]:
    """Two boxes of one anchor, centres just left and right of a border between cells; IoU above 0.9."""
    sizes = [
        (float(a.prod()) * h.stride**2, k, n)
        for k, h in enumerate(stage.heads)
        for n, a in enumerate(h.anchors.float())
    ]
    _, k, a = max(sizes)
    head = stage.heads[k]
    y, x = head.grid_h // 2, max(0, head.grid_w // 2 - 1)
    w = max(float(head.anchors[a, 0]), 1.2) / head.grid_w
    h = max(float(head.anchors[a, 1]), 1.2) / head.grid_h
    w, h = min(w, 0.8), min(h, 0.8)
    border = (x + 1) / head.grid_w
    step = 0.01 / head.grid_w
    cy = (y + 0.45) / head.grid_h
    boxes = torch.tensor([[border - step, cy, w, h], [border + step, cy, w, h]])
    assert float(corner_iou(to_xyxy(boxes[:1]), to_xyxy(boxes[1:]))) > 0.9
    return boxes, (k, y, x, a)


def _nothing(called: Called, stage: Stage, shown: Pictures) -> list[Finding]:
    """No confident slot: no detection, and still a [0, 6]."""
    empty = [torch.zeros_like(p) for p in perfect(stage, shown.made)]
    for pred in empty:
        pred[..., 0] = -15.0
    found = run_detect(called, stage, empty, shown.sizes)
    if all(len(rows) == 0 for rows in found):
        return []
    finding = Finding(
        "error",
        "detect.empty",
        "detect",
        "detect finds objects where every confidence is 0",
        tensor="detections",
        channels=("conf",),
        expected="[0, 6] for every image",
        got=f"{sum(map(len, found))} detections",
        fix="drop what is below the threshold before NMS",
    )
    # a threshold of 0 is free: then every slot is reported, with a score of nothing
    if all(float(rows[:, 4].max()) < 1e-4 for rows in found if len(rows)):
        return []
    return [called.placed(finding)]


def _inputs(called: Called, stage: Stage, shown: Pictures) -> list[Finding]:
    preds = perfect(stage, shown.made, sure=5.0)
    handed = stage.declared_pred(preds)
    before = [p.clone() for p in stage.detector.as_list(handed)]
    called.call("detect", handed, stage.given_heads(), list(shown.sizes))
    if all(torch.equal(p, q) for p, q in zip(stage.detector.as_list(handed), before, strict=True)):
        return []
    finding = Finding(
        "error",
        "detect.inputs",
        "detect",
        "detect writes into pred",
        tensor="pred",
        expected="pred as it was",
        got="overwritten",
        fix="work on copies: no pred[...] = ..., no sigmoid_()",
    )
    return [called.placed(finding)]


__all__ = ["pictures", "probe_detect", "run_detect", "undo_letterbox"]
