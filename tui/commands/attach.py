"""``yolotui attach``: the live view on a run that another process writes, or its lines where there is no
terminal to draw on."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from engine.config import load_config
from engine.errors import UserError
from engine.runs.folder import RunFolder
from engine.runs.listing import list_runs

from ..attached import AttachedRun, presence
from ..console import FAILED, complain, is_interactive
from ..format import shorten_path
from ..headless import HeadlessLog
from ..outcome import outcome
from ..runstate import Reread, RunState
from ..seedline import seed_line

ROOT = Path("runs")
LOG_SECONDS = 10.0


def attach(run: Path | None) -> int:
    """Returns the exit code."""
    folder = choose(run)
    if is_interactive():
        return _watch(folder)
    return follow(AttachedRun(folder), log_seconds(folder))


def choose(run: Path | None, root: Path = ROOT) -> RunFolder:
    """A folder, the name of a run below ``root``, or without either the newest one that goes on.

    Raises ``UserError``.
    """
    if run is not None:
        named = root / run
        if len(run.parts) == 1 and named.is_dir() and not (run / "run.db").exists():
            return RunFolder.open(named)
        return RunFolder.open(run)
    found = [info for info in list_runs(root) if info.status != "damaged"]
    alive = next((info for info in found if info.alive), None)
    if alive is not None:
        return RunFolder.open(alive.path)
    if not found:
        raise UserError(f"no runs below {root}/", where="attach", fix="name one: yolotui attach RUN")
    raise UserError(
        f"no run below {root}/ goes on",
        where="attach",
        fix=f"look at the newest one with: yolotui attach {shorten_path(found[0].path)}",
    )


def log_seconds(folder: RunFolder) -> float:
    """The run's own interval of lines."""
    try:
        return load_config(folder.config).train.log_seconds
    except (
        UserError
    ):  # a foreign loop's run has no config, and somebody else's may need files that are not here
        return LOG_SECONDS


def _watch(folder: RunFolder) -> int:
    from ..remembered import default_path
    from ..terminal import leave, run_live
    from ..viewer import AttachedApp

    with tempfile.NamedTemporaryFile(prefix="yolotui-attach-", suffix=".log", delete=False) as file:
        log_path = Path(file.name)
    run = AttachedRun(folder)
    app = AttachedApp(run, log_path=log_path, layout_path=default_path())
    status = run_live(app)
    run.close()
    app.thread.join(1)
    if app.crash is None and not log_path.stat().st_size:
        log_path.unlink()
    leave(status, app.thread.is_alive())
    return status


def follow(run: AttachedRun, interval: float) -> int:
    """Print the run's lines until it ends, as ``train --headless`` does; returns what it ended with.

    The lines of before are not printed again: it begins with how the run stands. Ctrl+C leaves the run alone.
    """
    state = run.read()
    _print(_standing(state, run))
    code = _end(state, run)
    if code is not None:
        return code
    log = HeadlessLog(interval, _print, state)
    subscription = run.feed.subscribe()
    thread = threading.Thread(target=run.run, name="reader", daemon=True)
    thread.start()
    said = ""
    try:
        while True:
            subscription.arrived.wait(0.2)
            for event in subscription.drain():
                if isinstance(event, Reread):
                    log = HeadlessLog(interval, _print, event.state)
                    _print(_standing(event.state, run))
                else:
                    log.take([event])
            word = presence(run.status) or run.unread
            if bool(word) != bool(said) and word:
                _print(f"warning: {word}")
            said = word
            log.state.status = run.status
            code = _end(log.state, run)
            if code is not None:
                return code
            time.sleep(0.05)
    finally:
        run.close()
        thread.join(1)


def _end(state: RunState, run: AttachedRun) -> int | None:
    """The exit code where nothing more comes, with a last line."""
    if state.ended is not None:
        if state.ended.status == "failed":
            complain("; ".join(outcome(state, run.folder.path)))
        else:
            for line in outcome(state, run.folder.path):
                _print(line)
        return state.ended.exit_code
    if run.status.state == "dead":
        complain(f"{shorten_path(run.folder.path)}: {presence(run.status)}; nobody said how it ended")
        return FAILED
    return None


def _standing(state: RunState, run: AttachedRun) -> str:
    """How the run stands, in the form of its own lines."""
    started, last = state.started, state.last
    head = f"run {shorten_path(run.folder.path)}: {state.word}"
    if run.status.alive:
        head += f", process {run.status.pid} on {run.status.host}"
    if started is None or last is None:
        return head
    recent = state.last_steps
    seconds = sum(step.seconds for step in recent)
    return f"{head}\n{seed_line(started, recent, seconds, len(recent))}"


def _print(line: str) -> None:
    print(line, flush=True)
