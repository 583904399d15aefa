"""Makes the helpers beside these tests, and the engine's known steps, importable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
for folder in (FOLDER, FOLDER.parents[1] / "engine" / "inspection"):
    sys.path.insert(0, str(folder))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
