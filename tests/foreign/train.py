"""A plain PyTorch detector, its loop and its layout its own; the run is recorded by two lines of yolotui.

python train.py RUN [--steps N] [--sleep SECONDS] [--nan STEP]
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import nn

import engine
import tui
from yolotui import watch

LAYOUT = {
    "order": "b (a c) y x",
    "pred": ["x", "y", "w", "h", "conf", "class*"],
    "target": ["x", "y", "w", "h", "mask", "class"],
    "target_xy": "cell",
    "target_wh": "log-anchor",
}
HEAD = {"grid": (6, 6), "stride": 16, "anchors": engine.ANCHORS, "classes": ["dark", "bright"]}


def build() -> nn.Module:
    layers: list[nn.Module] = []
    for into, out in ((3, 8), (8, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(into, out, 3, 2, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(32, 2 * 7, 1))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--sleep", type=float, default=0.0)
    parser.add_argument("--nan", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    run = watch(options.run, layout=LAYOUT, head=HEAD, model=model, optimizer=optimizer, steps_per_epoch=20)
    for step in range(1, options.steps + 1):
        images, boxes, labels = engine.draw_batch(4, generator)
        targets = engine.make_targets(boxes, labels)
        pred = model(images)
        pred.retain_grad()
        losses = engine.losses_of(pred, targets)
        if step == options.nan:
            losses["box"] = losses["box"] * float("nan")
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        go_on = run.step(losses, images=images, targets=targets, pred=pred, boxes=boxes, labels=labels)
        if not go_on:
            break
        if step % 20 == 0:
            print(tui.line(step, losses["total"].item()), flush=True)
        time.sleep(options.sleep)
    run.close()
    print("done", flush=True)


if __name__ == "__main__":
    main()
