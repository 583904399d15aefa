"""One table: what is dispatched, what the footer prints, what the help and the palette list."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest
from test_live_view import paused_at, running
from textual.actions import parse
from textual.dom import DOMNode

import tui
from tui.app import KeyCommands, LiveApp
from tui.keys import KEYS, SCOPE_TITLES, Key, available, bindings, owners, rows, works
from tui.screens.help import HelpScreen
from tui.widgets.bars import Footer


def owner_classes() -> list[type[DOMNode]]:
    """Every class of the package that takes keys from the table."""
    for module in pkgutil.walk_packages(tui.__path__, "tui."):
        importlib.import_module(module.name)
    found: list[type[DOMNode]] = []
    waiting: list[type[DOMNode]] = [DOMNode]
    while waiting:
        for each in waiting.pop().__subclasses__():
            waiting.append(each)
            if each.__module__.startswith("tui.") and getattr(each, "key_scopes", ()):
                found.append(each)
    return found


CLASSES = owner_classes()
LIVE_SCOPES = ("run", "view", "scrolling", "epochs", "panel", "app", "help", "question")


@pytest.mark.parametrize("row", KEYS, ids=lambda row: f"{row.scope}-{row.action}")
def test_every_row_has_an_owner_that_can_act(row: Key) -> None:
    classes = [each for each in CLASSES if row.scope in each.key_scopes]  # type: ignore[attr-defined]
    for name in row.keys:
        _, action, _ = parse(row.action.format(key=name))
        assert any(hasattr(owner, f"action_{action}") for owner in classes)
    assert row.help.endswith(".")


@pytest.mark.parametrize("owner", CLASSES, ids=lambda owner: owner.__name__)
def test_the_table_and_the_bindings_are_one(owner: type[DOMNode]) -> None:
    """Nothing is bound that is not in the table, and all that is in the table is bound."""
    table = {(each.key, each.action) for each in bindings(*owner.key_scopes)}  # type: ignore[attr-defined, union-attr]
    ours = [each for each in owner.__mro__ if each.__module__.startswith("tui.")]
    bound = {(each.key, each.action) for base in ours for each in vars(base).get("BINDINGS", ())}
    assert bound >= table
    assert bound <= {(name, row.action.format(key=name)) for row in KEYS for name in row.keys}


def test_one_key_means_one_thing_in_a_scope() -> None:
    """Rows that share a key within a scope must be told apart by when they work."""
    shared = {
        (row.scope, name): [other.action for other in rows(row.scope) if name in other.keys]
        for row in KEYS
        for name in row.keys
    }
    doubled = {tuple(actions) for actions in shared.values() if len(actions) > 1}
    assert doubled == {
        ("pause", "resume"),
        ("stop", "say_why_not"),
        ("enlarge", "restore"),
        ("leave", "close"),
        ("reload", "look_again"),
        ("restore", "close"),
    }


async def test_footer_and_help_say_what_dispatch_does(tmp_path: Path) -> None:
    async with running(tmp_path, (200, 60), pause_at=100) as (app, pilot):
        await paused_at(app, pilot)
        footer = app.live.query_one(Footer)
        footer.invalidate()
        shown = [row for _, row in footer.shown(200)[0]]
        text = footer.render_line(0).text
        for row in shown:
            assert f"{row.shown} {row.label}" in text
        now = [row for owner, row in available(app.live)]
        assert all(row in now for row in shown)
        assert {row.action for row in shown} >= {"resume", "step", "epoch_end", "checkpoint", "help", "leave"}
        assert "pause" not in {row.action for row in shown}

        expected = [row for _, scopes in owners(app.live) for row in rows(*scopes)]
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        listed = [row for _, pairs in app.screen.groups for row, _ in pairs]
        assert listed == [row for scope in _scopes(app) for row in rows(scope)]
        assert set(listed) == set(expected)
        assert all(scope in SCOPE_TITLES for scope, _ in app.screen.groups)


def _scopes(app: LiveApp) -> list[str]:
    return [scope for _, scopes in owners(app.live) for scope in scopes]


@pytest.mark.slow
async def test_the_palette_offers_what_works_and_does_it(tmp_path: Path) -> None:
    async with running(tmp_path, (120, 36), pause_at=100) as (app, pilot):
        await paused_at(app, pilot)
        offered = {row.action for _, row, _ in KeyCommands(app.live)._rows()}
        assert {"resume", "step", "log_scale", "theme"} <= offered
        assert "pause" not in offered
        await pilot.press("ctrl+p")
        await pilot.pause(0.2)
        await pilot.press(*"logarithmic")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert app.live.options.log


async def test_a_key_that_does_not_work_now_does_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, epochs=1, steps_per_epoch=3) as (app, pilot):
        for _ in range(200):
            await pilot.pause(0.02)
            if app.live.ended:
                break
        dead = [row for row in rows("run") if works(app.live, row)]
        assert not dead
        await pilot.press("space", "n", "e", "c")
        assert not app.session.control.paused
