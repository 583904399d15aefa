"""The head of the live view: what runs, in which state, the seed's line, and how far it is."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from engine.runs.codec import missing

from ..format import count, digits3, duration, gigabytes, shorten
from ..runstate import RunState

STATE_SIGNS = {
    "preparing": "…",
    "training": "▶",
    "paused": "‖",
    "evaluating": "◆",
    "saving": "▼",
    "stopping": "…",
    "finished": "✔",
    "stopped": "■",
    "failed": "✘",
    "silent": "?",
    "dead": "✘",
}
_STATE_STYLES = {
    "training": "good",
    "finished": "good",
    "failed": "bad",
    "paused": "warn",
    "stopping": "warn",
    "silent": "warn",
    "dead": "bad",
}


class Header(Widget):
    COMPONENT_CLASSES: ClassVar = {
        "header--name",
        "header--label",
        "header--value",
        "header--good",
        "header--bad",
        "header--warn",
        "header--plain",
        "header--done",
        "header--rest",
    }

    def __init__(self, state: RunState) -> None:
        super().__init__(id="header")
        self.state = state
        self._drawn: object = None

    def invalidate(self, force: bool = False) -> None:
        lines = (self._first(), self._numbers(), self._bar(), self.size)
        if force or lines != self._drawn:
            self._drawn = lines
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        lines = [self._first, self._numbers, self._bar]
        pieces = lines[y]() if y < 3 else []
        base = self.rich_style
        segments = [
            Segment(text, base + self.get_component_rich_style(f"header--{style}"))
            for text, style in pieces
            if text
        ]
        return Strip(segments).adjust_cell_length(width, base)

    def _first(self) -> list[tuple[str, str]]:
        state = self.state
        word = f"{STATE_SIGNS.get(state.word, '·')} {state.word}"
        style = _STATE_STYLES.get(state.word, "plain")
        started = state.started
        name = started.name if started else "yolotui"
        facts = ""
        if started:
            facts = (
                f"  {started.network} {count(started.parameters)} parameters · {started.device} · "
                f"{started.images:,} images · batch {started.batch_size} · {len(started.classes)} classes"
            )
        room = self.size.width - len(word) - 2
        name = shorten(f" {name}", max(8, room))
        said = state.note or state.detail
        detail = f"  {said}" if said else ""
        facts = shorten(facts, max(0, room - len(name) - len(detail) - 1))
        gap = self.size.width - len(name) - len(facts) - len(detail) - len(word) - 1
        return [
            (name, "name"),
            (facts, "label"),
            (" " * max(1, gap), "label"),
            (detail.strip() + "  " * bool(detail), "plain"),
            (word, style),
        ]

    def _numbers(self) -> list[tuple[str, str]]:
        state, started, last = self.state, self.state.started, self.state.last
        if not started:
            return [(" setting up the data and the network", "label")]
        epoch, iteration = (last.epoch, last.iteration) if last else (0, 0)
        values = [
            ("epoch", _of(epoch, started.epochs), ""),
            ("iter", _of(iteration, started.steps_per_epoch), ""),
            ("lr", digits3(last.lr) if last else "-", ""),
            ("", digits3(state.steps_per_second) if last else "-", "it/s"),
            ("", digits3(state.images_per_second) if last else "-", "img/s"),
            ("mem", gigabytes(last.memory) if last else "-", ""),
        ]
        pieces = [piece for value in values for piece in _value(*value)]
        if last:
            extras = [
                ("step", _of(last.step, started.total_steps), ""),
                ("grad norm", _norm(last.grad_norm), ""),
                ("waits for data", _share(state.data_share), ""),
            ]
            for extra in extras:
                more = _value(*extra)
                if sum(len(text) for text, _ in pieces + more) <= self.size.width:
                    pieces += more
        return pieces

    def _bar(self) -> list[tuple[str, str]]:
        state = self.state
        percent = f" {state.progress * 100:3.0f}% "
        left = "" if state.ended or state.lost else f" left {duration(state.seconds_left)} "
        width = max(0, self.size.width - len(percent) - len(left) - 1)
        halves = round(state.progress * width * 2)
        full, half = divmod(halves, 2)
        done = "━" * full + ("╸" if half else "")
        return [
            (" ", "label"),
            (done, "done"),
            ("─" * (width - len(done)), "rest"),
            (percent, "value"),
            (left, "label"),
        ]


def _share(share: float) -> str:
    return f"{share * 100:.0f}%" if math.isfinite(share) else "-"


def _norm(value: float) -> str:
    """A loop that is not ours has it at some steps only: as against a NaN that was computed."""
    return "-" if missing(np.array([value]))[0] else digits3(value)


def _of(count: int, total: int) -> str:
    """``7/40``; a loop that is not ours may not say of how many."""
    return f"{count:,}/{total:,}" if total else f"{count:,}"


def _value(label: str, value: str, unit: str) -> list[tuple[str, str]]:
    return [
        (f" {label} " if label else " ", "label"),
        (value, "value"),
        (f" {unit} " if unit else " ", "label"),
    ]
