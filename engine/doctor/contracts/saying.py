"""How a contract speaks: findings of the probes ``contract.*``, each said once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..findings import Finding, Severity

Where = Literal["optimizer", "loop", "data", "loss", "config"]


def finding(
    name: str,
    severity: Severity,
    function: Where,
    message: str,
    *,
    expected: str,
    got: str,
    fix: str,
    tensor: Literal["gradient", "parameters", "image", "labels"] = "parameters",
) -> Finding:
    return Finding(
        severity,
        f"contract.{name}",
        function,
        message,
        tensor=tensor,
        expected=expected,
        got=got,
        fix=fix,
    )


@dataclass
class Said:
    """What was said already: the same claim is not raised twice, a worse one of the same kind is."""

    known: dict[str, Severity] = field(default_factory=dict)

    def news(self, found: list[Finding]) -> list[Finding]:
        fresh = []
        for each in found:
            before = self.known.get(each.probe)
            if before is None or (each.severity == "error" and before != "error"):
                self.known[each.probe] = each.severity
                fresh.append(each)
        return fresh
