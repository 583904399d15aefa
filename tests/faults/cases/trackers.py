# ruff: noqa: E501  (what is replaced stands as it stands in the file)
"""Mistakes that trackers of detectors' repositories tell of again and again, beyond the catalogue's rows; and two
designs that are odd and sound."""

from tests.faults.case import fault, legitimate

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
        "tracker-clip-sides-swapped",
        "looped",
        "x is clipped to the height, y to the width",
        (
            "        x2 = ((cx + w / 2 - pad_x) / scale).clamp(0, width)\n",
            "        x2 = ((cx + w / 2 - pad_x) / scale).clamp(0, height)\n",
        ),
        (
            "        y2 = ((cy + h / 2 - pad_y) / scale).clamp(0, height)\n",
            "        y2 = ((cy + h / 2 - pad_y) / scale).clamp(0, width)\n",
        ),
        to="detect",
        channels="x y w h",
        overlap=True,
    ),
    fault(
        "tracker-class-offset-too-small",
        "vectorised",
        "classes are moved apart by one pixel each: NMS mixes them all the same",
        ("(2.0 * max(height, width))", "1.0"),
        to="detect",
        channels="class",
        overlap=True,
    ),
    fault(
        "tracker-nms-across-images",
        "vectorised",
        "a later image loses what lies where an earlier one found something",
        (
            "        found.append(torch.cat((corners[keep], score[keep, None], cls[keep, None].to(corners)), dim=1))\n",
            "        rows = torch.cat((corners[keep], score[keep, None], cls[keep, None].to(corners)), dim=1)\n"
            "        for before in found:\n"
            "            near = torch.cdist(rows[:, :4] / max(height, width), before[:, :4] / max(height, width)) < 0.05\n"
            "            rows = rows[~near.any(1)] if len(before) and len(rows) else rows\n"
            "        found.append(rows)\n",
        ),
        to="detect",
    ),
    fault(
        "tracker-results-kept",
        "looped",
        "the list of results is a default argument: the second call gives the first one's too",
        (
            "def detect(pred, head, sizes, conf=0.25, iou=0.45):",
            "def detect(pred, head, sizes, conf=0.25, iou=0.45, results=[]):",
        ),
        ("    results = []\n    for b, (height", "    for b, (height"),
        to="detect",
    ),
    fault(
        "tracker-score-squashed-twice",
        "looped",
        "the confidence goes through the sigmoid twice",
        (
            "score = torch.sigmoid(pred[..., 0:1]) * prob",
            "score = torch.sigmoid(torch.sigmoid(pred[..., 0:1])) * prob",
        ),
        to="detect",
        channels="conf",
    ),
    fault(
        "tracker-first-hundred",
        "darknet",
        "the first slots over the threshold are kept before they are sorted, not the best",
        (
            "            idx = np.where(score > conf)[0]\n",
            "            idx = np.where(score > conf)[0][:2]\n",
        ),
        to="detect",
    ),
    fault(
        "tracker-brightness-runs-over",
        "vectorised",
        "brightness is multiplied and cast without clipping: 260 becomes 4",
        (
            "np.clip(zoomed.astype(np.float32) * np.random.uniform(0.85, 1.15), 0, 255).astype(np.uint8)",
            "(zoomed.astype(np.float32) * np.random.uniform(0.7, 1.4)).astype(np.int32).astype(np.uint8)",
        ),
        to="transform",
    ),
    fault(
        "tracker-resize-sides-swapped",
        "looped",
        "cv2.resize is given height and width in numpy's order",
        (
            "    return image, boxes\n\n\nclass Net",
            "    image = __import__('cv2').resize(image, (320, 416))\n"
            "    boxes = boxes * np.array([416 / width, 320 / height] * 2, boxes.dtype)\n"
            "    return image, boxes\n\n\nclass Net",
        ),
        to="transform",
        channels="x y w h",
        overlap=True,
    ),
    fault(
        "tracker-turned-by-two-corners",
        "looped",
        "the picture is turned, and of each box only two of the four corners are",
        (
            "    height, width = image.shape[:2]\n    if random",
            "    import cv2\n"
            "    height, width = image.shape[:2]\n"
            "    m = cv2.getRotationMatrix2D((width / 2, height / 2), random.uniform(-25, 25), 1.0)\n"
            "    image = cv2.warpAffine(image, m, (width, height), borderValue=(114, 114, 114))\n"
            "    ends = np.stack([boxes[:, :2] @ m[:, :2].T + m[:, 2], boxes[:, 2:] @ m[:, :2].T + m[:, 2]])\n"
            "    boxes = np.concatenate([ends.min(0), ends.max(0)], 1)\n"
            "    boxes = boxes.clip(0, [width, height, width, height]).astype(np.float32)\n"
            "    if random",
        ),
        to="transform",
        channels="w h",
        overlap=True,
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
        "tracker-border-left-out",
        "looped",
        "detections that touch the picture's border are dropped",
        (
            "        results.append(found[found[:, 4]",
            "        inside = (found[:, :2] > 0).all(1) & (found[:, 2] < width) & (found[:, 3] < height)\n"
            "        found = found[inside]\n"
            "        results.append(found[found[:, 4]",
        ),
        to="detect",
    ),
    fault(
        "tracker-crop-without-clipping",
        "vectorised",
        "boxes are shifted with the crop, and those it leaves outside keep their size",
        (
            "    moved[:, 0::2] = moved[:, 0::2].clip(0, width)\n    moved[:, 1::2] = moved[:, 1::2].clip(0, height)\n    return bright, moved",
            "    top, left = height // 5, width // 5\n"
            "    moved -= np.array([left, top, left, top], moved.dtype)\n"
            "    bright = np.ascontiguousarray(bright[top : 4 * top, left : 4 * left])\n"
            "    return bright, moved",
        ),
        to="transform",
        channels="x y w h",
        overlap=True,
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
    legitimate(
        "tracker-solarized",
        "looped",
        "bright pixels are inverted in half of the draws",
        (
            "    return image, boxes\n\n\nclass Net",
            "    if random.random() < 0.5:\n"
            "        image = np.where(image >= 128, 255 - image, image)\n"
            "    return image, boxes\n\n\nclass Net",
        ),
    ),
    legitimate(
        "tracker-attention",
        "vectorised",
        "every cell sees the whole picture, and its own place most",
        (
            "        raw = self.head(self.blocks(images * 2 - 1))\n",
            "        z = self.blocks(images * 2 - 1)\n"
            "        t = z.flatten(2).transpose(1, 2)\n"
            "        t = torch.softmax(t @ t.transpose(1, 2), -1) @ t\n"
            "        raw = self.head(z + t.transpose(1, 2).reshape(z.shape))\n",
        ),
    ),
    legitimate(
        "tracker-own-autograd",
        "vectorised",
        "a backward pass of its own",
        (
            "def intersection(p: Boxes, q: Boxes) -> Tensor:\n"
            "    w = torch.minimum(p.x2, q.x2) - torch.maximum(p.x1, q.x1)\n"
            "    h = torch.minimum(p.y2, q.y2) - torch.maximum(p.y1, q.y1)\n"
            "    return w.clamp_min(0) * h.clamp_min(0)\n",
            "class Common(torch.autograd.Function):\n"
            "    @staticmethod\n"
            "    def forward(ctx, w, h):\n"
            "        ctx.save_for_backward(w, h)\n"
            "        return w * h\n\n"
            "    @staticmethod\n"
            "    def backward(ctx, grad):\n"
            "        w, h = ctx.saved_tensors\n"
            "        return grad * h, grad * w\n\n\n"
            "def intersection(p: Boxes, q: Boxes) -> Tensor:\n"
            "    w = torch.minimum(p.x2, q.x2) - torch.maximum(p.x1, q.x1)\n"
            "    h = torch.minimum(p.y2, q.y2) - torch.maximum(p.y1, q.y1)\n"
            "    return Common.apply(w.clamp_min(0), h.clamp_min(0))\n",
        ),
    ),
    legitimate(
        "tracker-wrapped-network",
        "vectorised",
        "the network is handed out in a wrapper that holds it as .module, as DataParallel does",
        (
            "    return Detector(head, classes=len(classes))\n",
            "    return Wrapped(Detector(head, classes=len(classes)))\n\n\n"
            "class Wrapped(nn.Module):\n"
            "    def __init__(self, module: nn.Module) -> None:\n"
            "        super().__init__()\n"
            "        self.module = module\n\n"
            "    def forward(self, *inputs, **keywords):\n"
            "        return self.module(*inputs, **keywords)\n",
        ),
    ),
    legitimate(
        "tracker-data-parallel",
        "looped",
        "torch's own nn.DataParallel, on a machine without devices",
        ("    return Net(head, len(classes))\n", "    return nn.DataParallel(Net(head, len(classes)))\n"),
    ),
    legitimate(
        "tracker-compiled-loss",
        "looped",
        "the loss behind torch.compile (its eager backend: no compiler is needed)",
        (
            "def loss(pred, targets, head):\n",
            '@torch.compile(backend="eager", dynamic=True)\ndef loss(pred, targets, head):\n',
        ),
    ),
]
