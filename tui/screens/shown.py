"""Which panels are wanted: by default, by choice, by a filter. Where they go is ``arrange``'s business."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..runstate import EXTRA_SERIES


@dataclass
class Shown:
    choices: dict[str, bool] = field(default_factory=dict)
    """What somebody chose: a panel's name, and whether it is shown. The others are as by default."""
    enlarged: str | None = None
    """The panel that has the whole screen."""
    quiet: set[str] = field(default_factory=set)
    """Panels with nothing to say yet: not shown unless chosen, and not named as hidden."""
    pattern: re.Pattern[str] | None = None

    def chosen(self, name: str) -> bool:
        """Whether it is to be shown, the filter aside."""
        return self.choices.get(name, name not in EXTRA_SERIES and name not in self.quiet)

    def passes(self, name: str) -> bool:
        return self.pattern is None or self.pattern.search(name) is not None

    def wanted(self, name: str) -> bool:
        return self.chosen(name) and self.passes(name)

    def hidden(self, names: Iterable[str]) -> list[str]:
        """Those that are to be named as hidden."""
        return [
            name
            for name in names
            if not self.chosen(name) and (name not in self.quiet or name in self.choices)
        ]

    def filtered(self, names: Iterable[str]) -> list[str]:
        """Those that the filter alone keeps away."""
        return [name for name in names if self.chosen(name) and not self.passes(name)]

    def show(self, name: str) -> None:
        self.choices[name] = True

    def hide(self, name: str) -> None:
        self.choices[name] = False

    def show_all(self, names: Iterable[str]) -> None:
        """Every panel that has something to say; no filter."""
        self.pattern = None
        for name in names:
            if not self.chosen(name) and name not in self.quiet:
                self.choices[name] = True

    def filter(self, text: str) -> str:
        """Keep the panels whose name matches somewhere, capitals or not; what is wrong with it, or ""."""
        try:
            self.pattern = re.compile(text, re.IGNORECASE) if text else None
        except re.error as error:
            return str(error)
        return ""
