"""``yolotui inspect``: the inspector on a run's snapshots, or on one fresh batch of a config."""

from __future__ import annotations

import tempfile
from pathlib import Path

from engine.errors import UserError

from ..console import complain, is_interactive


def inspect(target: Path, code: Path | None, reference: str, overrides: list[str]) -> int:
    """Returns the exit code."""
    if not is_interactive():
        raise UserError("needs a terminal to draw on", where="inspect", fix="run it without redirections")
    if code is not None and not code.is_file():
        raise UserError("no such file", where=f"--code {code}", fix="name a Python file")
    # Seconds of imports and reading lie ahead: an empty terminal would look like a hang.
    print(f"yolotui: reading {target}", flush=True)
    from ..inspect.sources import open_steps

    steps = open_steps(target, code=code, reference=reference, overrides=overrides)
    steps.newest()  # what cannot be read is said here, on the plain terminal
    from ..inspect.app import InspectApp
    from ..terminal import own_screen

    with tempfile.NamedTemporaryFile(prefix="yolotui-inspect-", suffix=".log", delete=False) as file:
        log_path = Path(file.name)
    app = InspectApp(steps, log_path)
    with own_screen(log_path):
        status = app.run()
    if app.crash is not None:
        complain(
            f"the inspector failed: {type(app.crash).__name__}: {app.crash}; the traceback is in {log_path}"
        )
        return 1
    if not log_path.stat().st_size:
        log_path.unlink()
    return status if status is not None else 1
