"""Faults of ``iou``."""

from tests.faults.case import fault

MINS = "    a_min, a_max = a[..., :2] - a[..., 2:] / 2, a[..., :2] + a[..., 2:] / 2\n"
MINS_B = "    b_min, b_max = b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2\n"
AREAS = "    area_a = a[..., 2] * a[..., 3]\n    area_b = b[..., 2] * b[..., 3]\n"

CASES = [
    fault(
        "iou-corners-for-centres",
        "looped",
        "cx cy w h are read as x1 y1 x2 y2",
        (MINS, "    a_min, a_max = a[..., :2], a[..., 2:]\n"),
        (MINS_B, "    b_min, b_max = b[..., :2], b[..., 2:]\n"),
        (AREAS, "    area_a = (a_max - a_min).prod(-1)\n    area_b = (b_max - b_min).prod(-1)\n"),
        to="iou",
        row=23,
    ),
    fault(
        "iou-corner-and-size",
        "vectorised",
        "x y are taken for the upper left corner, sizes differ",
        ("return self.cx - 0.5 * self.w", "return self.cx"),
        ("return self.cx + 0.5 * self.w", "return self.cx + self.w"),
        to="iou",
        channels="x w",
        overlap=True,
        row=23,
        keep=("iou",),
    ),
    fault(
        "iou-no-clamp",
        "looped",
        "two negative overlaps make a positive one",
        (
            "torch.clamp(torch.min(a_max, b_max) - torch.max(a_min, b_min), min=0)",
            "torch.min(a_max, b_max) - torch.max(a_min, b_min)",
        ),
        to="iou",
        row=24,
    ),
    fault(
        "iou-plus-1",
        "darknet",
        "the pixel convention on boxes in 0..1",
        (
            "    inter = (x2 - x1).clamp(0) * (y2 - y1).clamp(0)\n    return inter / (a[..., 2]",
            "    inter = (x2 - x1 + 1).clamp(0) * (y2 - y1 + 1).clamp(0)\n    return inter / (a[..., 2]",
        ),
        to="iou",
        row=25,
    ),
    fault(
        "iou-union-too-large",
        "looped",
        "the intersection is counted twice",
        ("return inter / (area_a + area_b - inter + 1e-9)", "return inter / (area_a + area_b + 1e-9)"),
        to="iou",
        row=26,
    ),
    fault(
        "iou-one-area-twice",
        "looped",
        "area_b is a's",
        ("area_b = b[..., 2] * b[..., 3]", "area_b = a[..., 2] * a[..., 3]"),
        to="iou",
    ),
    fault(
        "iou-full-size-as-half",
        "darknet",
        "the size is not halved in x",
        (
            "x1 = torch.max(a[..., 0] - a[..., 2] / 2, b[..., 0] - b[..., 2] / 2)",
            "x1 = torch.max(a[..., 0] - a[..., 2], b[..., 0] - b[..., 2])",
        ),
        (
            "x2 = torch.min(a[..., 0] + a[..., 2] / 2, b[..., 0] + b[..., 2] / 2)",
            "x2 = torch.min(a[..., 0] + a[..., 2], b[..., 0] + b[..., 2])",
        ),
        to="iou",
        channels="x w",
        overlap=True,
    ),
    fault(
        "iou-sides-mixed",
        "darknet",
        "the width is taken from y",
        ("x2 = torch.min(a[..., 0] + a[..., 2] / 2,", "x2 = torch.min(a[..., 0] + a[..., 3] / 2,"),
        to="iou",
    ),
    fault(
        "iou-eps-too-large",
        "looped",
        "an epsilon of pixels on boxes in 0..1",
        ("area_b - inter + 1e-9", "area_b - inter + 1e-2"),
        to="iou",
    ),
    fault(
        "iou-over-smaller",
        "vectorised",
        "intersection over the smaller box",
        (
            "    return both / (p.area + q.area - both).clamp_min(1e-9)",
            "    return both / torch.minimum(p.area, q.area).clamp_min(1e-9)",
        ),
        to="iou",
    ),
    fault(
        "iou-pairwise",
        "vectorised",
        "[N, 4] and [N, 4] give [N, N]",
        (
            "def iou(a: Tensor, b: Tensor) -> Tensor:\n    p, q = Boxes.from_tensor(a), Boxes.from_tensor(b)",
            "def iou(a: Tensor, b: Tensor) -> Tensor:\n"
            "    p, q = Boxes.from_tensor(a.unsqueeze(-2)), Boxes.from_tensor(b.unsqueeze(-3))",
        ),
        to="iou",
        keep=("iou",),
    ),
    fault(
        "iou-keeps-last-axis",
        "vectorised",
        "returns [..., 1]",
        (
            "    return both / (p.area + q.area - both).clamp_min(1e-9)",
            "    return (both / (p.area + q.area - both).clamp_min(1e-9)).unsqueeze(-1)",
        ),
        to="iou",
        keep=("iou",),
    ),
]
