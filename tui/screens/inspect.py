"""The inspector: every cell of target and prediction, through time, from the keyboard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from textual.app import ComposeResult

from engine.errors import UserError
from engine.inspection.frames import Frame

from ..budget import DrawingBudget
from ..inspect.answering import answering_quickly
from ..inspect.cell_panel import CellPanel
from ..inspect.heatmap import HeatMap
from ..inspect.lines import CommandLine, Line, Verdict, Where
from ..inspect.panel import InspectPanel
from ..inspect.picker import Picker
from ..inspect.picture import PicturePanel
from ..inspect.result_panel import ResultPanel
from ..inspect.saving import savings
from ..inspect.sources import Steps
from ..inspect.state import Inspection, opening_slot
from ..inspect.time_panel import TimePanel
from ..keys import bindings
from ..session import RunControl
from ..widgets.bars import Footer, Notice
from ..widgets.panel import Piece
from .inspect_moves import InspectMoves


class InspectScreen(InspectMoves):
    """``control`` is that of a training, here or in another process; without it, and once the training is
    ``over``, there is nothing to pause."""

    CSS_PATH = "inspect.tcss"
    key_scopes = ("inspect",)
    BINDINGS = bindings("inspect")
    AUTO_FOCUS = ""

    def __init__(
        self,
        steps: Steps,
        control: RunControl | None = None,
        *,
        follow: bool = False,
        over: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(None if over() else control)
        self.steps = steps
        self._over = over
        self.busy = ""
        """What is under way, in words."""
        self._follow = follow
        self._why_here = ""
        self._held: list[int] = []
        self._budget = DrawingBudget()
        self._quick = contextlib.ExitStack()

    # the widgets

    def compose(self) -> ComposeResult:
        self._quick.enter_context(answering_quickly())  # from here on: the first frame is an answer too
        yield Where("where")
        yield Verdict("verdict")
        frame = self.steps.newest()
        if frame is not None:  # with the panels in it from the start, the screen is laid out once
            yield from self._panels_for(frame)
        yield Notice("missing")
        yield Line("status")
        yield Line("prompt")
        yield CommandLine(self._complete)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(Verdict).missing = self.steps.without_reference
        self.query_one("#prompt", Line).show([(" :", "focus")])
        self.close_command()
        if self.inspection is not None:
            self._begun(self.panels())
        else:
            self.place()
        if self.control is not None:
            self.control.capture(True)
            self.set_timer(0.1, self._tick)

    def on_unmount(self) -> None:
        self._quick.close()
        if self.control is not None:
            self.control.capture(False)

    def _panels_for(self, frame: Frame) -> list[InspectPanel]:
        slot, self._why_here = opening_slot(frame)
        self.inspection = Inspection(self.steps.timeline, frame, slot, follow=self._follow)
        return [
            HeatMap(self.inspection),
            CellPanel(self.inspection),
            PicturePanel(self.inspection),
            ResultPanel(),
            TimePanel(self.inspection),
        ]

    def _begun(self, panels: list[InspectPanel]) -> None:
        self._held = self.steps.timeline.steps()
        self.place()
        self.set_focus(panels[0])
        if self._why_here:
            self.say(f"here: {self._why_here}; ? helps", "dim")

    # drawing

    def sync(self) -> None:
        """Everything that can be seen and has changed."""
        where = self.query_one(Where)
        inspection = self.inspection
        if inspection is None:
            where.show([(f" {self.steps.name}", "strong"), ("   no captured step yet", "plain")])
            self.query_one(Footer).invalidate()
            return
        if self._shape() != self._placed:
            self.place()
        self.sync_lines(inspection)
        for panel in self.panels():
            if panel.display:
                panel.sync()
        self.query_one(Footer).invalidate()

    def sync_lines(self, inspection: Inspection) -> None:
        self.query_one(Where).update(self.steps.name, inspection, self._state())
        self.query_one(Verdict).update(inspection, self.size.width, self._verdict_lines())

    def _state(self) -> Piece:
        if self.busy:
            return f"… {self.busy} ", "warn"
        if self.control is None:
            return "", "plain"
        inspection = self.inspection
        follow = "following, " if inspection is not None and inspection.follow else ""
        if self.control.stopping:
            return f"{follow}… stopping ", "warn"
        return (f"{follow}‖ paused ", "warn") if self.control.paused else (f"{follow}▶ training ", "good")

    # the training beside it

    def _tick(self) -> None:
        self._look_for_steps()
        self.set_timer(self._budget.next_delay(), self._tick)

    def _look_for_steps(self) -> None:
        if self.app.screen is not self:
            return
        if self.control is not None and self._over():
            self.control.capture(False)
            self.control = None
            self.sync()
        held = self.steps.timeline.steps()
        if self.inspection is None:
            frame = self.steps.newest() if held else None
            if frame is not None:
                panels = self._panels_for(frame)
                self.mount_all(panels, before=self.query_one("#missing"))
                self._begun(panels)
            self.sync()
            return
        if self.inspection.follow:
            self.inspection.follow_newest()
        if held != self._held or self.control is not None:
            self._held = held
            self.sync()

    # which keys work

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if isinstance(self.focused, CommandLine):
            return False
        inspection = self.inspection
        match action:
            case "close":
                return not (self.enlarged and self.focused is None)
            case "pause":
                return self.control is not None and not self.control.paused and not self.control.stopping
            case "resume":
                return self.control is not None and self.control.paused and not self.control.stopping
            case "train_step":
                return self.control is not None and not self.control.stopping
        if inspection is None:
            return False
        match action:
            case "find":
                return parameters[0] != "mismatch" or inspection.frame.has_reference
            case "reference":
                return inspection.frame.has_reference
            case "head":
                return len(inspection.frame.heads) > 1
            case "image":
                return inspection.frame.batch > 1
            case "anchor" | "all_anchors":
                return inspection.frame.heads[inspection.slot.head].anchor_count > 1
            case "scale":
                return inspection.shown.scale != "unit"
            case "step" | "when":
                return len(inspection.steps()) > 1
            case "follow":
                return self.control is not None
            case "reload":
                return self.steps.can_reload and not self.busy
            case "look_again":
                return not self.steps.can_reload and (self.control is None or self.steps.ask is not None)
            case "back":
                return inspection.can_go_back
            case "bookmarks":
                return bool(inspection.bookmarks)
            case "enlarge":
                return self.enlarged is None and isinstance(self.focused, InspectPanel)
            case "restore":
                return self.enlarged is not None
        return super().check_action(action, parameters)

    # keys: newer steps

    def action_follow(self) -> None:
        self._at.follow = not self._at.follow
        self.say("following: each step as it is captured" if self._at.follow else "staying at this step")
        self._look_for_steps()

    def action_look_again(self) -> None:
        if self.steps.ask is not None:
            self.steps.ask()
            self.say("asked for the next step's tensors")
            return
        before = len(self._at.steps())
        self.steps.timeline.refresh()
        new = len(self._at.steps()) - before
        self.say(f"{new} new snapshots" if new else "no new snapshots")
        self.sync()

    def action_reload(self) -> None:
        self.busy = "reading your file again"
        self.sync()
        self.run_worker(self._reload, exclusive=True)  # type: ignore[arg-type]

    async def _reload(self) -> None:
        try:
            await asyncio.to_thread(self.steps.reload)
        except UserError as error:
            self.say(str(error), "bad")
        else:
            frame = self.steps.newest()
            assert frame is not None  # a reload that did not raise has made one
            self._at.replace(self.steps.timeline, frame)
            self.query_one(TimePanel).forget()
            self.say("read again", "good")
        finally:
            self.busy = ""
            self.sync()

    # keys: the training

    def action_pause(self) -> None:
        assert self.control is not None
        self.control.pause()
        self.sync()
        self.set_timer(0.05, self._look_for_steps)

    def action_resume(self) -> None:
        assert self.control is not None
        self.control.resume()
        self.sync()

    def action_train_step(self) -> None:
        assert self.control is not None
        self.control.step()
        if self.inspection is not None:
            self.inspection.follow = True
        self.sync()
        self.set_timer(0.05, self._look_for_steps)

    # keys: out

    def copy(self, text: str, what: str) -> None:
        self.app.copy_to_clipboard(text)
        shown = (
            text if len(text) < 40 and "\n" not in text and "\t" not in text else f"{len(text):,} characters"
        )
        self.say(f"copied {what}: {shown}", "good")

    def action_copy(self) -> None:
        if isinstance(self.focused, InspectPanel):
            self.focused.action_copy()

    def action_copy_cell(self) -> None:
        self.copy(self.query_one(CellPanel).whole_text(), f"the cell {self._at.slot} as a table")

    def action_save(self) -> None:
        choices = savings(self._at, self.query_one(ResultPanel).result, self._save_screen, self.steps.keep)
        self.app.push_screen(Picker(f"Save to {Path.cwd()}", choices), self._save)

    def _save(self, save: Callable[[], Path] | None) -> None:
        if save is None:
            return
        try:
            self.say(f"saved {save().resolve()}", "good")
        except (UserError, OSError) as error:
            self.say(str(error), "bad")

    def _save_screen(self, path: Path) -> Path:
        return Path(self.app.save_screenshot(path.name, str(path.parent)))

    # keys: leaving

    def action_close(self) -> None:
        self.app.leave_inspector()  # type: ignore[attr-defined]
