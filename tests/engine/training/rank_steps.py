"""Steps of a stepper, alone or as one of several processes: what ``test_distributed`` compares.

python rank_steps.py CONFIG CODE OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from engine.config import load_config
from engine.training.distributed import Group
from engine.training.setup import put_together
from engine.training.step import Stepper

CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, anchors, channels):
        super().__init__()
        parts = []
        for before, after in ((3, 4), (4, 8), (8, 8)):
            parts += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.GroupNorm(2, after), nn.SiLU()]
        self.body = nn.Sequential(*parts)
        self.spare = nn.Linear(4, 4)  # takes no part, as the classifier of somebody's backbone
        self.head = nn.Conv2d(8, anchors * channels, 1)
        self.shape = (anchors, channels)

    def forward(self, images):
        out = self.head(self.body(images))
        batch, _, height, width = out.shape
        return out.view(batch, *self.shape, height, width).permute(0, 3, 4, 1, 2)


def build_model(head, classes):
    return Net(len(head.anchors), 5 + len(classes))
"""
LOSS = """

def loss(pred, targets, head):
    mask = targets[..., 0]
    positives = mask.sum().clamp(min=1)
    lobj = (pred[..., 0].sigmoid() - mask).square().sum() / positives
    lbox = (pred[..., 1:5].square().sum(-1) * mask).sum() / positives
    return {"lobj": lobj, "lbox": lbox, "total": lobj + lbox}
"""
CASES = ("batch", "positives", "mean", "own loss")
STEPS = 10


def run(config_path: Path, code: Path, group: Group) -> dict[str, list[list[float]]]:
    """By case, the record of every step: terms, norm of the gradient, and for several the images and
    objects; last the sums over each parameter."""
    found = {}
    for case in CASES:
        own = case == "own loss"
        source = code.with_name("own_loss.py") if own else code
        config = load_config(
            config_path,
            [
                f"loss.reduction={'positives' if own else case}",
                f"code.file={source}",
                "train.optimizer=sgd",
                "train.batch_size=2",
                "train.ema=0",
                "train.clip=1",
                "train.precision=fp32",  # the order of sums shows in bf16
                *(["augment.multi_scale=0.5"] if case == "positives" else []),
            ],
        )
        parts = put_together(config, group=group)
        group.equalize(parts.model)
        stepper = Stepper(
            parts.model, parts.blueprint.detector(parts.user), config.train, parts.compute, group
        )
        if own:
            stepper.term_names = ("lobj", "lbox", "total")
        rows = []
        for step, batch in enumerate(parts.loader.train_batches(0, STEPS)):
            result = stepper.step(batch, 1e-3, 0, idle=parts.loader.is_idle(step))
            rows.append(result.record.tolist())
        rows.append([float(p.detach().double().abs().sum()) for p in stepper.model.parameters()])
        found[case] = rows
        parts.close()
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    group = Group.join("cpu")
    found = run(Path(sys.argv[1]), Path(sys.argv[2]), group)
    found["same everywhere"] = group.collect(found)
    if group.leads:
        Path(sys.argv[3]).write_text(json.dumps(found))
    group.leave(0)
