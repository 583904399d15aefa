"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# no test asserts a time: a busy machine draws and runs examples slowly
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

if "PYTEST_XDIST_WORKER" in os.environ:  # a core a worker: two threads each would wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def find_shared_data() -> Path | None:
    """Real data kept beside the repository, or where YOLOTUI_SHARED_DATA says."""
    named = os.environ.get("YOLOTUI_SHARED_DATA")
    beside = [folder / "shared" / "data" for folder in Path(__file__).resolve().parents[2:5]]
    folders = [Path(named)] if named else beside
    return next((folder for folder in folders if folder.is_dir()), None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = find_shared_data()
    if folder is None:
        pytest.skip("needs the real data sets in ../shared/data (or YOLOTUI_SHARED_DATA)")
    return folder
