"""The findings: who is said to be at fault, in what, the newest first."""

from __future__ import annotations

from ..claims import Claim
from ..keys import bindings
from ..runstate import RunState
from .panel import Piece, ScrollingPanel, fit

STYLES = {"error": "bad", "warning": "warn", "info": "plain"}


class FindingsPanel(ScrollingPanel):
    """Newest at the top; one line is chosen, and stays chosen when others come in above it."""

    key_scopes = ("findings", "scrolling", "panel")
    BINDINGS = bindings("findings")
    help_title = "Findings"
    help_text = (
        "What the doctor and the monitors claim, the newest first: ✘ error, ▲ warning, ● information, then "
        "the function, the probe and the claim. Each claim stands once; ×3 says how often it was raised. "
        "✔ marks one that was found to be gone. ↑ and ↓ choose a line, enter shows all of it."
    )

    def __init__(self, state: RunState) -> None:
        super().__init__("findings", id="findings")
        self.state = state
        self.chosen: Claim | None = None

    def content_key(self) -> object:
        return (self.state.claims.version, self.at(), self.back, self.size)

    def line_total(self) -> int:
        return len(self.state.claims)

    def at(self) -> int:
        """The chosen line's number, 0 the newest."""
        claims = self.state.claims.newest_first()
        return next((k for k, claim in enumerate(claims) if claim is self.chosen), 0)

    def claim(self) -> Claim | None:
        claims = self.state.claims.newest_first()
        return claims[self.at()] if claims else None

    def window(self, rows: int) -> tuple[int, int]:
        """Around the chosen line: from the top, unlike the log."""
        total = self.line_total()
        first = max(0, min(self.at() - rows // 2, total - rows))
        return first, min(total, first + rows)

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        claims = self.state.claims
        pieces: list[Piece] = [self.name_piece("findings")]
        for severity in STYLES:
            if number := claims.standing(severity):
                pieces.append(
                    (f"  {number} {severity}{'s' * (number > 1 and severity != 'info')}", STYLES[severity])
                )
        if cleared := sum(claim.cleared is not None for claim in claims):
            pieces.append((f"  {cleared} cleared", "dim"))
        position = self.position()
        return pieces, [(position, "dim")] if position else []

    def lines(self, first: int, count: int, width: int) -> list[list[Piece]]:
        claims = self.state.claims.newest_first()
        if not claims:
            return [[("  none so far", "dim")]]
        at = self.at()
        return [
            fit(line_of(claim, k == at and self.has_focus), width)
            for k, claim in enumerate(claims[first : first + count], first)
        ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("scroll", "page", "edge"):
            backwards = parameters[0] == -1
            return self.at() > 0 if backwards else self.at() < self.line_total() - 1
        if action == "detail":
            return self.claim() is not None
        return super().check_action(action, parameters)

    def action_scroll(self, lines: int) -> None:
        claims = self.state.claims.newest_first()
        if claims:
            self.chosen = claims[min(max(self.at() + lines, 0), len(claims) - 1)]
        self.invalidate(force=True)

    def action_edge(self, side: int) -> None:
        self.action_scroll(side * self.line_total())

    def action_detail(self) -> None:
        from ..screens.finding import FindingScreen

        claim = self.claim()
        if claim is not None:
            self.app.push_screen(FindingScreen(claim))


def line_of(claim: Claim, chosen: bool) -> list[Piece]:
    event = claim.newest
    style = "dim" if claim.cleared is not None else STYLES.get(event.severity, "plain")
    step = f" step {event.step:,}" if event.step else ""
    times = f" ×{claim.count}" if claim.count > 1 else ""
    gone = f"cleared at step {claim.cleared:,}: " if claim.cleared is not None else ""
    return [
        ("▸" if chosen else " ", "focus"),
        (f"{claim.sign} ", style),
        (f"{event.about}{times}  ", "dim" if claim.cleared is not None else "strong"),
        (f"{gone}{event.message}", style),
        (f"  {event.probe}{step}", "dim"),
    ]
