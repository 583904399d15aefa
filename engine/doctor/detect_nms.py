"""What ``detect`` keeps of several boxes: each object once, the stronger of two, both of two classes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..boxes import iou as corner_iou
from ..boxes import to_xyxy
from .calling import Called
from .detect_run import run_detect
from .findings import Finding
from .inputs import encode_box, given, perfect, scene
from .stage import Stage


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


def judge_nms(called: Called, stage: Stage) -> list[Finding]:
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
