"""The lists that the live view offers: which panel, which run to lay over this one."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UserError
from engine.runs.listing import RunInfo, list_runs

from ..format import digits3
from ..inspect.picker import Choice, Picker
from ..overlay import Overlay
from ..stored import StoredRun

if TYPE_CHECKING:
    from .live import LiveScreen
    from .panels import PanelScreen

NONE = "(none)"


def pick_panel(screen: PanelScreen) -> None:
    """Show or hide one of all panels."""
    choices = []
    for name in screen.names():
        state = "shown" if screen.shown.wanted(name) else "hidden"
        if name in screen.shown.quiet and state == "hidden":
            state = "hidden: nothing to show yet"
        elif screen.shown.chosen(name) and not screen.shown.passes(name):
            state = "kept away by the filter"
        number = screen.order.index(name) + 1 if name in screen.order[:9] else None
        choices.append(Choice(f"{number or ' '} {name}", state, name))

    def take(name: str | None) -> None:
        if name is not None:
            screen.toggle(name)

    screen.app.push_screen(Picker("Show or hide", choices), take)


def pick_overlay(screen: LiveScreen) -> None:
    """Lay one of the runs beside this one over it, or none."""
    # not yet a coroutine: one that a screen on its way out does not run would complain
    screen.run_worker(partial(_pick_overlay, screen), exclusive=True)  # type: ignore[arg-type]


async def _pick_overlay(screen: LiveScreen) -> None:
    # Many runs, or a slow disk: the keys go on working meanwhile.
    infos = await asyncio.to_thread(list_runs, screen.folder.parent)
    choices = [
        Choice(info.name, _described(info), str(info.path))
        for info in infos
        if info.path != screen.folder.resolve() and info.steps
    ]
    overlay = screen.options.overlay
    if overlay is not None:
        choices.insert(0, Choice(NONE, f"take {overlay.name} away", ""))
    if not choices:
        screen.notify(f"There is no other run with steps beside this one, in {screen.folder.parent}.")
        return

    def take(path: str | None) -> None:
        if path is not None:
            lay_over(screen, Path(path) if path else None)

    screen.app.push_screen(Picker("Lay a run over this one", choices), take)


def lay_over(screen: LiveScreen, path: Path | None) -> None:
    """The run in ``path`` from now on; None: no run."""
    before, screen.options.overlay = screen.options.overlay, None
    if before is not None:
        before.run.close()
    screen.options.beyond = False
    if path is not None:
        try:
            screen.options.overlay = Overlay(StoredRun(path))
        except UserError as error:
            screen.notify(str(error), severity="error")
    screen.place()
    screen.draw()


def _described(info: RunInfo) -> str:
    epochs = f"{info.epochs}/{info.total_epochs} epochs"
    best = f", best with mAP50 {digits3(info.best_map50)}" if info.best_map50 is not None else ""
    return f"{info.status}, {info.steps:,} steps, {epochs}{best}"
