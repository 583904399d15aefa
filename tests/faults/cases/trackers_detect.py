# ruff: noqa: E501  (what is replaced stands as it stands in the file)
"""Mistakes that trackers of detectors' repositories tell of, in ``detect`` and ``transform``; and designs that are
odd and sound."""

from tests.faults.case import fault, legitimate

CASES = [
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
        "tracker-overlap-over-one-area",
        "vectorised",
        "NMS divides the intersection by the stronger box's area",
        (
            "        order = rest[inter / (area[top] + area[rest] - inter) <= threshold]",
            "        order = rest[inter / area[top] <= threshold]",
        ),
        to="detect",
    ),
    fault(
        "tracker-clip-to-the-input",
        "vectorised",
        "boxes in the original's pixels are clipped to the input's width",
        (
            "corners[:, 0::2] = ((corners[:, 0::2] - shift_x) / gain).clamp(0, width)",
            "corners[:, 0::2] = ((corners[:, 0::2] - shift_x) / gain).clamp(0, head.input_w)",
        ),
        to="detect",
        channels="x w",
        overlap=True,
    ),
    fault(
        "tracker-score-is-the-larger",
        "looped",
        "score is the larger of confidence and class probability: nearly every slot is reported",
        (
            "score = torch.sigmoid(pred[..., 0:1]) * prob",
            "score = torch.maximum(torch.sigmoid(pred[..., 0:1]), prob)",
        ),
        to="detect",
        channels="conf class",
        overlap=True,
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
