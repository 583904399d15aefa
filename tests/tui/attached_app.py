"""Run as a program in a pseudo-terminal: the live view on a run that another process writes."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.runs.folder import RunFolder
from tui.attached import AttachedRun
from tui.terminal import leave, run_live
from tui.viewer import AttachedApp

if __name__ == "__main__":
    path = Path(sys.argv[1])
    run = AttachedRun(RunFolder.open(path))
    app = AttachedApp(
        run, log_path=path.parent / "viewer.log", layout_path=Path(sys.argv[2]) if len(sys.argv) > 2 else None
    )
    status = run_live(app)
    run.close()
    app.thread.join(1)
    leave(status, app.thread.is_alive())
