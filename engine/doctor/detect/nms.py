"""What ``detect`` keeps of several boxes: each object once, the stronger of two, both of two classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...boxes import iou as corner_iou
from ...boxes import to_xyxy
from ...yolo.plugin import accepts
from ..calling import Called
from ..findings import Finding
from ..inputs import Scene, encode_box, given, perfect, scene
from ..stage import BOX_NAMES, Stage
from .run import run_detect

WEAKER = 0.95
"""The confidence of the weaker of two boxes."""


def judge_many(called: Called, stage: Stage) -> list[Finding]:
    """Several objects of one class in a picture, apart from each other: each is found once."""
    made = scene(stage, [3, 3, 4], seed=81)
    boxes = _apart(made.boxes)
    made = given(stage, boxes, [torch.full((len(b),), stage.classes - 1) for b in boxes])
    width, height = stage.input_wh
    found = run_detect(called, stage, perfect(stage, made), [(height, width)] * made.batch)
    wanted = [len(b) for b in made.boxes]
    counts = [len(rows) for rows in found]
    if counts == wanted:
        return _each_once(called, stage, made, found, (height, width))
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


def _each_once(
    called: Called, stage: Stage, made: Scene, found: list[Tensor], size: tuple[int, int]
) -> list[Finding]:
    """The right number may still be one object twice and another not at all."""
    scale = torch.tensor([size[1], size[0]] * 2, dtype=torch.float32)
    for image, (boxes, rows) in enumerate(zip(made.boxes, found, strict=True)):
        best = corner_iou((to_xyxy(boxes) * scale)[:, None], rows[None, :, :4]).amax(1)
        if bool((best < 0.7).any()):
            return [
                _nms_finding(
                    called,
                    "detect gives one object twice and another not at all, of one class in one picture",
                    "each object once",
                    f"image {image}: {int((best < 0.7).sum())} of {len(boxes)} objects without a detection",
                    "keep the strongest, drop what overlaps it (itself too), then go on with the rest",
                    BOX_NAMES,
                    "detect.many",
                )
            ]
    return []


def judge_overlap(called: Called, stage: Stage) -> list[Finding]:
    """Two boxes of one class that hardly overlap both stay; two that overlap beyond the threshold asked for
    do not. The second is known only where ``detect`` takes ``iou=``."""
    function = called.user.get("detect")
    findings = []
    for overlap, kept in ((0.08, 2), (0.62, 1)):
        if kept == 1 and (function is None or not accepts(function, "iou")):
            continue
        pair = _pair(stage, overlap)
        if pair is None:
            continue
        height, width = stage.input_wh[1], stage.input_wh[0]
        rows = run_detect(called, stage, pair, [(height, width)])[0]
        if len(rows) == kept or len(rows) > 2:
            continue
        if kept == 1 and float(rows[:, 4].min()) < 0.97 * WEAKER:
            continue  # its score was lowered instead: soft NMS
        text = (
            f"of two objects of one class that overlap by IoU {overlap} detect keeps one"
            if kept == 2
            else f"detect keeps two boxes of one class of IoU {overlap} under iou = 0.45"
        )
        findings.append(
            _nms_finding(
                called,
                f"{text}: it is another measure than the IoU that NMS goes by",
                f"{kept} detection(s)",
                f"{len(rows)} detection(s)",
                "IoU = intersection / (area + area - intersection), compared with the threshold",
                BOX_NAMES,
            )
        )
    return findings[:1] or judge_nested(called, stage)


def judge_nested(called: Called, stage: Stage) -> list[Finding]:
    """A small object within a large one of its class, of IoU 0.2: both stay, whichever is the stronger."""
    head = max(stage.heads, key=lambda h: h.grid_h * h.grid_w)
    small = int(head.anchors.float().prod(1).argmin())
    w, h = (head.anchors[small].float() * 0.9).tolist()
    large = [2.2 * w, 2.2 * h]
    y, x = head.grid_h // 2, head.grid_w // 2
    if large[0] > 0.95 * head.grid_w or large[1] > 0.95 * head.grid_h or x < 1:
        return []
    for order in ((4.0, math.log(WEAKER / (1 - WEAKER))), (math.log(WEAKER / (1 - WEAKER)), 4.0)):
        preds = _nothing(stage)
        mine = preds[stage.heads.index(head)]
        for column, side, sure in ((x, (w, h), order[0]), (x - 1, large, order[1])):
            box = torch.tensor([[x + (0.3 if column == x else -0.3), y + 0.45, *side]])
            size = torch.tensor([head.grid_w, head.grid_h] * 2)
            slot = mine[0, y, column, small]
            cell = torch.tensor([[float(column), float(y)]])
            slot[0], slot[5:] = sure, -12.0
            slot[1:5] = encode_box(box / size, cell, head, torch.tensor([small]), stage.layout.decode)[0]
            slot[5] = 12.0
        rows = run_detect(called, stage, preds, [(stage.input_wh[1], stage.input_wh[0])])[0]
        if len(rows) < 2:
            which = "smaller" if order[0] > order[1] else "larger"
            return [
                _nms_finding(
                    called,
                    "detect drops one of two objects of one class, a small one within a large one (IoU 0.2), "
                    f"where the {which} is the stronger: it is another measure than the IoU that NMS goes by",
                    "2 detections",
                    f"{len(rows)} detection(s)",
                    "IoU = intersection / (area + area - intersection), not over one of the areas",
                    BOX_NAMES,
                )
            ]
    return []


def _nothing(stage: Stage) -> list[Tensor]:
    """Predictions of no object at all."""
    preds = [torch.zeros(1, k.grid_h, k.grid_w, k.anchor_count, 5 + k.classes) for k in stage.heads]
    for pred in preds:
        pred[..., 0] = -12.0
    return preds


def _pair(stage: Stage, overlap: float) -> list[Tensor] | None:
    """Two sure boxes of one size, side by side with this IoU; None where no two slots reach."""
    head = max(stage.heads, key=lambda h: h.grid_h * h.grid_w)
    areas = head.anchors.float().prod(1)
    # near three cells: then the two centres lie in cells of their own
    a = int((areas.sqrt() - 3).abs().argmin())
    w, h = (head.anchors[a].float() * 1.2).clamp(min=1.2).tolist()
    w, h = min(w, 0.5 * head.grid_w), min(h, 0.8 * head.grid_h)
    apart = w * (1 - overlap) / (1 + overlap)
    y, left = head.grid_h // 2 + 0.45, head.grid_w / 2 - apart / 2
    border = round(left + apart / 2)  # the middle between them on a border between cells
    xs = [border - apart / 2, border + apart / 2]
    cells = [[float(int(x)), float(int(y))] for x in xs]
    if cells[0] == cells[1] or min(xs) < 0 or max(xs) >= head.grid_w:
        return None
    preds = _nothing(stage)
    mine = preds[stage.heads.index(head)]
    for x, cell, sure in zip(xs, cells, (4.0, math.log(WEAKER / (1 - WEAKER))), strict=True):
        box = torch.tensor([[x / head.grid_w, y / head.grid_h, w / head.grid_w, h / head.grid_h]])
        slot = mine[0, int(cell[1]), int(cell[0]), a]
        slot[0], slot[5:] = sure, -12.0
        slot[1:5] = encode_box(box, torch.tensor([cell]), head, torch.tensor([a]), stage.layout.decode)[0]
        slot[5] = 12.0
    return preds


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


def judge_nms(called: Called, stage: Stage) -> list[Finding]:
    """Two neighbouring cells on one box: of one class the stronger survives, of two classes both do."""
    made, pair = _twins(stage)
    k, y, x, a = pair
    head = stage.heads[k]
    size = (head.input_h, head.input_w)
    last = stage.classes - 1
    # whichever of two classes is the stronger; the first class is no other than the rest
    pairs = [(0, 0), (0, last), (last, 0), (min(1, last), last), (0, min(1, last))]
    pred = [torch.zeros(len(pairs), h.grid_h, h.grid_w, h.anchor_count, 5 + h.classes) for h in stage.heads]
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
    for image, classes in enumerate(pairs):
        for j in (0, 1):
            slot = pred[k][image, y, x + j, a]
            slot[0], slot[1:5] = sure[j], raws[j]
            slot[5:] = -12.0
            slot[5 + classes[j]] = 12.0
    found = run_detect(called, stage, pred, [size] * len(pairs))
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
    counts = [len(rows) for (a, b), rows in zip(pairs, found, strict=True) if a != b]
    if min(counts, default=2) < 2:
        findings.append(
            _nms_finding(
                called,
                "detect lets one class suppress another",
                "2 detections of two classes on one box",
                f"{min(counts)} detection(s)",
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
