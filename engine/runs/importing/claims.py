"""What a log proves, one claim a finding; what it only suggests is called an inference, with arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..events import FindingRaised

Severity = Literal["warning", "info"]


@dataclass(frozen=True)
class Claim:
    """A finding about a log. ``function`` is the part of a detector it concerns, as in ``check --json``."""

    severity: Severity
    probe: str
    function: str
    message: str
    terms: tuple[str, ...] = ()
    expected: str = ""
    got: str = ""
    fix: str = ""
    line: int | None = None
    """In the log."""
    step: int = 0
    training: int = 0
    """Its number in the file; 0: about the file as a whole."""
    inference: bool = False
    """Fits what is printed, but is not proven by it."""

    def to_json(self, file: str) -> dict[str, Any]:
        """As in ``check --json``, without a tensor: the file is the log, ``terms`` its names."""
        return {
            "severity": self.severity,
            "probe": self.probe,
            "function": self.function,
            "terms": list(self.terms),
            "file": file,
            "line": self.line,
            "training": self.training or None,
            "inference": self.inference,
            "expected": self.expected,
            "got": self.got,
            "message": self.message,
            "fix": self.fix,
        }

    def event(self, file: str) -> FindingRaised:
        """For the run's store, where every viewer shows it."""
        return FindingRaised(
            self.severity,
            self.probe,
            self.function,
            self.message,
            step=self.step,
            channels=self.terms,
            expected=self.expected,
            got=self.got,
            fix=self.fix,
            file=file,
            line=self.line,
        )


def listed(names: list[str] | tuple[str, ...]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}"
