"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from engine.files import appearing_whole, write_atomically


def test_the_old_file_stays_where_the_new_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, lambda temporary: temporary.write_text("old"))
    with pytest.raises(TypeError):
        write_atomically(path, lambda temporary: temporary.write_text("half") + "?")  # type: ignore[operator]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_with_the_file(tmp_path: Path) -> None:
    """What writing raises then names none."""
    with pytest.raises(OSError, match=r"No space left.*a\.txt"), appearing_whole(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []
