"""The line in which the filter of panels is typed; it works while it is typed."""

from __future__ import annotations

from textual.widgets import Input

from ..keys import bindings


class FilterLine(Input):
    key_scopes = ("filter",)
    BINDINGS = bindings("filter")

    def __init__(self) -> None:
        super().__init__(
            id="filter",
            compact=True,
            select_on_focus=False,
            placeholder="a regular expression of panel names, such as  lobj|total",
        )
        self.display = False

    async def action_submit(self) -> None:
        self.screen.close_filter(keep=True)  # type: ignore[attr-defined]

    def action_cancel(self) -> None:
        self.screen.close_filter(keep=False)  # type: ignore[attr-defined]
