"""The README's pictures: the live view on a run that goes on, and the inspector on a faulty ``decode``.

    yolotui train configs/demo.toml --headless --set capture.snapshot_every=110 --run runs/demo &
    python docs/pictures.py runs/demo          # when its curves tell something

Writes ``docs/live.svg`` and ``docs/inspect.svg``, as a terminal of 120 x 36 shows them.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from textual.app import App

from engine.runs.folder import RunFolder
from tui.attached import AttachedRun
from tui.inspect.app import InspectApp
from tui.inspect.sources import open_steps
from tui.viewer import AttachedApp

DOCS = Path(__file__).resolve().parent
SIZE = (120, 36)

FAULTY = """
import torch

def decode(pred, head):
    cy, cx = torch.meshgrid(torch.arange(head.grid_h), torch.arange(head.grid_w), indexing="ij")
    cell = torch.stack((cx, cy), -1)[:, :, None].to(pred)
    size = pred.new_tensor([head.grid_w, head.grid_h])
    xy = (cell + 0.5 + pred[..., 0:2]) / size
    wh = head.anchors.to(pred) * pred[..., 2:4].exp() / size
    return torch.cat((xy, wh), -1)
"""
"""The box sliced from the wrong channels: x and y are 1:3, w and h 3:5."""


async def picture(app: App[Any], name: str, keys: list[str], seconds: float) -> None:
    """What ``app`` shows after ``keys``, into ``docs/name.svg``."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(seconds)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.3)
        (DOCS / f"{name}.svg").write_text(app.export_screenshot(title="yolotui"))


def main(run: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "my_yolo.py"
        code.write_text(FAULTY)
        log = Path(folder) / "log"
        attached = AttachedRun(RunFolder.open(run))
        asyncio.run(picture(AttachedApp(attached, log_path=log), "live", [], 15))
        attached.close()
        steps = open_steps(run, code=code, reference="", overrides=[])
        asyncio.run(picture(InspectApp(steps, log), "inspect", [], 3))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
