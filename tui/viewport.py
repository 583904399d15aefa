"""Which steps the charts show and where the cursor stands: one for all charts, so that they can be compared.

Pure numbers, no screen. Every method is told the first and the last step there is, as the last one grows.
"""

from __future__ import annotations

from dataclasses import dataclass

FEWEST = 10
"""Steps in the narrowest window."""


@dataclass
class Viewport:
    size: int | None = None
    """Steps in the window; None: all there are."""
    end: int | None = None
    """The window's last step; None: the newest, whatever it is by now."""
    cursor: int | None = None
    """The step whose values are read out; None: no cursor."""

    @property
    def changed(self) -> bool:
        return self.size is not None

    def window(self, first: int, last: int) -> tuple[int, int]:
        """The first and the last step shown, both included."""
        if self.size is None:
            return first, last
        end = last if self.end is None else min(self.end, last)
        start = max(first, end - self.size + 1)
        return start, max(start + FEWEST - 1, end)

    def zoom(self, factor: float, first: int, last: int) -> None:
        """Show ``factor`` times as many steps, around the cursor where there is one, else around the middle;
        a window that follows the newest step goes on doing so."""
        start, end = self.window(first, last)
        whole = last - first + 1
        size = max(FEWEST, round((end - start + 1) * factor))
        if size >= whole:
            self.size = self.end = None
            return
        inside = self.cursor if self.cursor is not None and start <= self.cursor <= end else None
        self.size = size
        if inside is None and self.end is None:
            return
        anchor = inside if inside is not None else (start + end) // 2
        share = (anchor - start) / max(1, end - start)
        self._end_at(round(anchor + (1 - share) * (size - 1)), first, last)

    def pan(self, share: float, first: int, last: int) -> None:
        """Move the window by ``share`` of its size; at the right edge it follows the newest step again."""
        if self.size is None:
            return
        _, end = self.window(first, last)
        self._end_at(end + round(share * self.size), first, last)

    def all(self) -> None:
        """Every step, no cursor."""
        self.size = self.end = self.cursor = None

    def put(self, step: int, first: int, last: int) -> None:
        """The cursor to a step; the window comes along."""
        self.cursor = min(max(step, first), last)
        start, end = self.window(first, last)
        if self.size is not None and not start <= self.cursor <= end:
            self._end_at(self.cursor if self.cursor > end else self.cursor + self.size - 1, first, last)

    def move(self, columns: int, width: int, first: int, last: int) -> None:
        """The cursor by so many columns of a chart that is ``width`` of them wide; at least by one step."""
        if self.cursor is None:
            self.put(self.window(first, last)[1], first, last)
            return
        self.put(self.cursor + columns * self.column_steps(width, first, last), first, last)

    def column_steps(self, width: int, first: int, last: int) -> int:
        """Steps in a column of a chart that is ``width`` columns wide."""
        start, end = self.window(first, last)
        return max(1, -(-(end - start) // max(1, width - 1)))

    def reading(self, width: int, first: int, last: int) -> tuple[int, int]:
        """The steps that the cursor's column stands for, both included; needs a cursor."""
        assert self.cursor is not None
        steps = self.column_steps(width, first, last)
        start = self.cursor - (steps - 1) // 2
        return max(first, start), min(last, start + steps - 1)

    def _end_at(self, end: int, first: int, last: int) -> None:
        assert self.size is not None
        end = max(end, first + self.size - 1)
        self.end = None if end >= last else end
