"""A step never waits for its device: nothing in it reads a value back, or sends one over by itself."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engine.config import load_config
from engine.data.batches import Batch
from engine.training.setup import put_together
from engine.training.step import Stepper

ENGINE = str(Path(__file__).resolve().parents[3] / "engine")
READS = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "equal",
    "_unique2",
    "unique_dim",
    "repeat_interleave",
}
"""Operators whose answer, or whose answer's shape, the host has to wait for."""
SENDS = {"lift_fresh"}
"""What ``torch.tensor(numbers)`` ends in: on its way to a device it is a blocking copy."""

PROFILES = {
    "seed": [
        "loss.prior_pull=12800",
        "model.assign=best",
        "loss.confidence=mse",
        "loss.box=mse",
        "loss.ignore_iou=0.6",
    ],
    "multi": ["model.assign=multi", "loss.confidence=bce", "loss.box=ciou", "loss.reduction=positives"],
    "several heads": [
        "model.strides=[8, 16]",
        "model.anchors=kmeans",
        "model.anchor_count=2",
        "loss.classes=bce",
        "loss.box=giou",
    ],
    "mean": ["loss.reduction=mean", "loss.box=smooth-l1", "loss.objectness=one", "loss.ignore_iou=0"],
    "another layout": ["layout.order='b a c y x'", "layout.target_xy=cell", "layout.decode=yolov5"],
}


CPUS_OWN = [
    '_local_scalar_dense in step.py: short = norm.device.type == "cpu" and bool(norm <= self.config.clip)',
    "_local_scalar_dense in step.py: elif not bool(self.finite.value):",
]
"""What is read on a CPU alone: there nothing has to be waited for."""


class Syncs(TorchDispatchMode):
    """Notes every operator that would make the host wait, with the line of ours that called it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.removeprefix("aten::")
        by_mask = name.startswith("index") and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
            for index in (args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else ())
        )
        if name in READS | SENDS or by_mask:
            ours = [frame for frame in traceback.extract_stack() if frame.filename.startswith(ENGINE)]
            self.found.append(f"{name} in {Path(ours[-1].filename).name}: {ours[-1].line}" if ours else name)
        return func(*args, **(kwargs or {}))


def make(config: Path, overrides: list[str], device: str = "cpu") -> tuple[Stepper, list[Batch]]:
    more = ["train.ema=0.9", "train.clip=10", f"train.device={device}", "train.workers=0", *overrides]
    values = load_config(config, more)
    parts = put_together(values)
    stepper = Stepper(parts.model, parts.blueprint.detector(parts.user), values.train, parts.compute)
    batches = list(islice(parts.loader.train_batches(0, 2), 2))
    parts.close()
    return stepper, batches


def test_what_waits_is_seen() -> None:
    """The net itself: each of these is caught."""
    values = torch.arange(4.0)
    reads: list[Callable[[], Any]] = [
        lambda: values.sum().item(),
        lambda: bool(values.any()),
        lambda: values[values > 1],
        lambda: values.nonzero(),
        lambda: torch.tensor([1.0, 2.0]) + values[:2],
        lambda: values.clone().masked_select(values > 1),
    ]
    for read in reads:
        with Syncs() as syncs:
            read()
        assert syncs.found
    with Syncs() as syncs:
        values.index_put_((torch.zeros(1, dtype=torch.long),), torch.ones(1))
    assert not syncs.found


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_step_reads_nothing_back(tiny_config: Path, profile: str, optimizer: str) -> None:
    stepper, (first, second) = make(tiny_config, [*PROFILES[profile], f"train.optimizer={optimizer}"])
    stepper.step(first, 1e-4, 0)  # the optimizer makes its state in its first step
    with Syncs() as syncs:
        stepper.step(second, 1e-4, len(first))
    assert syncs.found == CPUS_OWN


ASSIGN = """
import torch

def assign(boxes, labels, head):
    targets = torch.zeros(len(boxes), head.grid_h, head.grid_w, len(head.anchors), 8)
    for image, (own, kinds) in enumerate(zip(boxes, labels)):
        for box, kind in zip(own, kinds):
            x, y = int(box[0] * head.grid_w), int(box[1] * head.grid_h)
            targets[image, y, x, 0] = torch.tensor([1, kind, *box, 1, 0])
    return targets
"""


def test_nor_where_the_users_own_function_made_the_targets(tiny_config: Path, tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(ASSIGN)
    stepper, (first, second) = make(tiny_config, [f"code.file={code}"])
    assert second.targets.positives[0].index.tolist() == second.targets.targets[0][..., 0].nonzero().tolist()
    stepper.step(first, 1e-4, 0)
    with Syncs() as syncs:
        stepper.step(second, 1e-4, len(first))
    assert syncs.found == CPUS_OWN


def pinned(batch: Batch) -> Batch:
    """As the loading processes hand it over: a copy from pageable memory would wait."""
    return replace(batch, images=batch.images.pin_memory(), targets=batch.targets.pin_memory())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_step_on_a_gpu_does_not_synchronise(tiny_config: Path, profile: str, precision: str) -> None:
    overrides = [*PROFILES[profile], f"train.precision={precision}"]
    stepper, batches = make(tiny_config, overrides, device="cuda")
    batches = [pinned(batch) for batch in batches]
    stepper.step(batches[0], 1e-4, 0)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        stepper.step(batches[1], 1e-4, len(batches[0]))
    finally:
        torch.cuda.set_sync_debug_mode("default")
