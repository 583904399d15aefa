"""``yolotui train``: the live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

from pathlib import Path

from engine.config import load_config
from engine.errors import UserError

from ..console import is_interactive


def train(
    source: Path, code: Path | None, overrides: list[str], run: Path | None, headless: bool, resume: bool
) -> int:
    """Returns the exit code."""
    config = load_config(source, overrides)
    if code is not None and not code.is_file():
        raise UserError("no such file", where=f"--code {code}", fix="name a Python file")
    interactive = is_interactive() and not headless
    if interactive:
        # Seconds of imports and reading lie ahead: an empty terminal would look like a hang.
        print(f"yolotui: setting up {source}", flush=True)
    from engine.training.session import Training, choose_run

    training = Training(
        config, choose_run(config, source, run, resume), source=source, code=code, resume=resume
    )
    folder = training.folder
    if not interactive:
        from ..headless import train_headless

        return train_headless(training, folder.path, folder.log, config.train.log_seconds)
    from ..app import LiveApp
    from ..remembered import default_path
    from ..terminal import leave, run_live

    app = LiveApp(training, folder.path, log_path=folder.log, layout_path=default_path())
    status = run_live(app)
    leave(status, app.thread.is_alive())
    return status
