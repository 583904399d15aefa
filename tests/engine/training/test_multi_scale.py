"""Runs whose batches have sizes of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.config import load_config
from engine.errors import UserError
from engine.inspection.frames import Frame
from engine.runs import events as ev
from engine.runs.snapshots import load
from engine.training.fresh import look_once
from engine.training.session import Training

SIZED = ("augment.multi_scale=0.5", "train.epochs=14", "train.eval_every=0", "capture.snapshot_every=5")
"""Sizes 64x40 to 144x96 at stride 8; 42 steps."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def make(
    config: Path, run: Path, *overrides: str, resume: bool = False, code: Path | None = None
) -> Training:
    return Training(load_config(config, [*SIZED, *overrides]), run, source=config, code=code, resume=resume)


def weights(run: Path) -> bytes:
    return (run / "checkpoints/last.safetensors").read_bytes()


def test_snapshots_say_the_size_of_their_batch(tiny_config: Path, tmp_path: Path) -> None:
    training = make(tiny_config, tmp_path / "run")
    queue = training.feed.subscribe()
    ended = training.run()
    assert ended.status == "finished", ended.message
    lines = [e.text for e in queue.drain() if isinstance(e, ev.LogLine)]
    assert any("input 48x32 to 144x96 px" in line and "96x64 in the last 15%" in line for line in lines), (
        lines
    )
    assert not any("monitors are off" in line for line in lines)
    snapshots = [load(path) for path in sorted((tmp_path / "run/snapshots").glob("step-*"))]
    snapshots = [each for each in snapshots if each.reason == "scheduled"]
    assert [s.step for s in snapshots] == list(range(5, 41, 5))
    grids = set()
    for snapshot in snapshots:
        (head,) = snapshot.heads
        images = snapshot.tensor("images")
        assert images.shape[2:] == (head.input_h, head.input_w)
        assert snapshot.tensor("pred", 0).shape[1:3] == (head.grid_h, head.grid_w)
        grids.add((head.grid_w, head.grid_h))
        frame = Frame(snapshot)
        for image in range(snapshot.batch):
            truths = frame.truths(image)
            assert all(-1e-3 <= x1 <= x2 <= head.input_w + 1e-3 for (x1, _, x2, _), _ in truths)
        # each truth stands in the cell of its centre at this grid
        targets = frame.targets(0)
        for b, boxes in enumerate(snapshot.tensor("boxes", k) for k in range(snapshot.batch)):
            for cx, cy in boxes[:, :2].tolist():
                at = targets[b, min(int(cy * head.grid_h), head.grid_h - 1)]
                assert bool(at[min(int(cx * head.grid_w), head.grid_w - 1), :, 0].any())
    assert len(grids) > 2
    last = snapshots[-1].heads[0]
    assert (last.input_w, last.input_h) == (96, 64)


def test_it_goes_on_to_the_same_bytes(
    tiny_config: Path, tmp_path: Path, run_until: Callable[[Training, int], list[ev.Event]]
) -> None:
    make(tiny_config, tmp_path / "whole").run()
    done = run_until(make(tiny_config, tmp_path / "parts"), 16)
    assert [e.step for e in done if isinstance(e, ev.StepDone)] == list(range(1, 17))
    make(tiny_config, tmp_path / "parts", resume=True).run()
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")


CODE = """
import torch
from torch import nn

SEEN = set()

class Net(nn.Module):
    def __init__(self, anchors, channels):
        super().__init__()
        self.body = nn.Conv2d(3, anchors * channels, 8, 8)
        self.shape = (anchors, channels)

    def forward(self, images):
        out = self.body(images)
        batch, _, height, width = out.shape
        return out.view(batch, *self.shape, height, width).permute(0, 3, 4, 1, 2)

def build_model(head, classes):
    return Net(len(head.anchors), 5 + len(classes))

def assign(boxes, labels, head):
    targets = torch.zeros(len(boxes), head.grid_h, head.grid_w, len(head.anchors), 8)
    for b, (some, kinds) in enumerate(zip(boxes, labels)):
        for (x, y, w, h), kind in zip(some.tolist(), kinds.tolist()):
            row = min(int(y * head.grid_h), head.grid_h - 1)
            column = min(int(x * head.grid_w), head.grid_w - 1)
            targets[b, row, column, 0] = torch.tensor([1, kind, x, y, w, h, 2 - w * h, 0])
    return targets

def decode(pred, head):
    rows = torch.arange(head.grid_h).view(-1, 1, 1)
    columns = torch.arange(head.grid_w).view(1, -1, 1)
    x = (pred[..., 1].sigmoid() + columns) / head.grid_w
    y = (pred[..., 2].sigmoid() + rows) / head.grid_h
    w = head.anchors[:, 0] * pred[..., 3].exp() / head.grid_w
    h = head.anchors[:, 1] * pred[..., 4].exp() / head.grid_h
    return torch.stack((x, y, w, h), -1)

def loss(pred, targets, head):
    assert pred.shape[1:3] == targets.shape[1:3] == (head.grid_h, head.grid_w)
    SEEN.add((head.input_w, head.input_h))
    mask = targets[..., 0]
    lobj = (pred[..., 0].sigmoid() - mask).square().sum() / len(pred)
    lbox = (pred[..., 1:5].square().sum(-1) * mask).sum() / len(pred)
    return {"lobj": lobj, "lbox": lbox, "total": lobj + lbox, "maps": {"lobj": (pred[..., 0] - mask) ** 2}}
"""


def test_the_users_functions_get_the_heads_of_each_size(tiny_config: Path, tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(CODE)
    training = make(tiny_config, tmp_path / "run", code=code)
    seen = training.parts.user.get("loss").__globals__["SEEN"]
    seen.clear()
    ended = training.run()
    assert ended.status == "finished", ended.message
    assert len(seen) > 2
    for path in (tmp_path / "run/snapshots").glob("*"):
        snapshot = load(path)
        assert Frame(snapshot).loss_map("lobj", 0).shape[1:3] == snapshot.tensor("decoded", 0).shape[1:3]


@pytest.mark.parametrize(
    ("wrong", "right", "name"),
    [
        ("out = self.body(images)", "out = self.body(images)[..., :8, :12]", "build_model"),
        ("zeros(len(boxes), head.grid_h, head.grid_w,", "zeros(len(boxes), 8, 12,", "assign"),
        ("arange(head.grid_w)", "arange(12)", "decode"),
        ("mask = targets[..., 0]", "mask = targets[..., 0] + torch.zeros(8, 12, 1)", "loss"),
    ],
)
def test_what_is_bound_to_one_size_is_named_before_the_first_step(
    tiny_config: Path, tmp_path: Path, wrong: str, right: str, name: str
) -> None:
    code = tmp_path / "mine.py"
    assert wrong in CODE
    code.write_text(CODE.replace(wrong, right))
    with pytest.raises(
        UserError, match=rf"mine\.py.*`{name}` cannot take an input of.*augment\.multi_scale = 0"
    ):
        make(tiny_config, tmp_path / "run", code=code)
    assert not (tmp_path / "run").exists()


def test_what_fails_at_any_size_is_not_blamed_on_the_others(tiny_config: Path, tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text("def assign(boxes, labels, head):\n    return head.grid\n")
    with pytest.raises(UserError, match=r"mine\.py:2: `assign` fails: AttributeError") as caught:
        make(tiny_config, tmp_path / "run", code=code)
    assert "multi_scale" not in str(caught.value)


def test_a_fresh_batch_of_its_own_size_can_be_inspected(tiny_config: Path) -> None:
    snapshot = look_once(load_config(tiny_config, [*SIZED, "train.seed=1"]))
    (head,) = snapshot.heads
    assert snapshot.tensor("images").shape[2:] == (head.input_h, head.input_w) != (64, 96)
