# ruff: noqa: E501  (the variants are code: a line of theirs stays a line)
"""What the contract leaves free raises no error: other forms, scales, orders; every healthy design."""

from __future__ import annotations

from pathlib import Path

import pytest

from .healthy import DESIGNS, Design, errors, examine
from .plain import NETWORK, PLAIN, TRANSFORM, changed
from .sampling import mostly_slow

OBJECT = "lobj = (5 * ((conf - ov.detach())**2)[mask].sum() + (conf**2)[noobj].sum()) / B"
BOX = "lbox = (weight * (off_xy**2 + off_wh**2).sum(-1))[mask].sum() / B"
CLASS = 'lcls = F.cross_entropy(logits, classes, reduction="sum") / B'
BCE = "F.binary_cross_entropy_with_logits"

VARIANTS = {
    "as it is": [],
    "bce for conf": [
        (
            OBJECT,
            (
                f"y = ov.detach().clamp(0, 1) * mask\n    lobj = ({BCE}(pred[..., "
                "0], y, reduction='none') * (mask * 3 + noobj.float())).sum() / B"
            ),
        )
    ],
    "conf towards 1": [("conf - ov.detach()", "conf - 1")],
    "conf towards .95": [("conf - ov.detach()", "conf - 0.95")],
    "quality focal": [
        (
            OBJECT,
            (
                "y = ov.detach().clamp(0, 1) * mask\n    each = (y - conf).abs()**2 * "
                f"{BCE}(pred[..., 0], y, reduction='none')\n    lobj = each[mask | noobj].sum() / B"
            ),
        )
    ],
    "focal, soft targets": [
        (
            OBJECT,
            (
                "y = ov.detach().clamp(0, 1) * mask\n    pt = y * conf + (1 - y) * (1 - conf)\n"
                f"    lobj = ((1 - pt)**2 * {BCE}(pred[..., 0], y, reduction='none'))[mask | noobj].sum() / B"
            ),
        )
    ],
    "focal, alpha": [
        (
            OBJECT,
            (
                "y = mask.float()\n    pt = y * conf + (1 - y) * (1 - conf)\n    a = 0.25 * y "
                f"+ 0.75 * (1 - y)\n    lobj = (a * (1 - pt)**2 * {BCE}(pred[..., 0], y, reduction='none'))[mask | noobj].sum() / B"
            ),
        )
    ],
    "squared class probabilities, of a softmax": [
        (CLASS, "lcls = (logits.softmax(-1) - F.one_hot(classes, logits.shape[-1])).square().sum() / B")
    ],
    "squared class probabilities, of a sigmoid": [
        (CLASS, "lcls = (logits.sigmoid() - F.one_hot(classes, logits.shape[-1])).square().sum() / B")
    ],
    "bce for classes": [
        (
            CLASS,
            (
                "hot = F.one_hot(classes, head.classes).float()\n "
                f"   lcls = {BCE}(logits, hot, reduction='sum') / B"
            ),
        )
    ],
    "smoothed labels": [('reduction="sum")', 'reduction="sum", label_smoothing=0.1)')],
    "focal classes": [
        (
            CLASS,
            (
                "ce = F.cross_entropy(logits, classes, reduction='none')\n"
                "    lcls = ((1 - torch.exp(-ce))**2 * ce).sum() / B"
            ),
        )
    ],
    "roots of sizes": [
        ("pred[..., 3:5] - twh", "boxes[..., 2:4].sqrt() - targets[..., 4:6].clamp(min=1e-9).sqrt()")
    ],
    "plain sizes": [(BOX, "lbox = 5 * ((boxes - targets[..., 2:6])**2).sum(-1)[mask].sum() / B")],
    "no weight": [("weight * (off", "1 * (off")],
    "weight computed again": [("weight = targets[..., 6]", "weight = 2 - targets[..., 4] * targets[..., 5]")],
    "weights of the parts": [("off_xy**2 + off_wh**2", "7 * off_xy**2 + 0.3 * off_wh**2")],
    "scaled total": [('"total": lcls + lbox + lobj', '"total": 0.5 * lcls + 5 * lbox + 2 * lobj')],
    "no total": [(', "total": lcls + lbox + lobj', "")],
    "no liou": [('"liou": liou, ', "")],
    "average objectness told, NaN without objects": [
        ('return {"lcls"', 'return {"avg_obj": conf[mask].mean().detach(), "lcls"')
    ],
    "iou channel left alone": [("targets[..., 7] = (ov * mask).detach()", "pass")],
    "by positives": [("/ B", "/ max(1, int(mask.sum()))")],
    "mean": [
        (BOX, BOX.replace("/ B", "/ mask.sum().clamp(min=1)")),
        (CLASS, CLASS.replace("/ B", "/ mask.sum().clamp(min=1)")),
        (OBJECT, OBJECT.replace("/ B", "/ mask.numel()")),
    ],
    "smooth l1": [
        (
            BOX,
            (
                "lbox = (F.smooth_l1_loss(off_xy, off_xy * 0, reduction='none') + "
                "F.smooth_l1_loss(off_wh, off_wh * 0, reduction='none')).sum(-1)[mask].sum() / B"
            ),
        )
    ],
    "1 - iou": [(BOX, "lbox = (1 - ov)[mask].sum() / B")],
    "-log iou": [(BOX, "lbox = -ov.clamp(min=1e-6).log()[mask].sum() / B")],
    "bce for xy": [
        (
            BOX,
            (
                f"lbox = ({BCE}(pred[..., 1:3], txy.clamp(0, 1), "
                "reduction='none') + off_wh**2).sum(-1)[mask].sum() / B"
            ),
        )
    ],
    "no ignoring": [("noobj = ~mask & (best < 0.6)", "noobj = ~mask")],
    "pull to the priors": [
        (
            "[mask].sum() / B\n    conf",
            (
                "[mask].sum() / B + 0.01 * ((pred[..., 1:3].sigmoid() - "
                "0.5)**2 + pred[..., 3:5]**2).sum(-1)[~mask].sum() / B\n    conf"
            ),
        )
    ],
    "first come": [
        (
            "            out[b, gy",
            "            if out[b, gy, gx, a, 0]:\n                continue\n            out[b, gy",
        )
    ],
    "next best anchor": [
        (
            "a = int((inter / (head.anchors.prod(1) + size.prod() - inter)).argmax())",
            (
                "order = (inter / (head.anchors.prod(1) + size.prod() - inter)).argsort(descending=True).tolist()\n"
                "            free = [n for n in order if not out[b, gy, gx, n, 0]]\n            a = free[0] if free else order[0]"
            ),
        ),
    ],
    "iou channel filled by assign": [("2 - w * h, 0]", "2 - w * h, 1]")],
    "clipped, rounded detections": [
        (
            "rows = torch.stack([x1",
            (
                "x1, x2, y1, y2 = x1.clamp(0, W).round(), x2.clamp(0, W).round(), y1.clamp(0, "
                "H).round(), y2.clamp(0, H).round()\n        rows = torch.stack([x1"
            ),
        )
    ],
    "weakest first": [("rows[kept]", "rows[kept[::-1]]")],
    "sigmoid classes": [("softmax(-1).max", "sigmoid().max")],
    "threshold of its own": [("sizes, conf=0.25)", "sizes)"), ("score > conf", "score > 0.5")],
}


@pytest.mark.parametrize("name", mostly_slow(VARIANTS))
def test_a_legitimate_variant_raises_no_error(tmp_path: Path, name: str) -> None:
    report = examine(tmp_path, changed(PLAIN, *VARIANTS[name]), Design(said=False))
    assert report.ok, errors(report)
    assert not [f for f in report.findings if f.probe.endswith("unfinished")]


TRANSFORMS = {
    "as it is": [],
    "nothing": [("    image, boxes = image.copy(), boxes.copy()\n", "    return image, boxes\n")],
    "larger": [
        (
            "    return image, boxes",
            (
                "    h, w = image.shape[:2]\n    return cv2.resize(image, "
                "(416, 416)), boxes * [416 / w, 416 / h, 416 / w, 416 / h]"
            ),
        )
    ],
    "grey": [
        (
            "    return image, boxes",
            (
                "    if random.random() < 0.3:\n        image = image.mean(2, "
                "keepdims=True).repeat(3, 2).astype(np.uint8)\n    return image, boxes"
            ),
        )
    ],
    "cut out": [
        (
            "    return image, boxes",
            (
                "    y, x = random.randint(0, image.shape[0] - 70), random.randint(0, image.shape[1] "
                "- 70)\n    image = image.copy()\n    image[y : y + 70, x : x + 70] = 0\n    return image, boxes"
            ),
        )
    ],
    "hidden for the most part: no area": [
        (
            "    boxes = np.clip(boxes - ",
            (
                "    left, top = random.randint(0, width // 2), random.randint(0, height // 2)\n"
                "    image, whole = image[top:, left:], boxes - 0\n    boxes = np.clip(boxes - "
            ),
        ),
        (
            "    image = image[top:, left:]\n",
            "",
        ),
        (
            "    return image, boxes",
            (
                "    area = lambda b: (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])\n"
                "    boxes[area(boxes) < 0.6 * area(whole)] = 0\n    return image, boxes"
            ),
        ),
    ],
    "noise": [
        (
            "    return image, boxes",
            (
                "    noise = np.random.normal(0, 14, image.shape)\n    "
                "return np.clip(image + noise, 0, 255).astype(np.uint8), boxes"
            ),
        )
    ],
    "channels shuffled": [
        (
            "    return image, boxes",
            "    return np.ascontiguousarray(image[..., np.random.permutation(3)]), boxes",
        )
    ],
    "turned": [
        (
            "    return image, boxes",
            (
                "    h, w = image.shape[:2]\n    turn = cv2.getRotationMatrix2D((w / 2, h / 2), "
                "random.uniform(-8, 8), 1)\n    image = cv2.warpAffine(image, turn, (w, h), borderValue=(114, 114, 114))\n    corners = np.stack([boxes[:, [0, 1]], boxes[:, [2, 1]], boxes[:, [2, 3]], boxes[:, [0, 3]]], 1) @ turn[:, :2].T + turn[:, 2]\n    turned = np.concatenate([corners.min(1), corners.max(1)], 1)\n"
                "    return image, turned.clip(0, [w, h, w, h])"
            ),
        )
    ],
    "small rests dropped": [
        (
            "    return image, boxes",
            (
                "    small = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=999) "
                "< 30\n    boxes[small] = 0\n    return image, boxes"
            ),
        )
    ],
}


@pytest.mark.parametrize("name", mostly_slow(TRANSFORMS, 2))
def test_a_legitimate_transform_raises_no_error(tmp_path: Path, name: str) -> None:
    report = examine(tmp_path, changed(TRANSFORM, *TRANSFORMS[name]))
    assert report.ok, errors(report)


@pytest.mark.parametrize("name", mostly_slow(DESIGNS, 3))
def test_a_healthy_design_raises_no_error(tmp_path: Path, name: str) -> None:
    design = DESIGNS[name]
    report = examine(tmp_path, design.source() + (NETWORK if name == "seed" else ""), design)
    assert report.ok, errors(report)
    assert not [f for f in report.findings if f.probe.endswith("unfinished")]
    assert report.seconds < 10


def test_without_code_there_is_nothing_to_complain_about(tmp_path: Path) -> None:
    from engine.config import load_config
    from engine.doctor.check import check

    path = Design().write(tmp_path)
    report = check(load_config(path), source=path)
    assert report.ok
    assert not report.findings


def test_the_doctor_says_which_profile_it_sees(tmp_path: Path) -> None:
    text = changed(PLAIN, *VARIANTS["conf towards 1"], *VARIANTS["by positives"])
    report = examine(tmp_path, text, Design(said=False))
    seen = [f.message for f in report.findings if f.severity == "info"]
    assert any("objectness = 'one'" in message for message in seen)
    assert any("positives" in message for message in seen)


def test_two_checks_of_one_file_say_the_same(tmp_path: Path) -> None:
    text = changed(PLAIN, ("conf - ov.detach()", "conf - ov"))
    first, second = (examine(tmp_path / str(k), text).to_json() for k in range(2))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


NETWORKS = {
    "a head that begins at nothing": (
        "self.anchors * self.channels, 1)",
        "self.anchors * self.channels, 1)\n        nn.init.zeros_(self.head.weight)",
    ),
    "normalised over the whole picture": ("nn.BatchNorm2d(out)", "nn.GroupNorm(4, out)"),
    "normalised by instance": ("nn.BatchNorm2d(out)", "nn.InstanceNorm2d(out)"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_legitimate_network_raises_no_error(tmp_path: Path, name: str) -> None:
    report = examine(tmp_path, changed(NETWORK, NETWORKS[name]))
    assert report.ok, errors(report)
