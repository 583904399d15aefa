# ruff: noqa: E501  (what is replaced stands as it stands in the file)
"""Mistakes that trackers of detectors' repositories tell of again and again, beyond the catalogue's rows: from the
truths to the loss."""

from tests.faults.case import fault

CASES = [
    fault(
        "tracker-buffer-kept",
        "looped",
        "targets are written into one buffer that outlives the call, and nobody clears it",
        (
            "    targets = torch.zeros(len(boxes), head.grid_h, head.grid_w, len(anchors), 8, device=head.anchors.device)\n",
            "    shape = (len(boxes), head.grid_h, head.grid_w, len(anchors), 8)\n"
            "    targets = BUFFERS.setdefault(shape, torch.zeros(shape))\n",
        ),
        ("IGNORE = 0.6\n", "IGNORE = 0.6\nBUFFERS = {}\n"),
        to="assign",
    ),
    fault(
        "tracker-empty-images-dropped",
        "vectorised",
        "images without an object are taken out before they are numbered",
        (
            "    for image, (xywh, cls) in enumerate(zip(boxes, labels)):\n        if xywh.numel() == 0:\n            continue\n",
            "    for image, (xywh, cls) in enumerate((b, k) for b, k in zip(boxes, labels) if b.numel()):\n",
        ),
        to="assign",
        channels="mask",
        overlap=True,
    ),
    fault(
        "tracker-anchor-by-width",
        "vectorised",
        "the best anchor by its width alone",
        (
            "        best = ratio.argmax(dim=1)\n",
            "        best = (wh[:, None, 0] - anchors[None, :, 0]).abs().argmin(dim=1)\n",
        ),
        to="assign",
        channels="h",
        overlap=True,
    ),
    fault(
        "tracker-best-beyond-ratio",
        "twoheads",
        "multi: a truth that no anchor's ratio admits gets no slot at all, as in the first versions of YOLOv5",
        ("< RATIO or winner == (i, a):", "< RATIO:"),
        to="assign",
        channels="mask",
    ),
    fault(
        "tracker-grid-remembered",
        "looped",
        "the grid is made once and handed out for every head, whatever its size",
        (
            "    ys = torch.arange(head.grid_h, device=like.device)\n    xs = torch.arange(head.grid_w, device=like.device)\n",
            "    side = max(head.grid_h, head.grid_w)\n    ys = torch.arange(side).clamp(max=side - 2)[: head.grid_h]\n    xs = torch.arange(side).clamp(max=side - 2)[: head.grid_w]\n",
        ),
        to=("decode", "loss"),
        channels="x",
        overlap=True,
    ),
    fault(
        "tracker-decode-of-v5",
        "looped",
        "w and h as YOLOv5 decodes them, in a YOLOv2",
        (
            "wh = anchors * torch.exp(pbox[..., 2:4]) / scale",
            "wh = anchors * (2 * torch.sigmoid(pbox[..., 2:4])) ** 2 / scale",
        ),
        to="decode",
        channels="w h",
    ),
    fault(
        "tracker-iou-of-sizes",
        "looped",
        "the overlap of the sizes alone: where the boxes lie does not matter",
        (
            "    inter_wh = torch.clamp(torch.min(a_max, b_max) - torch.max(a_min, b_min), min=0)\n",
            "    inter_wh = torch.min(a[..., 2:], b[..., 2:])\n",
        ),
        to="iou",
        channels="x y",
        overlap=True,
    ),
    fault(
        "tracker-pairs-of-all",
        "vectorised",
        "a column against a row: every prediction is compared with every truth",
        (
            "lbox = 5.0 * (1 - generalised_iou(boxes, truth[:, 2:6])).sum() / n",
            "lbox = 5.0 * (1 - generalised_iou(boxes[:, None], truth[None, :, 2:6])).sum() / n / n",
        ),
        to="loss",
        channels="x y w h",
        overlap=True,
    ),
    fault(
        "tracker-bitwise-not",
        "looped",
        "~ of a byte: 254 and 255 are both true, so positives count as negatives, and 255 fold",
        (
            "negative = (1 - mask) * (best <= IGNORE).float()",
            "negative = (~mask.byte()).float() / 255 * (best <= IGNORE).float()",
        ),
        to="loss",
        channels="conf",
    ),
    fault(
        "tracker-last-head-only",
        "twoheads",
        "= for +=: of the objectness only the last head's is left",
        ("        lobj = lobj + F.binary", "        lobj = F.binary"),
        to="loss",
        channels="conf",
    ),
    fault(
        "tracker-classes-of-all-slots",
        "looped",
        "the classes of slots without an object are trained too, towards class 0",
        (
            "lcls_map = -mask * torch.gather(",
            "lcls_map = -(mask + 0.1 * (1 - mask)) * torch.gather(",
        ),
        to="loss",
        channels="class",
    ),
    fault(
        "tracker-box-twice-in-total",
        "looped",
        "total holds lbox twice and lobj not at all",
        ('"total": lcls + lbox + lobj,', '"total": lcls + lbox + lbox,'),
        to="loss",
        channels="conf",
    ),
    fault(
        "tracker-count-of-the-last-head",
        "twoheads",
        "terms are divided by the positives of the last head, not by all",
        ("        count += len(b)\n", "        count = len(b)\n"),
        to="loss",
    ),
    fault(
        "tracker-small-left-out",
        "looped",
        "truths under a hundredth of the picture get no slot",
        ("            if w <= 0 or h <= 0:\n", "            if w * h < 0.01:\n"),
        to="assign",
        channels="mask",
    ),
    fault(
        "tracker-labels-of-another-order",
        "looped",
        "boxes are sorted by size, their classes are not",
        (
            "        for box, label in zip(boxes[b].tolist(), labels[b].tolist()):",
            "        for box, label in zip(sorted(boxes[b].tolist(), key=lambda v: v[2] * v[3]), labels[b].tolist()):",
        ),
        to="assign",
        channels="class",
    ),
    fault(
        "tracker-ciou-without-aspect",
        "twoheads",
        "the aspect's part of CIoU is left out",
        (" - alpha * v\n", "\n"),
        to="loss",
        channels="x y w h",
    ),
    fault(
        "tracker-ignored-by-another-image",
        "darknet",
        "a negative is ignored for a truth of any image of the batch",
        (
            "noobj[b] &= iou(pbox[b], truth.expand_as(pbox[b])) <= 0.5",
            "noobj &= iou(pbox, truth.expand_as(pbox)) <= 0.5",
        ),
        to="loss",
        channels="conf",
    ),
    fault(
        "tracker-count-of-the-first-image",
        "darknet",
        "terms are divided by the positives of the first image",
        ("    n = max(int(obj.sum()), 1)\n", "    n = max(int(obj[0].sum()), 1)\n"),
        to="loss",
    ),
    fault(
        "tracker-conf-target-at-first-anchor",
        "twoheads",
        "the IoU is written at anchor 0, whichever anchor answers",
        (
            "            wanted[b, j, i, a] = overlap.detach()\n",
            "            wanted[b, j, i, 0] = overlap.detach()\n",
        ),
        to="loss",
        channels="conf",
        overlap=True,
    ),
]
