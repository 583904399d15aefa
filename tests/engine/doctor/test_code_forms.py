# ruff: noqa: E501  (the variants are code: a line of theirs stays a line)
"""The same functions written in the many ways people write them: sound ones stay quiet, a fault keeps its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from .healthy import Design, errors, examine
from .plain import PLAIN, TRANSFORM, changed
from .sampling import mostly_slow

NUMPY_DETECT = (
    "    boxes = decode(pred, head)\n    out = []",
    "    pred = torch.from_numpy(pred.detach().cpu().numpy().copy())\n    boxes = decode(pred, head)\n    out = []",
)
AS_CLASS = """

class Wrapped:
    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *arguments, **keywords):
        self.calls += 1
        return self.function(*arguments, **keywords)


"""
RENAMED = changed(
    PLAIN,
    ("def decode(", "def _decode("),
    ("def iou(", "def _iou("),
    ("def loss(", "def _loss("),
    ("def assign(", "def _assign("),
    ("def detect(", "def _detect("),
)
BOUND = {
    "partial": (
        "\nfrom functools import partial\niou, decode, loss = partial(_iou), partial(_decode), partial(_loss)\n"
        "assign, detect = partial(_assign), partial(_detect)\n"
    ),
    "lambda": (
        "\niou = lambda a, b: _iou(a, b)\ndecode = lambda pred, head: _decode(pred, head)\n"
        "loss = lambda pred, targets, head: _loss(pred, targets, head)\n"
        "assign = lambda boxes, labels, head: _assign(boxes, labels, head)\n"
        "detect = lambda pred, head, sizes, **more: _detect(pred, head, sizes, **more)\n"
    ),
    "instances": AS_CLASS
    + "iou, decode, loss = Wrapped(_iou), Wrapped(_decode), Wrapped(_loss)\nassign, detect = Wrapped(_assign), Wrapped(_detect)\n",
    "module": "\nclass Loss(torch.nn.Module):\n    def forward(self, pred, targets, head):\n        return _loss(pred, targets, head)\n\n\n"
    "loss = Loss()\niou, decode, assign, detect = _iou, _decode, _assign, _detect\n",
    "methods": "\nclass Yolo:\n"
    "    def iou(self, a, b):\n        return _iou(a, b)\n\n"
    "    def decode(self, pred, head):\n        return _decode(pred, head)\n\n"
    "    def loss(self, pred, targets, head):\n        return _loss(pred, targets, head)\n\n"
    "    @torch.no_grad()\n    def detect(self, pred, head, sizes, conf=0.2):\n        return _detect(pred, head, sizes, conf)\n\n\n"
    "yolo = Yolo()\niou, decode, loss, detect, assign = yolo.iou, yolo.decode, yolo.loss, yolo.detect, _assign\n",
}

VARIANTS = {
    "detect under no_grad": [("def detect(", "@torch.no_grad()\ndef detect(")],
    "detect in inference mode": [("def detect(", "@torch.inference_mode()\ndef detect(")],
    "detect by numpy": [NUMPY_DETECT],
    "more arguments with defaults": [
        ("def loss(pred, targets, head):", "def loss(pred, targets, head, epoch=0, *, eps=1e-9):"),
        ("def assign(boxes, labels, head):", "def assign(boxes, labels, head, *args, **kwargs):"),
    ],
    "other names of the arguments": [
        ("def decode(pred, head):\n", "def decode(p, h):\n    pred, head = p, h\n"),
        ("def iou(a, b):", "def iou(a, b, /):"),
    ],
    "writes into its own copy": [
        ("    mask = targets[..., 0] > 0\n", "    pred, targets = pred.clone(), targets.clone()\n    pred[..., 0] *= 1.0\n    mask = targets[..., 0] > 0\n"),
    ],
    "float64 inside": [
        ("    boxes = decode(pred, head)\n    ov = iou", "    pred, targets = pred.double(), targets.double()\n    boxes = decode(pred, head)\n    ov = iou"),
        ("best = torch.zeros_like(conf)", "best = torch.zeros_like(conf).double()"),
        ('return {"lcls"', 'lcls = lcls.float()\n    return {"lcls"'),
    ],
    "liou as a python float": [('"liou": liou,', '"liou": liou.item(),')],
    "terms for the eye, total for the gradient": [
        ('{"lcls": lcls, "lbox": lbox, "lobj": lobj, "liou": liou,', '{"lcls": lcls.item(), "lbox": lbox.item(), "lobj": float(lobj), "liou": liou.item(),')
    ],
    "a cache between calls": [
        ("    gy, gx = torch.meshgrid(torch.arange(head.grid_h), torch.arange(head.grid_w), indexing=\"ij\")\n    grid =", "    if (head.grid_h, head.grid_w) not in CACHE:\n        CACHE[head.grid_h, head.grid_w] = torch.meshgrid(torch.arange(head.grid_h), torch.arange(head.grid_w), indexing='ij')\n    gy, gx = CACHE[head.grid_h, head.grid_w]\n    grid ="),
        ("import torch.nn.functional as F\n", "import torch.nn.functional as F\n\nCACHE = {}\n"),
    ],
    "terms of shape [1]": [('{"lcls": lcls, "lbox": lbox,', '{"lcls": lcls.view(1), "lbox": lbox[None],')],
    "maps": [('"total": lcls + lbox + lobj', '"maps": {"liou": (1 - ov) * mask, "lbox": (weight * (off_xy**2 + off_wh**2).sum(-1)) * mask / B}, "total": lcls + lbox + lobj')],
    "detect gives float64 and ints for classes": [
        ("score, cls.float()], 1)", "score, cls.float()], 1).double()"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", mostly_slow(VARIANTS))
def test_a_way_of_writing_raises_no_error(tmp_path: Path, name: str) -> None:
    report = examine(
        tmp_path, changed(PLAIN, *VARIANTS[name]), Design(loss={"box": "mse", "objectness": "iou"})
    )
    assert report.ok, errors(report)
    assert not [f for f in report.findings if f.probe.endswith("unfinished")]


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUND)
def test_functions_bound_in_other_ways_are_called_and_placed(tmp_path: Path, name: str) -> None:
    sound = examine(tmp_path / "sound", RENAMED + BOUND[name])
    assert sound.ok, errors(sound)
    wrong = changed(RENAMED, ("pred[..., 3:5].exp() * head.anchors / size", "pred[..., 3:5].exp() / size"))
    first = examine(tmp_path / "wrong", wrong + BOUND[name]).findings[0]
    assert (first.function, first.channels, first.file) == ("decode", ("w", "h"), "mine.py")
    text = (tmp_path / "wrong" / "mine.py").read_text().splitlines()
    assert first.line
    assert "decode" in text[first.line - 1] or "__call__" in text[first.line - 1]


def test_a_transform_may_give_lists_and_float64(tmp_path: Path) -> None:
    text = changed(TRANSFORM, ("return image, boxes", "return image, boxes.astype(np.float64)"))
    report = examine(tmp_path, text)
    assert report.ok, errors(report)


@pytest.mark.slow
def test_a_function_of_another_file_is_placed_there(tmp_path: Path) -> None:
    (tmp_path / "maths.py").write_text(
        changed(PLAIN, ("pred[..., 1:3].sigmoid() + grid", "pred[..., 2:4].sigmoid() + grid"))
    )
    first = examine(tmp_path, "from maths import assign, decode, detect, iou, loss\n").findings[0]
    line = next(
        k
        for k, row in enumerate((tmp_path / "maths.py").read_text().splitlines(), 1)
        if row.startswith("def decode")
    )
    assert (first.function, first.file, first.line) == ("decode", "maths.py", line)
    (tmp_path / "maths.py").write_text(PLAIN)
    report = examine(tmp_path, "from maths import assign, decode, detect, iou, loss\n")
    assert report.ok, errors(report)


@pytest.mark.slow
def test_an_edited_file_is_read_anew(tmp_path: Path) -> None:
    """Also where the edit keeps the file's length and comes within the clock's second."""
    wrong = changed(PLAIN, ("pred[..., 1:3].sigmoid() + grid", "pred[..., 2:4].sigmoid() + grid"))
    assert len(wrong) == len(PLAIN)
    for _ in range(2):
        assert examine(tmp_path, wrong).findings[0].function == "decode"
        assert examine(tmp_path, PLAIN).ok
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_decorated_function_is_placed_at_its_def(tmp_path: Path) -> None:
    head = "\n\ndef timed(function):\n    def inner(*arguments):\n        return function(*arguments)\n    return inner\n"
    text = changed(PLAIN, ("import torch.nn.functional as F\n", "import torch.nn.functional as F\n" + head))
    text = changed(
        text,
        ("def decode(pred, head):", "@timed\ndef decode(pred, head):"),
        ("pred[..., 1:3].sigmoid() + grid", "pred[..., 1:3] + grid"),
    )
    first = examine(tmp_path, text).findings[0]
    assert first.function == "decode"
    assert text.splitlines()[(first.line or 0) - 1].startswith("def decode")
