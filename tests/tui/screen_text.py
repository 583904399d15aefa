"""The live view on the scripted training: started, waited for, read as text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fake_training import FakeTraining
from textual.pilot import Pilot

from tui.app import LiveApp


def text_of(app: LiveApp) -> list[str]:
    """The screen as a user sees it, a string a row."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    return [strip.text.ljust(width) for strip in strips][:height]


@asynccontextmanager
async def running(
    folder: Path, size: tuple[int, int] = (120, 36), layout: Path | None = None, **script: Any
) -> AsyncIterator[tuple[LiveApp, Pilot[int]]]:
    (folder / "demo-3").mkdir(exist_ok=True)
    fake = FakeTraining(folder / "demo-3", **script)
    app = LiveApp(fake, folder / "demo-3", layout_path=layout)
    async with app.run_test(size=size) as pilot:
        yield app, pilot
        fake.control.stop()
        await until(pilot, lambda: not app.thread.is_alive())


async def until(pilot: Pilot[int], condition: Callable[[], bool]) -> None:
    for _ in range(400):
        await pilot.pause(0.02)
        if condition():
            return
    raise AssertionError("\n".join(text_of(pilot.app)))  # type: ignore[arg-type]


async def settled(app: LiveApp, pilot: Pilot[int]) -> str:
    """The whole screen, once everything that came in is drawn."""
    app.live.take_events()
    await pilot.pause(0.05)
    app.live.take_events()
    await pilot.pause()
    return "\n".join(text_of(app))


async def paused_at(app: LiveApp, pilot: Pilot[int]) -> str:
    await until(pilot, lambda: app.session.control.paused)
    await until(pilot, lambda: app.live.state.state == "paused")
    await until(pilot, lambda: bool(app.live.order) and app.live.chart("total").size.width > 0)
    return await settled(app, pilot)
