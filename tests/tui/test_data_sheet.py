"""``data check --sheet``: the sheet beside the report, and a wrong name refused before anything is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.data.images import read_image
from engine.errors import UserError
from tests.tiny_voc import write_config
from tui.commands.data import check


def test_the_sheet_is_drawn_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheet.png"
    assert check(write_config(tmp_path), [], False, sheet) == 0
    assert f"16 labelled pictures drawn to {sheet}" in capsys.readouterr().out
    assert read_image(sheet).size > 0


def test_json_stays_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(write_config(tmp_path), [], True, tmp_path / "sheet.png") == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_another_format_is_refused_before_the_audit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"is no \.png"):
        check(write_config(tmp_path), [], False, tmp_path / "sheet.jpg")
    assert capsys.readouterr().out == ""
