"""The inspector's single lines: where we are, what is wrong, what a key did, what is typed."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import ClassVar, Literal

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from engine.inspection.language.errors import ExpressionError

from ..format import digits3, shorten
from ..keys import bindings
from ..widgets.panel import Piece, fit
from .state import Inspection


class Line(Widget):
    """Pieces in a row; the lines given are kept until others are."""

    COMPONENT_CLASSES: ClassVar = {
        f"line--{name}" for name in ("plain", "strong", "dim", "bad", "good", "warn", "focus")
    }

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.lines: list[list[Piece]] = []

    def show(self, *lines: list[Piece]) -> None:
        if list(lines) != self.lines:
            self.lines = list(lines)
            self.refresh()

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        pieces = fit(self.lines[y], self.size.width) if y < len(self.lines) else []
        segments = [
            Segment(text, base + self.get_component_rich_style(f"line--{name}"))
            for text, name in pieces
            if text
        ]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    @property
    def text(self) -> str:
        return "\n".join("".join(text for text, _ in line) for line in self.lines)


class Where(Line):
    """Run, step, image, head, anchor, state."""

    def update(self, name: str, inspection: Inspection, state: Piece) -> None:
        slot, frame = inspection.slot, inspection.frame
        head = frame.heads[slot.head]
        steps = inspection.steps()
        at = steps.index(inspection.step) + 1
        heads = f" {slot.head + 1}/{len(frame.heads)}" if len(frame.heads) > 1 else ""
        width, height = head.anchors[slot.anchor].tolist()
        anchor = f"anchor {slot.anchor} ({digits3(width)} x {digits3(height)})"
        time: list[Piece] = []
        if len(steps) > 1:
            before, after = "◂" if at > 1 else " ", "▸" if at < len(steps) else " "
            time = [(f"  {before} {at} of {len(steps)} captured {after}", "dim")]
        pieces: list[Piece] = [
            (f" {name}", "strong"),
            (
                f"  step {inspection.step:,}" if inspection.step or len(steps) > 1 else "  a fresh batch",
                "plain",
            ),
            *time,
            (f"  image {slot.image + 1}/{frame.batch}", "plain"),
            (f"  head{heads} {head.grid_h}x{head.grid_w}", "plain"),
            ("  all anchors, now " if inspection.all_anchors else "  ", "plain"),
            (anchor, "plain"),
        ]
        room = self.size.width - len(state[0]) - 2
        pieces = fit(pieces, room)
        used = sum(len(text) for text, _ in pieces)
        self.show([*pieces, (" " * max(1, room - used + 1), "plain"), state])


class Verdict(Line):
    """Whose function disagrees with the reference, where and in what; nothing without a reference."""

    missing: Callable[[int], str] = staticmethod(lambda step: "")
    """Why a step has no reference."""

    def rows_needed(self, inspection: Inspection | None, width: int, most: int) -> int:
        return len(self._pieces(inspection, width, most)) if inspection is not None else 0

    def update(self, inspection: Inspection, width: int, most: int) -> None:
        self.show(*self._pieces(inspection, width, most))

    def _pieces(self, inspection: Inspection | None, width: int, most: int) -> list[list[Piece]]:
        """At most ``most`` lines: the first claim gets what the others, a line each, leave."""
        if inspection is None:
            return []
        if not inspection.frame.has_reference:
            why = self.missing(inspection.step)
            return [[(shorten(f" {why}", width), "warn")]] if why else []
        found = inspection.disagreements()
        wrong = [each for each in found if each.count]
        if not wrong:
            names = ", ".join(each.tensor for each in found)
            return [[(f" ✔ {names}: every slot agrees with {inspection.frame.reference_name}", "good")]]
        here = " ".join(inspection.wrong_channels())
        lines: list[list[Piece]] = []
        for k, each in enumerate(wrong[:most]):
            text = f"✘ {f'here: {here} · ' if here and not k else ''}{each.text}"
            room = most - len(wrong) + 1 if not k else 1
            wrapped = textwrap.wrap(text, max(20, width - 2), subsequent_indent="  ")
            if len(wrapped) > max(1, room):
                kept = wrapped[: max(1, room)]
                kept[-1] = shorten(f"{kept[-1]} …", width - 2)
                wrapped = kept
            lines += [[(f" {line}", "bad" if not k else "warn")] for line in wrapped]
        return lines


class CommandLine(Input):
    """What is typed after ``:``, with a history and completion."""

    key_scopes = ("command",)
    BINDINGS = bindings("command")

    def __init__(self, complete: Callable[[str, int], list[str]]) -> None:
        super().__init__(id="command", compact=True, select_on_focus=False)
        self._complete = complete
        self.history: list[str] = []
        self._at = 0
        self._tried: tuple[str, int, list[str], int] | None = None
        """Text, cursor and choices when completion began, and which was taken."""

    def open(self, text: str) -> None:
        self.value = text
        self.cursor_position = len(text)
        self._at = len(self.history)
        self._tried = None

    async def action_submit(self) -> None:
        text = self.value.strip()
        if text and (not self.history or self.history[-1] != text):
            self.history.append(text)
        self.screen.run_command(text)  # type: ignore[attr-defined]

    def action_cancel(self) -> None:
        self.screen.close_command()  # type: ignore[attr-defined]

    def action_recall(self, by: int) -> None:
        at = self._at + by
        if 0 <= at <= len(self.history):
            self._at = at
            self.value = self.history[at] if at < len(self.history) else ""
            self.cursor_position = len(self.value)

    def action_complete(self) -> None:
        """The word before the cursor becomes the first that fits; again, the next."""
        if self._tried is not None and self._finished(self._tried) == (self.value, self.cursor_position):
            text, cursor, choices, taken = self._tried
            self._tried = (text, cursor, choices, (taken + 1) % len(choices))
        else:
            choices = self._complete(self.value, self.cursor_position)
            if not choices:
                self.screen.say("nothing fits here", "warn")  # type: ignore[attr-defined]
                return
            self._tried = (self.value, self.cursor_position, choices, 0)
        text, cursor = self._finished(self._tried)
        self.value = text
        self.cursor_position = cursor
        choices, taken = self._tried[2], self._tried[3]
        shown = "  ".join(f"[{word}]" if k == taken else word for k, word in enumerate(choices))
        self.screen.say(shown, "dim")  # type: ignore[attr-defined]

    @staticmethod
    def _finished(tried: tuple[str, int, list[str], int]) -> tuple[str, int]:
        text, cursor, choices, taken = tried
        start = cursor
        while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
            start -= 1
        word = choices[taken]
        return text[:start] + word + text[cursor:], start + len(word)


def caret_lines(error: ExpressionError, width: int, indent: int) -> list[list[Piece]]:
    """A caret under the column at fault (``indent``: where column 1 stands on screen) and what is wrong."""
    at = indent + error.column - 1
    message = f"column {error.column}: {error.message}"
    if at + len(message) + 4 <= width:
        return [[(" " * at + "^ ", "bad"), (message, "bad")]]
    if at < width - 2 and len(message) + 2 <= at:
        return [[(f"{message} ".rjust(at), "bad"), ("^", "bad")]]
    return [[(shorten(f" {message}", width), "bad")]]


Tone = Literal["plain", "dim", "good", "warn", "bad"]
