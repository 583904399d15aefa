from __future__ import annotations

from dataclasses import replace

from engine.runs.events import FindingCleared, FindingRaised
from tui.claims import Claims

STALLED = FindingRaised("warning", "monitor.stalled", "loss", "lobj does not fall", 10)


def test_the_same_claim_is_news_once() -> None:
    claims = Claims()
    assert claims.raise_(STALLED)
    assert not claims.raise_(replace(STALLED, message="lobj still does not fall", step=90))
    (claim,) = claims
    assert (claim.count, claim.first_step, claim.newest.step) == (2, 10, 90)


def test_another_channel_is_another_claim() -> None:
    claims = Claims()
    claims.raise_(replace(STALLED, tensor="pred", channels=("x",)))
    assert claims.raise_(replace(STALLED, tensor="pred", channels=("y",)))
    assert [c.newest.channels for c in claims.newest_first()] == [("y",), ("x",)]


def test_cleared_and_raised_again() -> None:
    claims = Claims()
    claims.raise_(STALLED)
    other = replace(STALLED, probe="monitor.other")
    claims.raise_(other)
    assert not claims.clear(FindingCleared("monitor.unknown", 20))
    assert claims.clear(FindingCleared("monitor.stalled", 20))
    assert claims.standing("warning") == 1
    assert claims.newest_first()[1].sign == "✔"
    assert claims.raise_(replace(STALLED, step=30))
    assert claims.standing("warning") == 2
    assert claims.newest_first()[0].newest.probe == "monitor.stalled"
