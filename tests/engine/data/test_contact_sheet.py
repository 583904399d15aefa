"""The contact sheet: what stands on it, what comes first, and that it is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.config import load_config
from engine.data.contact_sheet import CAPTION, TILE, choose, contact_sheet, write_sheet
from engine.data.drawing import class_colour
from engine.data.images import read_image
from engine.data.opening import open_split
from engine.errors import UserError
from engine.letterbox import Letterbox
from tests.tiny_voc import write_config


def test_every_tile_shows_its_truths_where_the_letterbox_puts_them(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path))
    train = open_split(config.data, "train")
    sheet = contact_sheet([(train, sample) for sample in train.samples[:5]])
    assert sheet.shape == (2 * (TILE[1] + CAPTION), 4 * TILE[0], 3)
    sample = train.samples[4]  # the first of the second row
    box = Letterbox.fit((sample.width, sample.height), TILE).boxes_to_input(sample.boxes)[-1]
    tile = sheet[TILE[1] + CAPTION :, : TILE[0]]
    x, y = round(float(box[0])), round(float(box[1] + box[3]) / 2)
    assert tuple(tile[y, x]) == class_colour(int(sample.labels[-1]))
    assert (sheet[TILE[1] + CAPTION :, TILE[0] :] == sheet[-1, -1]).all(), "no tile, plain paper"


def test_pictures_with_problems_come_first_and_none_twice(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path))
    train = open_split(config.data, "train")
    marked = {str(train.samples[k].path) for k in (7, 11)}
    chosen = [sample for _, sample in choose([train], 6, marked)]
    assert [sample.image_id for sample in chosen[:2]] == ["007", "011"]
    assert len({sample.image_id for sample in chosen}) == 6


def test_the_sheet_is_one_png_and_a_cut_off_picture_does_not_stop_it(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path))
    picture = tmp_path / "voc/JPEGImages/002.jpg"
    picture.write_bytes(picture.read_bytes()[:-100])
    path = tmp_path / "out/sheet.png"
    assert write_sheet(path, config.data) == 16
    assert read_image(path).shape == (4 * (TILE[1] + CAPTION), 4 * TILE[0], 3)
    assert [item.name for item in path.parent.iterdir()] == ["sheet.png"]
    assert np.ptp(read_image(path)) > 100


def test_another_format_and_an_unwritable_place_are_refused(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path))
    with pytest.raises(UserError, match=r"is no \.png"):
        write_sheet(tmp_path / "sheet.jpg", config.data)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_sheet(tmp_path / "file" / "sheet.png", config.data)
