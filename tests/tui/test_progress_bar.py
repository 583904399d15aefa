"""The bar's line, and that it stays off what is no terminal."""

from __future__ import annotations

import io
import sys

import pytest

from tui.progress_bar import ProgressBar, bar_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_tells_how_far_how_fast_and_how_long() -> None:
    assert bar_line("pictures", 120, 360, 4.0) == "█" * 8 + "░" * 16 + "  120/360 pictures  30.0/s  0:08 left"
    assert bar_line("frames", 1500, 0, 10.0) == "1,500 frames  150/s"
    assert bar_line("frames", 0, 10, 0.0).endswith("0/10 frames  0.0/s  0:00 left")


def test_more_than_was_said_does_not_break_it() -> None:
    assert bar_line("frames", 12, 10, 1.0) == "█" * 24 + "  12/10 frames  12.0/s  0:00 left"


def test_it_is_wiped_before_other_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    bar = ProgressBar("pictures", 5)
    bar.clear()
    assert screen.getvalue() == ""
    bar.update(1)
    assert "1/5 pictures" in screen.getvalue()
    bar.clear()
    assert screen.getvalue().endswith("\r\x1b[K")


def test_nothing_is_drawn_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    bar = ProgressBar("pictures", 5)
    bar.update(3)
    bar.clear()
    assert screen.getvalue() == ""
