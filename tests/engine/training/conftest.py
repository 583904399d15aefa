from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import tiny_voc


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config of the tiny VOC set: three epochs of three steps."""
    return tiny_voc.write_config(tmp_path_factory.mktemp("tiny"))
