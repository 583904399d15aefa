"""What leaves the inspector can be read back."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UserError
from engine.inspection.cell import cell_table
from engine.inspection.export import (
    number_text,
    result_text,
    row_text,
    save_cell_csv,
    save_csv,
    save_npy,
    table_text,
)
from engine.inspection.expression import evaluate
from engine.inspection.slots import Slot
from engine.layout import Layout

from .scenes import POSITIVES, canonical_pred, frame

SLOT = Slot(0, 0, 1, 2, 1)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_npy_is_bit_exact(tmp_path: Path) -> None:
    pred = canonical_pred()
    pred[0, 0, 0, 0, 0] = float("nan")
    result = evaluate("pred[..., 0:4]", frame(pred=pred))
    written = save_npy(result, tmp_path / "new" / "slice")
    assert written == tmp_path / "new" / "slice.npy"
    back = np.load(written, allow_pickle=False)
    assert back.tobytes() == pred[..., 0:4].contiguous().numpy().tobytes()
    assert back.shape == result.shape


def test_csv_has_index_columns_and_channel_names(tmp_path: Path) -> None:
    save_csv(evaluate("pred[:, 1:3, 2, :, 1:5]", frame()), tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        header, *lines = list(csv.reader(file))
    assert header == ["image", "row", "anchor", "x", "y", "w", "h"]
    assert len(lines) == 8
    pred = canonical_pred().numpy()
    for line in lines:
        b, y, a = (int(text) for text in line[:3])
        assert [np.float32(text) for text in line[3:]] == pred[b, y, 2, a, 1:5].tolist()


def test_csv_of_chosen_slots_and_of_a_single_number(tmp_path: Path) -> None:
    rows = read(save_csv(evaluate("pred.w where mask > 0", frame()), tmp_path / "w"))
    assert [tuple(int(row[key]) for key in ("image", "row", "column", "anchor")) for row in rows] == list(
        POSITIVES
    )
    assert [np.float32(row["value"]) for row in rows] == [
        canonical_pred()[(*at, 3)].item() for at in POSITIVES
    ]
    (row,) = read(save_csv(evaluate("count(mask > 0)", frame()), tmp_path / "n.csv"))
    assert row == {"value": "3"}


def test_csv_of_a_merged_axis_keeps_anchor_and_channel(tmp_path: Path) -> None:
    rows = read(
        save_csv(evaluate("pred[0, 6:10, 1, 2]", frame(Layout(order="b (a c) y x"))), tmp_path / "m.csv")
    )
    assert [(row["anchor"], row["channel"]) for row in rows] == [
        ("0", "class1"),
        ("0", "class2"),
        ("1", "conf"),
        ("1", "x"),
    ]


def test_cells_as_text_and_file(tmp_path: Path) -> None:
    table = cell_table(frame(), SLOT)
    lines = table_text(table).splitlines()
    assert len(lines) == 9
    assert lines[0].startswith("index\tname\ttarget")
    assert lines[1] == row_text(table.rows[0])
    assert lines[4].startswith("pred[0, 1, 2, 1, 3]\tw\t0.3\t")
    rows = read(save_cell_csv(table, tmp_path / "cell.csv"))
    assert [row["name"] for row in rows] == [row.name for row in table.rows]
    assert float(rows[3]["pred"]) == pytest.approx(table.rows[3].pred)


def test_slices_as_text() -> None:
    seen = frame()
    assert result_text(evaluate("2 + 0.5", seen)) == "2.5"
    text = result_text(evaluate("targets[0, 1:3, 2, 1, 0:2]", seen))
    assert text == "\tmask\tclass\n1\t1.0\t1.0\n2\t0.0\t0.0"
    assert number_text(None) == ""
    assert number_text(float(np.float32(0.1))) == "0.1"
    assert number_text(0.1) == "0.1"
    assert number_text(float("nan")) == "nan"


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(UserError, match="cannot be written"):
        save_npy(evaluate("pred", frame()), tmp_path / "file" / "below.npy")
