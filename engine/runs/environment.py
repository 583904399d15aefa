"""What a run ran on: versions, machine, git commit. Never imports torch to ask for its version."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from importlib import metadata

PACKAGES = ("yolotui", "torch", "numpy", "opencv-python-headless", "textual", "safetensors")


def environment(device: str = "") -> dict[str, str]:
    """Names and values for the run's record; what cannot be found out is left out."""
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "host": socket.gethostname(),
        "cpus": str(os.cpu_count() or 0),
        "folder": os.getcwd(),
        "command": " ".join(sys.argv),
    }
    if device:
        found["device"] = device
    for package in PACKAGES:
        version = _version(package)
        if version:
            found[package] = version
    commit = _git("rev-parse", "HEAD")
    if commit:
        found["git_commit"] = commit
        found["git_changed"] = "yes" if _git("status", "--porcelain", "--untracked-files=no") else "no"
    return found


def _version(package: str) -> str:
    # The loaded module knows its build (2.9.0+cu128), the installed metadata often does not.
    loaded = getattr(sys.modules.get(package), "__version__", None)
    if loaded:
        return str(loaded)
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],
            capture_output=True,
            text=True,
            timeout=3,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
