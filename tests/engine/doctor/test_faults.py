"""One fault at a time in a hand-written detector: found, the right function first, the right channels."""

from __future__ import annotations

from pathlib import Path

import pytest

from .healthy import Design, errors, examine
from .plain import NETWORK, PLAIN, TRANSFORM, changed
from .sampling import mostly_slow

XYWH = ("x", "y", "w", "h")
SAID = {"objectness": "iou", "confidence": "mse", "box": "mse", "reduction": "batch", "ignore_iou": 0.6}
SAID["total"] = ["lcls", "lbox", "lobj"]  # type: ignore[assignment]
OVER = "ov = iou(boxes, targets[..., 2:6])"

FAULTS = [
    # decode
    ("xy = (pred[..., 1:3]", "xy = (pred[..., 0:2]", "decode", ("conf", "y")),
    ("pred[..., 1:3].sigmoid() + grid", "pred[..., 1:3] + grid", "decode", ("x", "y")),
    (
        "xy = (pred[..., 1:3].sigmoid() + grid)",
        "xy = pred[..., 1:3].exp() * head.anchors",
        "decode",
        ("x", "y"),
    ),
    ("wh = pred[..., 3:5].exp()", "wh = pred[..., 3:5]", "decode", ("w", "h")),
    ("wh = pred[..., 3:5].exp()", "wh = pred[..., 4:6].exp()", "decode", ("w", "class")),
    (
        "torch.stack((gx, gy), -1).float().unsqueeze(2)\n    size",
        "torch.stack((gy, gx), -1).float().unsqueeze(2)\n    size",
        "decode",
        ("x", "y"),
    ),
    ("unsqueeze(2)\n    size", "unsqueeze(2) + 1\n    size", "decode", ("x", "y")),
    ("* head.anchors / size", "* head.anchors.flip(-1) / size", "decode", ("w", "h")),
    ("* head.anchors / size", "* head.anchors.flip(0) / size", "decode", ("w", "h")),
    ("* head.anchors / size", "* head.anchors * head.stride / size", "decode", ("w", "h")),
    # iou
    (
        "ih = (torch.minimum(ay2, by2) - torch.maximum(ay1, by1)).clamp(min=0)",
        "ih = torch.minimum(ay2, by2) - torch.maximum(ay1, by1)",
        "iou",
        ("y", "h"),
    ),
    (" - inter + 1e-9)", ")", "iou", XYWH),
    ("(bx2 - bx1) * (by2 - by1)", "(bx2 - bx1 + 1) * (by2 - by1 + 1)", "iou", XYWH),
    # assign
    (
        "out[b, gy, gx, a]",
        "out[b, min(gx, head.grid_h - 1), min(gy, head.grid_w - 1), a]",
        "assign",
        ("x", "y"),
    ),
    ("gx = min(int(cx * head.grid_w), head.grid_w - 1)", "gx = int(cx * head.grid_w)", "assign", ("x",)),
    ("float(k), cx, cy, w, h", "float(k) + 1, cx, cy, w, h", "assign", ("class",)),
    (
        "cx, cy, w, h, 2 -",
        "cx * head.input_w, cy * head.input_h, w * head.input_w, h * head.input_h, 2 -",
        "assign",
        XYWH,
    ),
    ("cx, cy, w, h, 2 -", "cy, cx, w, h, 2 -", "assign", ("x", "y")),
    (
        "size = torch.tensor([w * head.grid_w, h * head.grid_h])",
        "size = torch.tensor([w, h])",
        "assign",
        ("w", "h"),
    ),
    ("            out[b, gy", "            out[b, gy, gx] = 0\n            out[b, gy", "assign", ("mask",)),
    (
        "out[b, gy, gx, a] = torch",
        "out[b, gy, gx, a] += torch",
        "assign",
        ("mask", "class", "x", "y", "w", "h", "weight"),
    ),
    # loss
    ("off_xy, off_wh = pred[..., 1:3]", "off_xy, off_wh = pred[..., 0:2]", "loss", ("conf", "y")),
    ("txy = targets[..., 2:4] * size - cells", "txy = targets[..., 2:4]", "loss", ("x", "y")),
    ("txy = targets[..., 2:4]", "txy = targets[..., 1:3]", "loss", ("class", "y")),
    ("twh = (targets[..., 4:6] * size", "twh = (targets[..., 4:6]", "loss", ("w", "h")),
    ("twh = (targets[..., 4:6]", "twh = (targets[..., [5, 4]]", "loss", ("w", "h")),
    ("conf - ov.detach()", "conf - ov", "loss", XYWH),
    ("mask = targets[..., 0] > 0", "mask = targets[..., 7] > 0", "loss", ("mask", "iou")),
    ("mask = targets[..., 0] > 0", "mask = targets[..., 1] > 0", "loss", ("mask", "class")),
    (OVER, "ov = iou(boxes, targets[..., 2:6] / size.repeat(2))", "loss", XYWH),
    (OVER, "ov = iou(decode(pred * 0, head), targets[..., 2:6])", "loss", XYWH),
    ("[mask].sum() / B\n    conf", "[mask].sum()\n    conf", "loss", XYWH),
    ("[mask].sum() / B\n    conf", "[mask].sum() / mask.numel()\n    conf", "loss", XYWH),
    ("conf = pred[..., 0].sigmoid()", "conf = pred[..., 0].sigmoid().sigmoid()", "loss", ("conf",)),
    ("conf = pred[..., 0].sigmoid()", "conf = pred[..., 4].sigmoid()", "loss", ("conf", "h")),
    ("(conf**2)[noobj].sum()", "(conf**2).sum()", "loss", ("conf",)),
    (" + (conf**2)[noobj].sum()", "", "loss", ("conf",)),
    ("(conf**2)[noobj].sum()", "(conf**2)[~mask].sum()", "loss", ("conf",)),
    ("logits, classes = pred[..., 5:]", "logits, classes = pred[..., 4:]", "loss", ("h",)),
    ("pred[..., 5:][mask]", "pred[..., 5:][mask].softmax(-1)", "loss", ("class",)),
    ("lbox = (weight", "lbox = -(weight", "loss", XYWH),
    ("lbox = (weight", "lbox = (weight**2", "loss", ("weight",)),
    ("noobj = ~mask & (best < 0.6)", "noobj = ~mask & (best.amax(-1, True) < 0.6)", "loss", ("conf",)),
    ('"lbox": lbox', '"lbox": lbox.detach()', "loss", XYWH),
    ("lcls + lbox + lobj}", "lcls + lbox}", "loss", ("conf",)),
    ("lcls + lbox + lobj}", "lcls + lbox + lobj + liou}", "loss", XYWH),
    (
        "boxes = decode(pred, head)\n    ov",
        "pred[..., 1:3] *= 1.1\n    boxes = decode(pred, head)\n    ov",
        "loss",
        ("x", "y"),
    ),
    # detect
    (
        "(x1 * head.input_w - left) / s, (x2 * head.input_w - left) / s",
        "x1 * head.input_w / s, x2 * head.input_w / s",
        "detect",
        ("x",),
    ),
    (
        "boxes = decode(pred, head)\n    out",
        "boxes = decode(pred, head) / head.stride\n    out",
        "detect",
        XYWH,
    ),
    ("for b, (H, W) in enumerate(sizes)", "for b, (W, H) in enumerate(sizes)", "detect", XYWH),
    ("if all(cls[i] != cls[j] or iou", "if all(iou", "detect", ("class",)),
    ("descending=True", "descending=False", "detect", ("conf",)),
    ("score = p[:, 0].sigmoid() * prob", "score = p[:, 0].sigmoid()", "detect", ("class",)),
    ("p[:, 5:].softmax(-1)", "p[:, 4:].softmax(-1)", "detect", ("h", "class")),
    # the target of conf: a function of the IoU other than the IoU
    ("conf - ov.detach()", "conf - ov.detach()**2", "loss", ("conf",)),
    ("conf - ov.detach()", "conf - ov.detach().sqrt()", "loss", ("conf",)),
    ("conf - ov.detach()", "conf - (1 + ov.detach()) / 2", "loss", ("conf",)),
    ("conf - ov.detach()", "conf - ov.detach()**3", "loss", ("conf",)),
    # the weight of a box
    ("weight = targets[..., 6]", "weight = targets[..., 4] * targets[..., 5]", "loss", ("weight",)),
    ("weight = targets[..., 6]", "weight = 2 - targets[..., 4]", "loss", ("weight",)),
    ("weight = targets[..., 6]", "weight = targets[..., 7]", "loss", ("weight", "iou")),
    # positives
    (
        "pred[..., 5:][mask], targets[..., 1][mask].long()",
        "pred[:1, ..., 5:][mask[:1]], targets[:1, ..., 1][mask[:1]].long()",
        "loss",
        ("class",),
    ),
    ("mask = targets[..., 0] > 0", "mask = targets[..., 6] > 1.9", "loss", ("mask", "weight")),
    ("targets[..., 1][mask].long()", "targets[..., 2][mask].long()", "loss", ("class", "x")),
    # the ignore rule
    ("(best < 0.6)", "(best < 0.45)", "loss", ("conf",)),
    ("(best < 0.6)", "(best < 0.8)", "loss", ("conf",)),
    (
        "((conf - ov.detach())**2)[mask].sum()",
        "((conf - ov.detach())**2)[mask & (best < 0.6)].sum()",
        "loss",
        ("conf",),
    ),
    ("for truth in targets[b][mask[b]]:", "for truth in targets[mask]:", "loss", ("conf",)),
    # far from the truth
    ("pred[..., 3:5] - twh", "pred[..., 3:5].clamp(-1, 1) - twh.clamp(-1, 1)", "loss", ("w", "h")),
    # maps
    ('"total": lcls', '"maps": {"lobj": conf.transpose(1, 2)}, "total": lcls', "loss", ("conf",)),
    ('"total": lcls', '"maps": {"lobj": conf.flip(3)}, "total": lcls', "loss", ("conf",)),
    ('"total": lcls', '"maps": {"lobj": conf.flatten()}, "total": lcls', "loss", ("conf",)),
    ('"total": lcls', '"maps": {"lobj": best}, "total": lcls', "loss", ("conf",)),
    # detect
    ("p[:, 5:].softmax(-1).max(-1)", "p[:, 5:].softmax(0).max(-1)", "detect", ("class",)),
    ("score = p[:, 0].sigmoid() * prob", "score = p[:, 0] * prob", "detect", ("conf",)),
    ("score = p[:, 0].sigmoid() * prob", "score = p[:, 0].sigmoid()**2 * prob", "detect", ("conf",)),
]


@pytest.mark.parametrize(("old", "new", "function", "channels"), mostly_slow(FAULTS, 10))
def test_a_fault_is_named(
    tmp_path: Path, old: str, new: str, function: str, channels: tuple[str, ...]
) -> None:
    report = examine(tmp_path, changed(PLAIN, (old, new)), Design(loss=SAID))
    first = report.findings[0]
    assert (first.severity, first.function) == ("error", function), errors(report)
    assert first.channels == channels, first.message
    assert first.file == "mine.py"
    assert first.line
    others = [f.consequence_of for f in report.findings if f.severity == "error" and f.function != function]
    assert all(index is not None for index in others), errors(report)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "self.channels, H, W).permute(0, 3, 4, 1, 2)",
            "self.channels, H, W).reshape(B, H, W, self.anchors, self.channels)",
        ),
        ("permute(0, 3, 4, 1, 2)", "permute(0, 4, 3, 1, 2).reshape(B, H, W, self.anchors, self.channels)"),
        ("permute(0, 3, 4, 1, 2)", "permute(0, 1, 3, 4, 2)"),
        ("self.body(images)", "self.body(images).detach()"),
        ("permute(0, 3, 4, 1, 2)", "permute(0, 3, 4, 1, 2).flip(0)"),
        ("permute(0, 3, 4, 1, 2)", "permute(0, 3, 4, 1, 2).flip(2)"),
        ("permute(0, 3, 4, 1, 2)", "permute(0, 3, 4, 1, 2).flip(1)"),
        ("self.body(images)", "self.body(images).flip(2, 3)"),
        ("return Net(head, classes)", "return Net"),
        ("self.head(self.body(images))", "self.head(self.body(images)).sigmoid()"),
        ("self.head(self.body(images))", "self.head(self.body(images)).relu()"),
        ("self.head(self.body(images))", "self.head(self.body(images)).tanh()"),
    ],
)
def test_a_fault_of_a_network_is_named(tmp_path: Path, old: str, new: str) -> None:
    report = examine(tmp_path, changed(NETWORK, (old, new)))
    assert (report.findings[0].severity, report.findings[0].function) == ("error", "build_model")


@pytest.mark.parametrize(
    ("old", "new", "channels"),
    [
        ("        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]\n", "", ("x",)),
        ("width - boxes[:, [2, 0]]", "width - boxes[:, [0, 2]]", ("x", "w")),
        ("cv2.COLOR_HSV2BGR", "cv2.COLOR_HSV2RGB", ()),
        ("boxes - [left, top, left, top]", "boxes", ("x", "y")),
        ("return image, boxes", "return image.astype('float32'), boxes", ()),
        ("return image, boxes", "return image, boxes[1:]", ()),
        ("return image, boxes", "return image, boxes[::-1].copy()", XYWH),
        ("image.copy(), boxes.copy()", "image.copy(), boxes", ("x",)),
        ("image, boxes = image.copy(), boxes.copy()", "image[::9] //= 2\n    boxes = boxes.copy()", ()),
        (
            "return image, boxes",
            "return image, boxes[((boxes[:, 2:] - boxes[:, :2]) > 3).all(1)]",
            (),
        ),
        (
            "left, top = random.randint(0, width // 5), random.randint(0, height // 5)",
            "left, top = random.randint(width // 5, width // 2), 0\n    width -= left",
            ("x", "w"),
        ),
    ],
)
def test_a_fault_of_a_transform_is_named(
    tmp_path: Path, old: str, new: str, channels: tuple[str, ...]
) -> None:
    report = examine(tmp_path, changed(TRANSFORM, (old, new)))
    assert (report.findings[0].severity, report.findings[0].function) == ("error", "transform")
    assert report.findings[0].channels == channels


@pytest.mark.parametrize(
    ("text", "function", "line"),
    [
        ("def decode(pred, head:\n    return pred\n", "decode", 1),
        ("import torch\n\n\ndef iou(a):\n    return a\n", "iou", 4),
        ("def decode(pred, head):\n    x = 1\n    return pred.no_such_thing\n", "decode", 3),
        ("def decode(pred, head):\n    return pred\n", "decode", 1),
        ("def loss(pred, targets, head):\n    return 3\n", "loss", 1),
        ("def loss(pred, targets, head):\n    return {'lbox': pred.sum()}\n", "loss", 1),
        ("def detect(pred, head, sizes):\n    return [pred]\n", "detect", 1),
        ("def assign(boxes, labels, head):\n    return None\n", "assign", 1),
        ("import no_such_module\n\n\ndef iou(a, b):\n    return a\n", "config", 1),
    ],
)
def test_what_cannot_serve_is_a_finding(tmp_path: Path, text: str, function: str, line: int) -> None:
    first = examine(tmp_path, text).findings[0]
    assert (first.severity, first.function, first.line, first.file) == ("error", function, line, "mine.py")
    assert first.expected


@pytest.mark.slow
def test_a_function_that_does_not_follow_head_is_warned_about(tmp_path: Path) -> None:
    """Constants that happen to be this config's own work here, and nowhere else."""
    fixed = changed(
        PLAIN,
        (
            "size = torch.tensor([head.grid_w, head.grid_h]).float()\n    xy",
            "size = torch.tensor([10., 8.])\n    xy",
        ),
    )
    report = examine(tmp_path, fixed, Design(loss=SAID))
    assert report.ok, errors(report)
    assert any(f.severity == "warning" and f.function == "decode" for f in report.findings)
