"""The doctor's and the monitors' findings as a list of claims: each stands once, however often raised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.runs.events import FindingCleared, FindingRaised

SIGNS = {"error": "✘", "warning": "▲", "info": "●"}
CLEARED_SIGN = "✔"


@dataclass
class Claim:
    newest: FindingRaised
    """As it was raised last: its numbers are the newest."""
    first_step: int
    count: int = 1
    cleared: int | None = None
    """The step at which it was found to be gone; None while it stands."""

    @property
    def sign(self) -> str:
        return CLEARED_SIGN if self.cleared is not None else SIGNS.get(self.newest.severity, "●")


@dataclass
class Claims:
    """Newest last. As long as there are different claims, however often they are raised."""

    _standing: dict[tuple[str, ...], Claim] = field(default_factory=dict)
    version: int = 0

    def __len__(self) -> int:
        return len(self._standing)

    def __iter__(self) -> Iterator[Claim]:
        return iter(self._standing.values())

    def newest_first(self) -> list[Claim]:
        return list(reversed(self._standing.values()))

    def standing(self, severity: str) -> int:
        """Claims of this severity that are not cleared."""
        return sum(c.newest.severity == severity and c.cleared is None for c in self._standing.values())

    def raise_(self, event: FindingRaised) -> bool:
        """Whether it is news: the first time, or the first since it was cleared."""
        self.version += 1
        key = (event.severity, event.probe, event.function, event.tensor, *event.channels)
        claim = self._standing.get(key)
        if claim is None:
            self._standing[key] = Claim(event, event.step)
            return True
        news = claim.cleared is not None
        claim.newest, claim.cleared = event, None
        claim.count += 1
        if news:
            self._standing[key] = self._standing.pop(key)
        return news

    def clear(self, event: FindingCleared) -> bool:
        """Whether anything stood under that probe."""
        gone = [c for c in self if c.newest.probe == event.probe and c.cleared is None]
        for claim in gone:
            claim.cleared = event.step
        self.version += bool(gone)
        return bool(gone)
