"""A question with yes and no."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from ..keys import bindings


class Question(ModalScreen[bool]):
    key_scopes = ("question",)
    BINDINGS = bindings("question")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def compose(self) -> ComposeResult:
        with Vertical(id="question"):
            yield Static(self.text, markup=False)
            yield Static("y yes   n no", id="question-keys", markup=False)

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)
