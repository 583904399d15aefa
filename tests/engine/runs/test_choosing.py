from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.errors import UserError
from engine.runs.choosing import chosen_run
from engine.runs.folder import claim_free

SOURCE = Path("configs/demo.toml")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_of_many_that_begin_together_each_has_its_own() -> None:
    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(lambda _: claim_free("runs", "demo"), range(48)))
    assert len(set(made)) == 48
    assert {path.name for path in made} == {f"demo-{k}" for k in range(1, 49)}


def test_what_was_not_used_is_given_back() -> None:
    with chosen_run(SOURCE, None, False) as chosen:
        assert chosen.is_dir()
    assert not chosen.exists()
    with pytest.raises(UserError, match="no data"), chosen_run(SOURCE, None, False):
        raise UserError("no data")
    assert not chosen.exists()
    with chosen_run(SOURCE, None, False) as again:
        assert again == chosen
        (again / "run.db").touch()
    assert again.is_dir()
    with chosen_run(SOURCE, None, False) as other:
        assert other.name == "demo-2"


def test_a_folder_that_is_named_is_neither_made_nor_taken_away(tmp_path: Path) -> None:
    named = tmp_path / "mine"
    with chosen_run(SOURCE, named, False) as chosen:
        assert chosen == named
    assert not named.exists()
    named.mkdir()
    with chosen_run(SOURCE, named, False):
        pass
    assert named.is_dir()


def test_where_no_folder_can_be_made_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(UserError, match="cannot be made"), chosen_run(SOURCE, None, False):
        pass
