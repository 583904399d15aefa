"""Reading a cfg: as Darknet reads it, and with the line where Darknet would go on in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UserError
from engine.nets.darknet.cfg import parse_cfg, read_cfg
from engine.nets.darknet.vocabulary import NOT_BUILT, OPTIONS


def test_blanks_comments_and_aliases() -> None:
    text = "[net]\n width = 32 \nheight=32\n# size=9\n;x\n\n[conv]\nfilters = 3 0 # inline\nsize=3\nsize=5\n"
    cfg = parse_cfg(text)
    (layer,) = cfg.layers
    assert (layer.name, layer.line) == ("convolutional", 7)
    assert layer.whole("filters") == 30
    assert layer.whole("size") == 3, "of an option that stands twice Darknet takes the first"
    assert cfg.net.whole("width") == 32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"x\.cfg:1: does not begin with \[net\]"),
        ("[convolutional]\nsize=3\n", r"x\.cfg:1: does not begin with \[net\]"),
        ("width=3\n[net]\n", r"x\.cfg:1: 'width=3' stands before any section"),
        ("[net]\nwidth=3\n", "holds no layer"),
        (
            "[net]\n[convolutonal]\n",
            r"x\.cfg:2: unknown section \[convolutonal\]; did you mean 'convolutional'",
        ),
        ("[net]\n[connected]\n", r"x\.cfg:2: \[connected\] is a layer of Darknet's that is not built here"),
        (
            "[net]\n[max]\nstrid=2\n",
            r"x\.cfg:3: unknown option 'strid' in \[maxpool\]; did you mean 'stride'",
        ),
        ("[net]\n[max]\nstride\n", r"x\.cfg:3: 'stride' is not option=value"),
        ("[net]\n[max\n", r"x\.cfg:2: '\[max' is no section"),
        (
            "[net]\n[conv]\n\nxnor=1\n",
            r"x\.cfg:4: \[convolutional\] xnor=1 is not built here; only xnor=0 is",
        ),
        ("[net]\n[shortcut]\nweights_type=per_feature\n", "only weights_type=none is"),
        ("[net]\n[conv]\ncoordconv=1\n", r"x\.cfg:3: .*coordconv=1 is not built here; only coordconv=0 is"),
        ("[net]\n[max]\nmaxpool_zero_nonmax=1\n", r"x\.cfg:3: .*; only maxpool_zero_nonmax=0 is"),
        ("[net]\n[conv]\nxnor=\uff10\n", "only xnor=0 is"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_cfg(text, "x.cfg")


@pytest.mark.parametrize(
    "text",
    [
        "[net]\nmax_ratio=2\nmin_ratio=.5\nrandom=1\n[conv]\n",
        "[net]\n[conv]\ntruth=1\ndontsave=1\n[max]\ntruth=0\n",
        "[net]\n[conv]\ncoordconv=0\nxnor=0.0\n[max]\nmaxpool_zero_nonmax=0\n",
    ],
)
def test_options_of_darknets_that_change_no_inference_are_passed_over(text: str) -> None:
    assert parse_cfg(text).layers


@pytest.mark.parametrize(
    "key", ["filters=many", "filters=2.5", "filters=1_0", "filters=\uff11\uff12", "filters="]
)
def test_a_value_of_another_kind_is_named_when_it_is_read(key: str) -> None:
    cfg = parse_cfg(f"[net]\n[conv]\n{key}\n", "x.cfg")
    with pytest.raises(UserError, match=r"x\.cfg:3.*expected a whole number"):
        cfg.layers[0].whole("filters", 1)


@pytest.mark.parametrize(
    ("written", "value"), [("7", 7), ("-7.", -7), ("+.5", 0.5), ("1e-3", 0.001), ("2.5E+1", 25)]
)
def test_numbers_are_read_as_c_writes_them(written: str, value: float) -> None:
    assert parse_cfg(f"[net]\n[dropout]\nprobability={written}\n").layers[0].number("probability") == value


@pytest.mark.parametrize("written", ["1_0.5", "\u0661.5", "0x1p3", "infinity", "1e", "."])
def test_what_python_alone_takes_for_a_number_is_none(written: str) -> None:
    layer = parse_cfg(f"[net]\n[dropout]\nprobability={written}\n", "x.cfg").layers[0]
    with pytest.raises(UserError, match=r"x\.cfg:3.*expected a number"):
        layer.number("probability")


def test_a_list_that_is_empty_is_said_with_what_it_holds() -> None:
    layer = parse_cfg("[net]\n[route]\nlayers=\n", "x.cfg").layers[0]
    with pytest.raises(UserError, match=r"x\.cfg:3: .*layers is empty; write whole numbers"):
        layer.wholes("layers")


def test_options_that_are_refused_are_options() -> None:
    for section, options in NOT_BUILT.items():
        for option in options:
            assert option in OPTIONS[section] or option.startswith("dontload")


@given(st.text(max_size=200))
def test_any_text_is_a_cfg_or_one_line_of_complaint(text: str) -> None:
    said = ""
    try:
        assert parse_cfg("[net]\n" + text).layers
    except UserError as error:
        said = str(error)
    assert "\n" not in said


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.cfg").write_bytes(b"[net]\0\xff\xd8")
    with pytest.raises(UserError, match="is no text"):
        read_cfg(tmp_path / "x.cfg")
    with pytest.raises(UserError, match="cannot be read"):
        read_cfg(tmp_path / "none.cfg")
