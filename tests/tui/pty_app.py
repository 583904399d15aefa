"""Run as a program in a pseudo-terminal: the live view (or the headless log) on the scripted training."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fake_training import FakeTraining


def make_noise() -> None:
    """What a native library does: past Python, straight to the file numbers."""
    os.write(2, b"native noise on stderr\n")
    os.write(1, b"and stdout\n")


def main() -> None:
    folder = Path(sys.argv[1])
    options = json.loads(sys.argv[2])
    mode = options.pop("mode", "live")
    end_file = options.pop("end_file", "")
    fake = FakeTraining(folder, **options)
    if mode == "headless":
        from tui.headless import train_headless

        status = train_headless(fake, folder, folder / "log.txt", 10.0)
        if end_file:
            Path(end_file).write_text("stopped" if fake.control.stopping else "ended")
        raise SystemExit(status)
    from tui.app import LiveApp
    from tui.terminal import leave, run_live

    app = LiveApp(fake, folder)
    if mode == "native-noise":
        threading.Timer(1.0, make_noise).start()
    if mode == "view-crash":
        threading.Timer(1.0, lambda: app.call_later(lambda: 1 / 0)).start()
    status = run_live(app)
    leave(status, app.thread.is_alive())


if __name__ == "__main__":
    main()
