"""Shapes, sums and heads worked out from a cfg; the sums are those that Darknet prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import UserError
from engine.nets.darknet.cfg import parse_cfg, read_cfg
from engine.nets.darknet.heads import heads_of, settings_of
from engine.nets.darknet.plan import make_plan
from engine.nets.darknet.spec import Convolution
from engine.nets.darknet.summary import layer_lines, summary, total_bflops

from .cfgs import NET, TINY, tiny_plan


@pytest.mark.parametrize(
    ("name", "side", "layers", "bflops", "parameters", "file_size"),
    [
        # BFLOPs as AlexeyAB's Darknet prints them ("Total BFLOPS 65.879"), sizes of pjreddie's weights
        ("yolov3", 416, 107, "65.879", 61_949_149, 248_007_048),
        ("yolov3-tiny", 416, 24, "5.571", 8_852_366, 35_434_956),
        ("yolov2-voc", 416, 32, "29.371", 50_655_389, 202_704_260),
        ("yolov2-tiny-voc", 416, 16, "6.977", 15_861_773, 63_471_556),
    ],
)
def test_the_standard_networks_are_darknets(
    shared_data: Path, name: str, side: int, layers: int, bflops: str, parameters: int, file_size: int
) -> None:
    plan = make_plan(read_cfg(shared_data / "darknet/cfg" / f"{name}.cfg"), (side, side))
    assert len(plan.layers) == layers
    assert f"{total_bflops(plan):.3f}" == bflops
    assert plan.parameters == parameters
    header = 20 if name.startswith("yolov3") else 16  # YOLOv2's were written before version 0.2
    assert header + 4 * plan.stored == file_size
    assert summary(plan) == f"{layers} layers, {parameters:,} parameters, {bflops} BFLOPs at 416 x 416"


def test_a_layers_line_is_darknets(shared_data: Path) -> None:
    lines = layer_lines(make_plan(read_cfg(shared_data / "darknet/cfg/yolov2-voc.cfg")))
    assert " ".join(lines[1].split()) == "0 conv 32 3 x 3/ 1 416 x 416 x 3 -> 416 x 416 x 32 0.299 BF"
    assert " ".join(lines[28].split()) == "27 reorg 2x 26 x 26 x 64 -> 13 x 13 x 256"
    assert " ".join(lines[29].split()) == "28 route 27 24 -> 13 x 13 x1280"


def test_heads_come_finest_first_with_anchors_in_cells() -> None:
    fine, coarse = heads_of(tiny_plan())
    assert (fine.stride, fine.layer, fine.scale_xy) == (8, 6, 1.0)
    assert (coarse.stride, coarse.layer, coarse.scale_xy) == (16, 3, 1.2)
    assert fine.anchors == ((0.5, 0.625),)
    assert coarse.anchors == ((0.5, 0.5625), (1.25, 1.875), (2.5, 3.125))


def test_a_regions_anchors_are_in_cells_already(shared_data: Path) -> None:
    plan = make_plan(read_cfg(shared_data / "darknet/cfg/yolov2-voc.cfg"))
    (head,) = heads_of(plan)
    assert head.anchors[0] == (1.3221, 1.73145)
    loss = settings_of(plan)["loss"]
    assert (loss["classes"], loss["confidence"], loss["object_scale"], loss["ignore_iou"]) == (
        "softmax", "mse", 5, 0.6,
    )  # fmt: skip


def test_new_coords_leave_the_sigmoid_to_decode() -> None:
    text = TINY.split("[route]")[0].replace("scale_x_y=1.2", "scale_x_y=2\nnew_coords=1")
    plan = make_plan(parse_cfg(text.replace("linear", "logistic")))
    before = plan.layers[2].spec
    assert isinstance(before, Convolution)
    assert before.activation == "linear"
    assert settings_of(plan)["layout"] == {"decode": "yolov5"}
    with pytest.raises(UserError, match="activation=logistic"):
        make_plan(parse_cfg(text))


def layer(text: str) -> str:
    return NET + "[convolutional]\nfilters=6\nsize=3\npad=1\nstride=2\nactivation=linear\n" + text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            layer("[route]\nlayers=-2\n"),
            r"x\.cfg:12: \[route\] layers=-2 is no layer before this one, layer 1",
        ),
        (layer("[route]\nlayers=1\n"), "layers=1 is no layer before this one, layer 1; they count from 0"),
        (layer("[route]\nlayers=0\ngroups=4\n"), "groups=4 does not divide layer 0's 6 channels"),
        (layer("[route]\nlayers=0\ngroups=2\ngroup_id=2\n"), "group_id=2 of 2 groups"),
        (layer("[max]\nsize=2\nstride=2\n[route]\nlayers=0,1\n"), "joins 32 x 48 x 6.*with 16 x 24 x 6"),
        (layer("[max]\nsize=3\nstride=3\n[shortcut]\nfrom=0\n"), "adds 32 x 48 x 6"),
        (layer("[conv]\ngroups=4\nfilters=8\nactivation=relu\n"), "groups=4 does not divide 6 channels in"),
        (layer("[conv]\nactivation=softplus\n"), "activation=softplus is not built here; built are linear"),
        (
            layer("[conv]\nsize=99\nactivation=relu\n"),
            r"x\.cfg:12: .*gives nothing: its window is larger than 32 x 48 x 6 .*; choose a smaller size",
        ),
        (layer("[max]\nsize=99\npadding=0\n"), r"x\.cfg:12: .*gives nothing: .*; choose a smaller size"),
        (layer("[conv]\nfilters=8\nnumload=4\n"), r"x\.cfg:13: .*numload=4 is not built.*only numload=8"),
        (layer("[conv]\nfilters=8\nnumload=-1\n"), "numload=-1 is not built here"),
        (layer("[reorg]\nstride=2\n"), "stride=2 does not divide 32 x 48 x 6"),
        (layer("[scale_channels]\nfrom=0\n"), "scales 32 x 48 x 6.*expected 1 x 1 x 6"),
        (layer("[dropout]\nprobability=2\n"), "probability=2"),
        (layer("[softmax]\n"), "makes a classifier of it"),
        (
            layer("[yolo]\nanchors=1,2\nclasses=3\n"),
            r"wants 8 channels.*set filters=8 in \[convolutional\], line 5",
        ),
        (layer("[yolo]\nanchors=1\n"), "1 values in anchors, expected 2 for num=1"),
        (layer("[yolo]\nmask=1\nanchors=1,2\n"), "mask names anchor 1 of 1"),
        (layer("[yolo]\nanchors=1,-2\nclasses=1\n"), "not positive"),
        (
            layer("[yolo]\nanchors=1,2\nclasses=1\n[max]\n"),
            r"reads layer 1 \(\[yolo\], line 11\), a head; put a \[route\] with layers=0 before it",
        ),
        (
            layer("[yolo]\nanchors=1,2\nclasses=1\n[route]\nlayers=-1\n"),
            r"x\.cfg:15: \[route\] reads layer 1 .*a head; name layer 0 \(\[convolutional\], line 5\) in its",
        ),
        (
            layer("[yolo]\nanchors=1,2\nclasses=1\n[cost]\n[route]\nlayers=0\n[shortcut]\nfrom=2\n"),
            r"x\.cfg:18: \[shortcut\] reads layer 2 .*; name layer 0 \(\[convolutional\], line 5\) in its",
        ),
        (
            layer("[yolo]\nanchors=1,2\nclasses=1\n[softmax]\n[cost]\n[conv]\nactivation=relu\n"),
            r"\[convolutional\] reads layer 3 \(\[cost\], line 15\), whose output is Darknet's alone",
        ),
        (layer("[yolo]\nanchors=1,2\nclasses=1\nscale_x_y=.5\n"), "at least 1"),
        (
            NET.replace("channels=3", "channels=1") + "[max]\n",
            r"x\.cfg:4: .*only pictures of 3 channels are read; write channels=3",
        ),
        (NET.replace("width=64", "") + "[max]\n", r"\[net\] has no width"),
        (layer("[net]\n"), "stands twice"),
    ],
)
def test_a_layer_that_cannot_be_is_said_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(parse_cfg(text, "x.cfg"))


HEAD = "[yolo]\nanchors=1,2\nclasses=9\n"
CONVOLUTION = r"set filters=14 in \[convolutional\], line 5$"
NEW_ONE = r"put a \[convolutional\] with filters=14 before it$"


@pytest.mark.parametrize(
    ("between", "advice"),
    [
        ("", CONVOLUTION),
        ("[route]\nlayers=-1\n", CONVOLUTION),
        ("[max]\nsize=2\nstride=2\n[upsample]\n[dropout]\n[empty]\n[route]\nlayers=-1\n", CONVOLUTION),
        ("[conv]\nfilters=6\n[shortcut]\nfrom=0\n", r"set filters=14 in \[convolutional\], line 11$"),
        ("[route]\nlayers=-1,-1\n", NEW_ONE),
        ("[route]\nlayers=0\ngroups=2\n", NEW_ONE),
        ("[reorg]\nstride=1\n", NEW_ONE),
        ("[conv]\nfilters=7\n[route]\nlayers=0\n", NEW_ONE),  # another branch reads that convolution too
    ],
)
def test_channels_that_do_not_fit_a_head_are_set_where_they_come_from(between: str, advice: str) -> None:
    with pytest.raises(UserError, match=rf"wants 14 channels.*{advice}"):
        make_plan(parse_cfg(layer(between + HEAD), "x.cfg"))


def test_a_head_on_the_picture_itself_wants_a_convolution() -> None:
    with pytest.raises(UserError, match=rf"x\.cfg:5: \[yolo\] wants 14 channels.*gets 3; {NEW_ONE}"):
        make_plan(parse_cfg(NET + HEAD, "x.cfg"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer("[max]\nstride=2147483648\n"), r"x\.cfg:12: \[maxpool\] stride=2147483648 is more than 4096"),
        (layer("[max]\nstride_x=99999999999\n"), r"x\.cfg:12: .*stride_x=99999999999 is more than 4096"),
        (layer("[max]\nsize=99999999999\n"), r"x\.cfg:12: .*size=99999999999 is more than 4096"),
        (layer("[max]\npadding=99999999999\n"), r"x\.cfg:12: .*padding=99999999999 is more than 4096"),
        (layer("[conv]\nsize=99999999999\n"), r"x\.cfg:12: \[convolutional\] size=99999999999 is more than"),
        (layer("[conv]\nsize=3\npad=1\nstride=9999999999\n"), r"x\.cfg:14: .*stride=9999999999 is more than"),
        (layer("[conv]\npadding=9999999999\n"), r"x\.cfg:12: .*padding=9999999999 is more than"),
        (layer("[conv]\nsize=3\ndilation=9999999999\n"), r"x\.cfg:13: .*dilation=9999999999 is more than"),
        (layer("[conv]\nsize=99\npad=1\ndilation=99\n"), r"x\.cfg:14: .*dilation=99 makes a window of 9703"),
        (
            layer("[conv]\nfilters=2000000000\n"),
            r"x\.cfg:12: .*filters=2000000000 is more than 500000; write filters=500000 or less",
        ),
        (layer(f"[conv]\nfilters={'9' * 300}\n"), r"x\.cfg:12: .*filters=9{20}\.\.\. is more than 500000"),
        (
            layer("[max]\nsize=48\nstride=48\n" + "[conv]\nfilters=400000\n" * 2),
            r"x\.cfg:16: .*filters=400000 of 1 x 1 on 400000 channels has 160,000,000,000 values, more than",
        ),
        (
            layer("[upsample]\nstride=4096\n[upsample]\n"),
            "an output of 131072 x 196608 x 6 has 154,618,822,656",
        ),
        (layer("[upsample]\nstride=4097\n"), "stride=4097 is more than 4096"),
        (layer(HEAD.replace("9", "99999999999")), r"x\.cfg:13: .*classes=99999999999 is more than"),
        (layer(HEAD.replace("1,2", "1,1e300")), r"x\.cfg:12: .*anchor side 1e\+300 is more than 65536"),
        (NET.replace("=64", "=6400000") + HEAD, r"x\.cfg:2: \[net\] width=6400000 is more than 65536; write"),
        (NET.replace("=96", "=6400000") + HEAD, r"x\.cfg:3: \[net\] height=6400000 is more than 65536"),
        (
            NET.replace("=64", "=65536").replace("=96", "=65536") + HEAD,
            r"x\.cfg:1: \[net\] an input of 65536 x 65536 x 3 has 12,884,901,888 values, .*choose a smaller",
        ),
    ],
)
def test_numbers_that_no_memory_holds_are_said_with_their_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(parse_cfg(text, "x.cfg"))


def test_an_input_that_a_config_asks_for_has_the_same_bounds() -> None:
    with pytest.raises(UserError, match=r"model\.input_size: \[6400000, 32\]: a side is more than 65536"):
        make_plan(parse_cfg(TINY), (6_400_000, 32))


def test_large_numbers_that_a_network_may_have_are_taken() -> None:
    text = NET.replace("=64", "=16384").replace("=96", "=16384")
    text += "[max]\nsize=512\nstride=512\n[conv]\nfilters=100000\nsize=31\npad=1\n"
    assert make_plan(parse_cfg(text)).layers[1].outside == (100_000, 32, 32)


@pytest.mark.parametrize("value", ["", "numload=0\n", "numload=8\n"])
def test_all_filters_of_a_file_are_loaded(value: str) -> None:
    plan = make_plan(parse_cfg(layer(f"[conv]\nfilters=8\n{value}")))
    assert plan.layers[1].stored == 8 + 8 * 6


@pytest.mark.parametrize("section", ["[max]\nsize=2\npadding=1\n", "[conv]\nsize=3\npad=1\n"])
@pytest.mark.parametrize(
    ("strides", "outside"),
    [
        ("stride=2\nstride_x=-1\n", (16, 24)),
        ("stride=2\nstride_y=-1\n", (16, 24)),
        ("stride=2\nstride_x=-1\nstride_y=4\n", (16, 12)),
        ("stride_x=-1\nstride_y=-1\n", (32, 48)),
    ],
)
def test_a_stride_of_minus_one_is_not_given(section: str, strides: str, outside: tuple[int, int]) -> None:
    plan = make_plan(parse_cfg(layer(section + strides)))
    assert plan.layers[1].outside[:0:-1] == outside
    with pytest.raises(UserError, match="stride_x=-2 is less than 1"):
        make_plan(parse_cfg(layer(section + "stride_x=-2\n")))


def test_a_grid_that_does_not_divide_the_input_is_refused() -> None:
    text = NET + "[conv]\nfilters=6\nsize=3\nactivation=linear\n[yolo]\nanchors=1,2\nclasses=1\n"
    with pytest.raises(UserError, match="62 x 94 cells does not divide an input of 64 x 96"):
        make_plan(parse_cfg(text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ignore_thresh=.7", "ignore_thresh=-1", r"x\.cfg:33: \[yolo\] ignore_thresh=-1 is less than 0"),
        ("ignore_thresh=.7", "obj_normalizer=-.5", r"x\.cfg:33: \[yolo\] obj_normalizer=-0\.5 is less than"),
        ("scale_x_y=1.2", "scale_x_y=inf", r"x\.cfg:32: \[yolo\] scale_x_y=inf: expected a number"),
        ("anchors=4,5", "anchors=4,nan", "anchors=nan: expected numbers"),
        ("anchors=4,5", "anchors=4,1e999", "anchors=1e999: expected numbers"),
        ("width=64", f"width={'9' * 400}", "expected a whole number"),
    ],
)
def test_numbers_that_no_training_can_use_are_said_with_their_line(old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings_of(make_plan(parse_cfg(TINY.replace(old, new), "x.cfg")))


def test_a_threshold_that_nothing_reaches_ignores_nothing() -> None:
    plan = make_plan(parse_cfg(TINY.replace("ignore_thresh=.7", "ignore_thresh=1.5")))
    assert settings_of(plan)["loss"]["ignore_iou"] == 0


def test_a_cfg_without_a_head_is_no_detector() -> None:
    with pytest.raises(UserError, match="there is no head"):
        heads_of(make_plan(parse_cfg(layer(""))))
