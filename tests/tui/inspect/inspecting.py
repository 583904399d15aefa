"""Steps with known numbers, and an inspector on them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console
from textual.app import App
from textual.pilot import Pilot

from engine.inspection.history import Timeline
from engine.runs.snapshot_ring import SnapshotRing
from engine.runs.snapshots import Snapshot
from tui.inspect.app import InspectApp
from tui.inspect.sources import BuiltIn, Reference, Steps


def steps_of(*snapshots: Snapshot, reference: Reference | None = None) -> Steps:
    ring = SnapshotRing(2**30, 64)
    for snapshot in snapshots:
        ring.add(snapshot)
    reference = reference or BuiltIn()
    return Steps("test", Timeline(ring, None, reference.frame), reference)


@contextlib.asynccontextmanager
async def inspector(
    steps: Steps, folder: Path, size: tuple[int, int] = (120, 36)
) -> AsyncIterator[tuple[InspectApp, Pilot[int]]]:
    app = InspectApp(steps, folder / "log.txt")
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.1)
        yield app, pilot
    if app.crash is not None:
        raise app.crash


def screen_text(app: App[int]) -> str:
    """What stands on the screen, line by line."""
    width, height = app.size
    console = Console(
        width=width, height=height, file=io.StringIO(), record=True, force_terminal=True, legacy_windows=False
    )
    console.print(app.screen._compositor.render_update(full=True), end="")
    return console.export_text()


async def press(pilot: Pilot[int], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause(0.05)


async def type_slice(pilot: Pilot[int], text: str) -> None:
    await press(pilot, "colon")
    pilot.app.query_one("#command").value = text  # type: ignore[attr-defined]
    await press(pilot, "enter")
