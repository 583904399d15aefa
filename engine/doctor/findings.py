"""What the doctor says: findings, the outcome of each probe, the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
Status = Literal["passed", "failed", "skipped"]
Tensor = Literal["pred", "targets", "boxes", "labels", "image", "detections", "gradient", "parameters"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
PIPELINE = (
    "config",
    "transform",
    "iou",
    "assign",
    "decode",
    "loss",
    "detect",
    "build_model",
    "data",
    "optimizer",
    "loop",
)
"""Upstream first: where several functions fail, the first of these is the likelier cause. The data come after
the functions, which are probed without them."""


@dataclass(frozen=True)
class Finding:
    """One claim. ``channels`` are the layout's names without stars; ``cell`` is image, row, column, anchor.

    ``consequence_of`` is the place, in the report's findings, of the claim that explains this one.
    """

    severity: Severity
    probe: str
    function: str
    message: str
    tensor: Tensor = "pred"
    channels: tuple[str, ...] = ()
    expected: str = ""
    got: str = ""
    fix: str = ""
    file: str = ""
    line: int | None = None
    cell: tuple[int, ...] | None = None
    consequence_of: int | None = None
    term: str = ""
    """The loss term it concerns: two findings about one term have one cause."""
    follows: str = ""
    """The function whose replacement by the reference made this finding vanish."""

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            "severity": self.severity,
            "probe": self.probe,
            "function": self.function,
            "tensor": self.tensor,
            "channels": list(self.channels),
            "file": self.file or None,
            "line": self.line,
            "cell": list(self.cell) if self.cell is not None else None,
            "expected": self.expected,
            "got": self.got,
            "message": self.message,
            "fix": self.fix,
        }
        if self.consequence_of is not None:
            value["consequence_of"] = self.consequence_of
        return value


@dataclass(frozen=True)
class ProbeOutcome:
    """One probe on one function. ``detail`` says why it was skipped, or in how many places it failed."""

    name: str
    function: str
    status: Status
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "function": self.function, "status": self.status}


@dataclass(frozen=True)
class Table:
    """Who moves what: ``got[row][column]`` beside whether it should be so (None: free)."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    got: tuple[tuple[float, ...], ...]
    expected: tuple[tuple[bool | None, ...], ...]


@dataclass(frozen=True)
class Report:
    """``ok``: no finding is an error."""

    seconds: float
    probes: tuple[ProbeOutcome, ...]
    findings: tuple[Finding, ...]
    tables: tuple[Table, ...] = field(default=())

    @property
    def ok(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The document of ``yolotui check --json``."""
        return {
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
            "probes": [probe.to_json() for probe in self.probes],
            "findings": [finding.to_json() for finding in self.findings],
        }
