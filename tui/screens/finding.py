"""One finding in full."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from ..claims import Claim
from ..keys import bindings


def facts(claim: Claim) -> list[tuple[str, str]]:
    """What is known of a claim, a name and a text each; what is empty is left out."""
    event = claim.newest
    tensor = f"{event.tensor}[{' '.join(event.channels)}]" if event.channels else event.tensor
    raised = f"at step {event.step:,}" if event.step else "before the first step"
    if claim.count > 1:
        raised += f", {claim.count} times since step {claim.first_step:,}"
    pairs = [
        ("claim", event.message),
        ("function", event.function),
        ("place", f"{event.file}:{event.line}" if event.line else event.file),
        ("tensor", tensor),
        ("expected", event.expected),
        ("got", event.got),
        ("fix", event.fix),
        ("probe", event.probe),
        ("raised", raised),
        ("cleared", f"at step {claim.cleared:,}" if claim.cleared is not None else ""),
    ]
    return [(name, text) for name, text in pairs if text]


class FindingScreen(ModalScreen[None]):
    key_scopes = ("finding",)
    BINDINGS = bindings("finding")

    def __init__(self, claim: Claim) -> None:
        super().__init__()
        self.claim = claim

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="finding"):
            event = self.claim.newest
            yield Static(f"{self.claim.sign} {event.severity}", id="finding-title", markup=False)
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_column(justify="right", style="dim")
            grid.add_column(overflow="fold")
            for name, text in facts(self.claim):
                grid.add_row(name, Text(text))
            yield Static(grid)
            yield Static("y copies this · esc closes it", id="finding-end", markup=False)

    def action_copy(self) -> None:
        lines = [f"{name}: {text}" for name, text in facts(self.claim)]
        self.app.copy_to_clipboard("\n".join([self.claim.newest.severity, *lines]))
        self.app.notify("Copied the finding.", timeout=2)

    def action_scroll(self, lines: int) -> None:
        self.query_one("#finding").scroll_relative(y=lines, animate=False)

    def action_close(self) -> None:
        self.dismiss(None)
