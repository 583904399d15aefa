# ruff: noqa: E501  (what is replaced stands as it stands in the file)
"""Designs that are different and right: not one may be an error."""

from tests.faults.case import fault, legitimate

OBJ = "    obj_map = OBJ_SCALE * mask * (conf - iou_truth) ** 2\n    noobj_map = NOOBJ_SCALE * negative * conf**2\n"
BCE_OBJ = (
    "    obj_map = OBJ_SCALE * mask * F.binary_cross_entropy_with_logits(pred[..., 0], iou_truth, reduction='none')\n"
    "    noobj_map = NOOBJ_SCALE * negative * F.softplus(pred[..., 0])\n"
)
CLS = (
    "    log_prob = F.log_softmax(pred[..., 5:], dim=-1)\n"
    "    lcls_map = -mask * torch.gather(log_prob, -1, targets[..., 1:2].long()).squeeze(-1)\n"
)
LBOX = "    lbox_map = weight * (((pxy - txy) ** 2).sum(-1) + ((pwh - twh) ** 2).sum(-1))\n"
XY_WH = (
    "    xy = (torch.sigmoid(pbox[..., :2]) + grid) / scale\n"
    "    wh = anchors * torch.exp(pbox[..., 2:4]) / scale\n"
)
SUMS = (
    "    lcls = lcls_map.sum() / batch\n"
    "    lbox = lbox_map.sum() / batch\n"
    "    lobj = lobj_map.sum() / batch\n"
    "    liou = liou_map.sum() / batch\n"
)
GIOU = "    lbox = 5.0 * (1 - generalised_iou(boxes, truth[:, 2:6])).sum() / n\n"
LCLS = 'lcls = F.binary_cross_entropy_with_logits(matched[:, 5:], one_hot, reduction="sum") / n'
BODY = "    return image, boxes\n\n\nclass Net"
FLAT = "return out.view(n, self.num_anchors, -1, h, w).permute(0, 3, 4, 1, 2)"

CASES = [
    legitimate("right-looped", "looped", "the base as it stands"),
    legitimate("right-vectorised", "vectorised", "the base as it stands"),
    legitimate("right-darknet", "darknet", "the base as it stands: b (a c) y x, targets as offsets and logs"),
    legitimate("right-twoheads", "twoheads", "the base as it stands: two heads, several slots a truth"),
    legitimate("right-numpyish", "numpyish", "the base as it stands: b a y x c, decode without a gradient"),
    legitimate(
        "objectness-one",
        "looped",
        "conf towards 1, declared",
        (OBJ, OBJ.replace("iou_truth", "1")),
        config={"loss": {"objectness": "one"}},
    ),
    legitimate(
        "objectness-one-undeclared",
        "looped",
        "conf towards 1, no profile declared",
        (OBJ, OBJ.replace("iou_truth", "1")),
        undeclared=("loss",),
    ),
    legitimate(
        "confidence-bce", "looped", "BCE, declared", (OBJ, BCE_OBJ), config={"loss": {"confidence": "bce"}}
    ),
    legitimate(
        "confidence-bce-undeclared",
        "looped",
        "BCE, no profile declared",
        (OBJ, BCE_OBJ),
        undeclared=("loss",),
    ),
    legitimate(
        "profile-undeclared", "vectorised", "BCE, GIoU, per positives, nothing declared", undeclared=("loss",)
    ),
    legitimate(
        "focal-objectness",
        "vectorised",
        "quality focal weights on the BCE",
        (
            '    lobj = F.binary_cross_entropy_with_logits(pred[..., 0], wanted, reduction="sum") / n\n',
            "    focal = (wanted - pred[..., 0].sigmoid()).abs() ** 1.5\n"
            "    lobj = (focal * F.binary_cross_entropy_with_logits(pred[..., 0], wanted, reduction='none')).sum() / n\n",
        ),
    ),
    legitimate(
        "focal-classes",
        "looped",
        "focal weights on the cross-entropy",
        (CLS, CLS + "    lcls_map = lcls_map * (1 - torch.exp(-lcls_map)) ** 2\n"),
    ),
    legitimate(
        "label-smoothing",
        "looped",
        "cross-entropy with smoothed labels",
        (
            CLS,
            "    lcls_map = mask * F.cross_entropy(\n"
            "        pred[..., 5:].movedim(-1, 1), targets[..., 1].long(), reduction='none', label_smoothing=0.1\n"
            "    )\n",
        ),
    ),
    legitimate(
        "label-smoothing-bce",
        "vectorised",
        "smoothed one-hot vectors",
        (
            "one_hot = F.one_hot(truth[:, 1].long(), head.classes).to(pred)",
            "one_hot = F.one_hot(truth[:, 1].long(), head.classes).to(pred) * 0.9 + 0.05",
        ),
    ),
    legitimate(
        "classes-bce",
        "looped",
        "binary cross-entropies in lcls",
        (
            CLS,
            "    one_hot = F.one_hot(targets[..., 1].long(), head.classes).float()\n"
            "    lcls_map = mask * F.binary_cross_entropy_with_logits(pred[..., 5:], one_hot, reduction='none').sum(-1)\n",
        ),
        ("    prob = torch.softmax(pred[..., 5:], dim=-1)\n", "    prob = torch.sigmoid(pred[..., 5:])\n"),
    ),
    legitimate(
        "classes-mean",
        "vectorised",
        "lcls is a mean over the classes",
        (LCLS, LCLS.replace("/ n", "/ (n * head.classes)")),
    ),
    legitimate(
        "wh-plain",
        "looped",
        "plain widths and heights, neither root nor log",
        ("twh = torch.log(tbox[..., 2:4] * scale / anchors + 1e-9)", "twh = tbox[..., 2:4]"),
        ("pwh = pred[..., 3:5]", "pwh = pbox[..., 2:4]"),
        row=10,
    ),
    legitimate(
        "wh-root",
        "looped",
        "square roots of widths and heights",
        ("twh = torch.log(tbox[..., 2:4] * scale / anchors + 1e-9)", "twh = torch.sqrt(tbox[..., 2:4])"),
        ("pwh = pred[..., 3:5]", "pwh = torch.sqrt(pbox[..., 2:4])"),
    ),
    legitimate(
        "weight-recomputed",
        "looped",
        "2 - w * h from the box, not from the weight channel",
        (
            "weight = COORD_SCALE * mask * targets[..., 6]",
            "weight = COORD_SCALE * mask * (2 - tbox[..., 2] * tbox[..., 3])",
        ),
    ),
    legitimate(
        "other-scales",
        "looped",
        "other constants",
        ("OBJ_SCALE = 5.0", "OBJ_SCALE = 1.0"),
        ("COORD_SCALE = 1.0\n", "COORD_SCALE = 5.0\n"),
        ("\nNOOBJ_SCALE = 1.0", "\nNOOBJ_SCALE = 0.5"),
    ),
    legitimate(
        "scale-inside-the-square",
        "looped",
        "the object scale inside the square: 25 for 5, and constant",
        ("OBJ_SCALE * mask * (conf - iou_truth) ** 2", "mask * (OBJ_SCALE * (conf - iou_truth)) ** 2"),
    ),
    legitimate(
        "scale-in-the-sum",
        "looped",
        "constant weights of the terms where they are summed",
        ('"total": lcls + lbox + lobj,', '"total": 0.5 * lcls + 5.0 * lbox + lobj,'),
    ),
    legitimate(
        "no-total-no-maps",
        "looped",
        "neither total nor maps",
        (
            '        "total": lcls + lbox + lobj,\n        "maps": {"lcls": lcls_map, "lbox": lbox_map, '
            '"lobj": lobj_map, "liou": liou_map},\n',
            "",
        ),
    ),
    legitimate(
        "no-liou",
        "vectorised",
        "liou is optional",
        ('"lobj": lobj, "liou": liou, "total"', '"lobj": lobj, "total"'),
    ),
    legitimate(
        "liou-mean",
        "looped",
        "liou is the mean over the positives",
        ("liou = liou_map.sum() / batch", "liou = liou_map.sum() / mask.sum().clamp(min=1)"),
    ),
    legitimate(
        "liou-in-the-declared-sum",
        "looped",
        "liou is in the sum and in the profile",
        ('"total": lcls + lbox + lobj,', '"total": lcls + lbox + lobj + liou,'),
        config={"loss": {"total": ["lcls", "lbox", "lobj", "liou"]}},
    ),
    legitimate(
        "iou-channel-not-written",
        "looped",
        "the iou channel of targets is left alone",
        ("    targets[..., 7] = iou_truth\n", ""),
    ),
    legitimate(
        "reduction-positives",
        "looped",
        "sums over positives, declared",
        (SUMS, "    batch = mask.sum().clamp(min=1)\n" + SUMS),
        config={"loss": {"reduction": "positives"}},
    ),
    legitimate(
        "reduction-mean",
        "looped",
        "means over positives and over slots, declared",
        (
            SUMS,
            "    batch = mask.sum().clamp(min=1)\n"
            + SUMS.replace("lobj_map.sum() / batch", "lobj_map.mean()"),
        ),
        config={"loss": {"reduction": "mean"}},
    ),
    legitimate(
        "nothing-ignored",
        "looped",
        "no ignore mask, declared",
        ("(best <= IGNORE).float()", "1"),
        config={"loss": {"ignore_iou": 0}},
    ),
    legitimate(
        "box-iou",
        "vectorised",
        "1 - IoU, declared",
        (GIOU, GIOU.replace("generalised_iou", "iou")),
        config={"loss": {"box": "iou"}},
    ),
    legitimate(
        "box-smooth-l1",
        "looped",
        "smooth L1 of offsets and logs, declared",
        (
            LBOX,
            "    lbox_map = weight * (\n"
            "        F.smooth_l1_loss(pxy, txy, reduction='none').sum(-1)\n"
            "        + F.smooth_l1_loss(pwh, twh, reduction='none').sum(-1)\n"
            "    )\n",
        ),
        config={"loss": {"box": "smooth-l1"}},
    ),
    legitimate(
        "decode-yolov5",
        "looped",
        "YOLOv5's decode, declared",
        (
            XY_WH,
            "    xy = (2 * torch.sigmoid(pbox[..., :2]) - 0.5 + grid) / scale\n"
            "    wh = anchors * (2 * torch.sigmoid(pbox[..., 2:4])) ** 2 / scale\n",
        ),
        ("pxy = torch.sigmoid(pred[..., 1:3])", "pxy = 2 * torch.sigmoid(pred[..., 1:3]) - 0.5"),
        ("pwh = pred[..., 3:5]", "pwh = 2 * torch.log(2 * torch.sigmoid(pred[..., 3:5]))"),
        config={"layout": {"decode": "yolov5"}},
    ),
    legitimate(
        "decode-linear",
        "looped",
        "linear decode, declared",
        ("xy = (torch.sigmoid(pbox[..., :2]) + grid) / scale", "xy = (0.5 + pbox[..., :2] + grid) / scale"),
        ("pxy = torch.sigmoid(pred[..., 1:3])", "pxy = 0.5 + pred[..., 1:3]"),
        config={"layout": {"decode": "linear"}},
    ),
    legitimate("decode-alone", "looped", "nothing but decode is the user's", keep=("decode",)),
    legitimate("iou-alone", "darknet", "nothing but iou is the user's", keep=("iou",)),
    legitimate("assign-alone", "twoheads", "nothing but assign is the user's", keep=("assign",)),
    legitimate("network-alone", "vectorised", "nothing but build_model is the user's", keep=("build_model",)),
    legitimate(
        "extra-arguments",
        "looped",
        "optional arguments and keywords of its own",
        ("def assign(boxes, labels, head):", "def assign(boxes, labels, head, *, ignore=0.5, debug=False):"),
        ("def iou(a, b):", "def iou(a, b, eps=1e-9):"),
        ("area_b - inter + 1e-9", "area_b - inter + eps"),
        ("def loss(pred, targets, head):", "def loss(pred, targets, head, step=0, **options):"),
    ),
    legitimate(
        "first-come",
        "looped",
        "a taken slot stays with its first truth",
        (
            "            slot = targets[b, gy, gx, best]\n",
            "            slot = targets[b, gy, gx, best]\n            if slot[0] == 1:\n                continue\n",
        ),
    ),
    legitimate(
        "next-best-anchor",
        "looped",
        "a truth whose slot is taken gets the next best anchor",
        ("            best, best_overlap = 0, -1.0\n", "            best, best_overlap = None, -1.0\n"),
        (
            "                if overlap > best_overlap:",
            "                if overlap > best_overlap and targets[b, gy, gx, k, 0] == 0:",
        ),
        (
            "            slot = targets[b, gy, gx, best]\n",
            "            if best is None:\n                continue\n            slot = targets[b, gy, gx, best]\n",
        ),
    ),
    legitimate(
        "last-overwrites",
        "looped",
        "overwriting, seen by the warning with a count alone",
        row=35,
        keep=("assign",),
    ),
    legitimate(
        "two-heads-best",
        "twoheads",
        "one slot a truth, over two heads",
        (
            "if max(rw, 1 / rw, rh, 1 / rh) < RATIO or winner == (i, a):\n                        for j, k in cells_near(cx, cy, grid):",
            "if winner == (i, a):\n                        for j, k in cells_near(cx, cy, grid)[:1]:",
        ),
        config={"model": {"assign": "best"}},
    ),
    legitimate(
        "detect-other-thresholds",
        "numpyish",
        "fixed thresholds and weakest first",
        ("conf_threshold = 0.4", "conf_threshold = 0.1"),
        ("        everything.append(torch", "        found.reverse()\n        everything.append(torch"),
    ),
    legitimate(
        "detect-not-clipped",
        "looped",
        "boxes may stand over the picture's edge",
        ("x1 = ((cx - w / 2 - pad_x) / scale).clamp(0, width)", "x1 = (cx - w / 2 - pad_x) / scale"),
        ("y1 = ((cy - h / 2 - pad_y) / scale).clamp(0, height)", "y1 = (cy - h / 2 - pad_y) / scale"),
        ("x2 = ((cx + w / 2 - pad_x) / scale).clamp(0, width)", "x2 = (cx + w / 2 - pad_x) / scale"),
        ("y2 = ((cy + h / 2 - pad_y) / scale).clamp(0, height)", "y2 = (cy + h / 2 - pad_y) / scale"),
    ),
    legitimate(
        "transform-other-size",
        "looped",
        "the picture comes back larger, its boxes with it",
        (
            BODY,
            "    wide = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)\n"
            "    return wide, boxes * 2\n\n\nclass Net",
        ),
    ),
    legitimate(
        "transform-crop",
        "looped",
        "a crop; what leaves the picture has no area",
        (
            BODY,
            "    left, top = random.randint(0, width // 4), random.randint(0, height // 4)\n"
            "    image = np.ascontiguousarray(image[top:, left:])\n"
            "    boxes = boxes - np.array([left, top, left, top], boxes.dtype)\n"
            "    boxes[:, 0::2] = boxes[:, 0::2].clip(0, image.shape[1])\n"
            "    boxes[:, 1::2] = boxes[:, 1::2].clip(0, image.shape[0])\n"
            "    return image, boxes\n\n\nclass Net",
        ),
    ),
    legitimate(
        "network-dense",
        "looped",
        "a last layer that sees the whole picture, as in YOLOv1",
        (
            "        self.out = nn.Conv2d(channels, self.num_anchors * (5 + num_classes), 1)\n",
            "        self.shape = (head.grid_h, head.grid_w, self.num_anchors, 5 + num_classes)\n"
            "        cells = head.grid_h * head.grid_w\n"
            "        self.dense = nn.Sequential(nn.Flatten(), nn.Linear(channels * cells, 64), nn.LeakyReLU(0.1))\n"
            "        self.out = nn.Linear(64, cells * self.num_anchors * (5 + num_classes))\n",
        ),
        (
            "        out = self.out(self.body(x))\n        n, _, h, w = out.shape\n        " + FLAT,
            "        return self.out(self.dense(self.body(x))).view(-1, *self.shape)",
        ),
    ),
    legitimate(
        "network-anchor-inside",
        "looped",
        "the last layer's filters stand in another order",
        (FLAT, "return out.view(n, -1, self.num_anchors, h, w).permute(0, 3, 4, 2, 1)"),
    ),
    legitimate(
        "network-dropout",
        "vectorised",
        "dropout before the head",
        (
            "        raw = self.head(self.blocks(images * 2 - 1))\n",
            "        raw = self.head(F.dropout(self.blocks(images * 2 - 1), 0.1, self.training))\n",
        ),
    ),
    fault(
        "no-file", "looped", "a sound data set and no file of the user's", to=(), code=False, expected="none"
    ),
    legitimate(
        "right-prior-pull",
        "looped",
        "negatives that overlap no truth are pulled to their priors",
        (
            LBOX,
            LBOX
            + "    lbox_map = lbox_map + 0.01 * negative * (((pxy - 0.5) ** 2).sum(-1) + (pwh**2).sum(-1))\n",
        ),
        config={"loss": {"prior_pull": 12800}},
    ),
    legitimate(
        "decode-cut-without-grad",
        "looped",
        "where nothing is learnt boxes are cut to the picture",
        (
            "    return torch.cat([xy, wh], dim=-1)\n\n\ndef iou",
            "    if not torch.is_grad_enabled():\n"
            "        low, high = (xy - wh / 2).clamp(0, 1), (xy + wh / 2).clamp(0, 1)\n"
            "        xy, wh = (low + high) / 2, high - low\n"
            "    return torch.cat([xy, wh], dim=-1)\n\n\ndef iou",
        ),
    ),
]
