"""Runs probes, keeps what they said, tells a fault from a function that merely does not follow ``head``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from .calling import Called, Refusal
from .findings import Finding, ProbeOutcome, Table
from .inputs import DRAW, drawing
from .stage import Stage

Results = Iterator[tuple[str, list[Finding]]]
Probe = Callable[[Stage], Results]
Outcome = dict[str, list[Finding]]
GAVE_UP = "unfinished"


@dataclass
class Bench:
    """``failed``: the functions with an error of their own so far; later probes run with the reference in
    their place."""

    called: Called
    stages: tuple[Stage, Stage, Stage]
    probes: list[ProbeOutcome] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    constant: set[str] = field(default_factory=set)

    @property
    def failed(self) -> set[str]:
        return {f.function for f in self.findings if f.severity == "error" and not f.follows}

    @property
    def unfit(self) -> set[str]:
        """Those, and the functions that serve no heads but the config's: both are stood in for."""
        return self.failed | self.constant

    def alone(self, function: str, probe: Callable[[], Results]) -> None:
        """A probe that needs no stage."""
        self.keep(function, gather(probe(), function))

    def staged(self, function: str, probe: Probe) -> None:
        """On the config's own heads; where those show no error, on uneven ones; where these do, on the
        control heads, which tell whether the function follows ``head`` at all."""
        own, uneven, control = self.stages
        outcome = gather(probe(own), function)
        if not _errors(outcome):
            other = gather(probe(uneven), function)
            if _errors(other):
                if _errors(gather(probe(control), function)) and not self._on_other_draws(function, probe):
                    self.constant.add(function)
                    # what was not probed on the config's own heads is no sign of constants
                    other = {
                        name: [_constant(f) for f in found] if name in outcome else found
                        for name, found in other.items()
                    }
                else:
                    other = {name: [_uneven(f) for f in found] for name, found in other.items()}
            for name, found in other.items():
                known = {(f.probe, f.message) for f in outcome.get(name, [])}
                outcome.setdefault(name, [])
                outcome[name] += [
                    f for f in found if f.severity != "info" and (f.probe, f.message) not in known
                ]
        self.keep(function, outcome)

    def _on_other_draws(self, function: str, probe: Probe) -> bool:
        """Whether other random inputs show an error on the config's own heads after all: then it is no matter
        of constants."""
        for draw in (1, 2):
            with drawing(DRAW.get() + 1000 + draw):
                if _errors(gather(probe(self.stages[0]), function)):
                    return True
        return False

    def keep(self, function: str, outcome: Outcome) -> None:
        for name, found in outcome.items():
            status = "failed" if any(f.severity == "error" for f in found) else "passed"
            self.probes.append(ProbeOutcome(name, function, status))  # type: ignore[arg-type]
            self.findings += [self.called.placed(finding) for finding in found]

    def skip(self, name: str, function: str, why: str) -> None:
        self.probes.append(ProbeOutcome(name, function, "skipped", why))


def gather(results: Iterable[tuple[str, list[Finding]]], function: str = "config") -> Outcome:
    """All that a probe says; a refusal ends it and is its last word.

    What a user's function returns may also break the probe itself: that is no proof of anything, and said so.
    """
    outcome: Outcome = {}
    try:
        for name, found in results:
            outcome.setdefault(name, []).extend(found)
    except Refusal as refusal:
        outcome.setdefault(refusal.finding.probe, []).append(refusal.finding)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        message = f"a probe of {function} could not be carried through: {text}"
        outcome.setdefault(f"{function}.{GAVE_UP}", []).append(
            Finding("warning", f"{function}.{GAVE_UP}", function, message, got=text)
        )
    return outcome


def _errors(outcome: Outcome) -> bool:
    return any(f.severity == "error" for found in outcome.values() for f in found)


def _constant(finding: Finding) -> Finding:
    if finding.severity != "error":
        return finding
    return replace(
        finding,
        severity="warning",
        message=(
            f"{finding.function} does not follow head: right for this config's "
            f"heads, wrong for other grids or anchors ({finding.message})"
        ),
        fix="take grid_h, grid_w and anchors from head instead of constants",
    )


def _uneven(finding: Finding) -> Finding:
    return replace(
        finding, message=f"{finding.message} (seen on a grid with grid_h != grid_w and uneven anchors)"
    )
