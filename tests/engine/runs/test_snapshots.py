"""Snapshots come back bit by bit, foreign dumps are read as declared, the ring keeps its bounds."""

from __future__ import annotations

import json
import math
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from engine.errors import UserError
from engine.layout import Head, Layout
from engine.runs.declared_axes import axis_sizes, order_groups, raw_index, slot_groups, slot_map, split_index
from engine.runs.foreign_tensors import read_foreign
from engine.runs.snapshot_ring import SnapshotRing
from engine.runs.snapshots import (
    CodePlace,
    Snapshot,
    find_misfit,
    list_snapshots,
    load,
    make_snapshot,
    save,
    snapshot_path,
)

ORDERS = ["b y x a c", "b a y x c", "b a c y x", "b (a c) y x", "b (c a) y x", "b (y x) a c", "b (y x a) c"]
HEADS = [
    Head(2, 3, 32, torch.tensor([[1.0, 2.0], [3.5, 0.1]]), 3),
    Head(4, 6, 16, torch.tensor([[0.7, 0.3], [1.0, 1.0]]), 3),
]


def full(layout: Layout, step: int = 41, batch: int = 2) -> Snapshot:
    """Every part there is, with numbers that no copy would get right by chance."""
    torch.manual_seed(step)
    pred, targets, decoded, grad, maps = [], [], [], [], []
    for head in HEADS:
        slots = (batch, head.grid_h, head.grid_w, head.anchor_count)
        canonical = torch.randn(*slots, 5 + head.classes)
        canonical[0, 0, 0, 0, 0], canonical[0, 0, 0, 0, 1] = float("nan"), float("-inf")
        pred.append(layout.write_pred(canonical, head))
        grad.append(layout.write_pred(torch.randn(*slots, 5 + head.classes), head))
        targets.append(torch.rand(layout.target_shape(batch, head)))
        decoded.append(layout.from_canonical_axes(torch.rand(*slots, 4)))
        maps.append(torch.rand(slots))
    return make_snapshot(
        step=step,
        epoch=3,
        layout=layout,
        heads=HEADS,
        pred=pred,
        targets=targets,
        decoded=decoded,
        grad=grad,
        maps={"lbox": maps, "lobj": [values * 2 for values in maps]},
        images=torch.randint(0, 256, (batch, 3, 64, 96), dtype=torch.uint8),
        boxes=[torch.rand(2, 4), torch.rand(0, 4)],
        labels=[torch.tensor([2, 0]), torch.zeros(0, dtype=torch.int64)],
        reason="spike of lbox",
        terms={"lbox": 0.1, "lobj": float("nan"), "total": float("inf")},
        classes=("cat", "dög", "bird"),
        paths=("/data/a.jpg", "/data/b c.jpg"),
        functions={"decode": CodePlace("/home/me/my.py", 41, "ab12")},
        profile={"box": "mse", "total": ["lbox"]},
        versions={"torch": "2.13.0"},
    )


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and one.contiguous().numpy().tobytes() == other.contiguous().numpy().tobytes()
    )


@pytest.mark.parametrize("order", ORDERS)
def test_round_trip_is_bit_exact(order: str, tmp_path: Path) -> None:
    layout = Layout(
        order=order, pred=("x", "y", "w", "h", "conf", "class*"), target_xy="cell", target_wh="grid"
    )
    before = full(layout)
    save(before, tmp_path / "s.safetensors")
    after = load(tmp_path / "s.safetensors")
    assert set(after.tensors) == set(before.tensors)
    assert all(same_bits(before.tensors[name], after.tensors[name]) for name in before.tensors)
    for name in ("step", "epoch", "layout", "reason", "classes", "paths", "functions", "profile", "versions"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.terms["lbox"] == 0.1
    assert math.isnan(after.terms["lobj"])
    assert after.terms["total"] == math.inf
    for one, other in zip(before.heads, after.heads, strict=True):
        assert (one.grid_h, one.grid_w, one.stride, one.classes) == (
            other.grid_h,
            other.grid_w,
            other.stride,
            other.classes,
        )
        assert same_bits(one.anchors, other.anchors)
    assert after.batch == 2
    assert after.map_terms == ("lbox", "lobj")
    assert str(after.functions["decode"]) == "my.py:41"


def test_half_precision_and_shared_memory_survive(tmp_path: Path) -> None:
    layout, head = Layout(), HEADS[0]
    pred = torch.randn(1, 2, 3, 2, 8).to(torch.bfloat16)
    whole = torch.randn(2, 2, 3, 2, 8)
    parts = make_snapshot(
        step=1,
        epoch=1,
        layout=layout,
        heads=[head],
        pred=[pred],
        grad=[whole[:1]],
        decoded=[whole[:1, ..., :4]],
    )
    save(parts, tmp_path / "s.safetensors")
    after = load(tmp_path / "s.safetensors")
    assert torch.equal(after.tensors["pred.0"], pred)
    assert torch.equal(after.tensors["grad.0"], whole[:1])
    assert torch.equal(after.tensors["decoded.0"], whole[:1, ..., :4])
    assert (tmp_path / "s.safetensors").stat().st_size < 4000  # a view is stored, not what it looks into


def test_absent_parts_stay_absent(tmp_path: Path) -> None:
    head = HEADS[0]
    save(
        make_snapshot(step=7, epoch=1, layout=Layout(), heads=[head], pred=[torch.zeros(3, 2, 3, 2, 8)]),
        tmp_path / "s.safetensors",
    )
    after = load(tmp_path / "s.safetensors")
    assert (after.tensor("grad", 0), after.tensor("images"), after.map_terms) == (None, None, ())
    assert after.batch == 3


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.safetensors"
    save(full(Layout(), step=1), path)

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save(full(Layout(), step=2), path)
    monkeypatch.undo()
    assert load(path).step == 1
    assert list(tmp_path.iterdir()) == [path]


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"pred\.0.*\[1, 3, 2, 2, 8\].*\[1, 2, 3, 2, 8\]"):
        make_snapshot(step=1, epoch=1, layout=Layout(), heads=HEADS[:1], pred=[torch.zeros(1, 3, 2, 2, 8)])
    with pytest.raises(ValueError, match=r"grad\.1 is missing"):
        make_snapshot(step=1, epoch=1, layout=Layout(), heads=HEADS, grad=[torch.zeros(1, 2, 3, 2, 8)])
    with pytest.raises(ValueError, match="batch sizes differ"):
        make_snapshot(
            step=1,
            epoch=1,
            layout=Layout(),
            heads=HEADS[:1],
            pred=[torch.zeros(1, 2, 3, 2, 8)],
            decoded=[torch.zeros(2, 2, 3, 2, 4)],
        )


def test_broken_files_say_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    with pytest.raises(UserError, match="no such file"):
        load(path)
    path.write_bytes(b"GIF89a, an image")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load(path)
    save(full(Layout()), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="is no snapshot, it holds weight"):
        load(path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"version": 99}, "version 99"),
        ({"heads": [{"grid_h": 2}]}, "broken metadata"),
        ({"layout": {"order": "b y x a c"}}, "broken metadata"),
        ({"step": "soon"}, "broken metadata"),
        ({"terms": 3}, "broken metadata"),
    ],
)
def test_metadata_that_lies_is_refused(change: dict[str, object], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    save(full(Layout()), path)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as handle:
        about = json.loads(handle.metadata()["yolotui"])
        tensors = {name: handle.get_tensor(name).clone() for name in handle.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={"yolotui": json.dumps({**about, **change})})
    with pytest.raises(UserError, match=complaint):
        load(path)


def test_a_layout_that_its_tensors_do_not_have_is_refused(tmp_path: Path) -> None:
    snapshot = full(Layout())
    lied = Snapshot(1, 1, Layout(order="b a y x c"), snapshot.heads, snapshot.tensors)
    assert "pred.0" in find_misfit(lied)
    save(lied, tmp_path / "s.safetensors")
    with pytest.raises(UserError, match="does not fit its own layout"):
        load(tmp_path / "s.safetensors")


def test_listing_reads_names_alone(tmp_path: Path) -> None:
    for step in (20, 3, 100_000_000):
        snapshot_path(tmp_path, step).write_bytes(b"")
    (tmp_path / "step-x.safetensors").write_bytes(b"")
    assert [step for step, _ in list_snapshots(tmp_path)] == [3, 20, 100_000_000]
    assert list_snapshots(tmp_path / "absent") == []


# somebody else's dump


def dump(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("form", ["pred.{}", "pred_{}", "pred{}", "predictions_{}"])
def test_foreign_heads_by_any_name(form: str, tmp_path: Path) -> None:
    layout = Layout(order="b (a c) y x")
    parts = [np.random.default_rng(k).normal(size=layout.pred_shape(2, head)) for k, head in enumerate(HEADS)]
    path = dump(tmp_path / "d.npz", **{form.format(k): part for k, part in enumerate(parts)})
    read = read_foreign(path, layout, HEADS)
    for k, part in enumerate(parts):
        assert np.array_equal(read.tensors[f"pred.{k}"].numpy(), part)


def test_foreign_single_head_with_maps_and_odd_arrays(tmp_path: Path) -> None:
    layout, head = Layout(order="b a y x c"), HEADS[0]
    big_endian = np.arange(2 * 2 * 2 * 3 * 4, dtype=">f4").reshape(2, 2, 2, 3, 4)
    lbox = np.random.default_rng(0).random((2, 2, 2, 3))  # b a y x
    path = dump(tmp_path / "d.npz", decoded=big_endian, loss_lbox=lbox, epoch_counter=np.array(3))
    read = read_foreign(path, layout, [head], ["a", "b", "c"])
    assert np.array_equal(read.tensors["decoded.0"].numpy(), big_endian)
    assert np.array_equal(read.tensors["loss.lbox.0"].numpy(), lbox.transpose(0, 2, 3, 1))
    assert "epoch_counter" in read.reason
    save_file({"target": torch.zeros(2, 2, 2, 3, 8)}, tmp_path / "d.safetensors")
    assert read_foreign(tmp_path / "d.safetensors", layout, [head]).tensors.keys() == {"targets.0"}
    maps_alone = read_foreign(dump(tmp_path / "m.npz", loss_lbox=lbox), layout, [head])
    assert maps_alone.batch == 2


def test_own_snapshot_as_foreign_is_read_by_its_own_layout(tmp_path: Path) -> None:
    save(full(Layout(order="b a y x c")), tmp_path / "s.safetensors")
    assert read_foreign(tmp_path / "s.safetensors", Layout(), HEADS).layout.order == "b a y x c"


def test_foreign_files_that_do_not_fit(tmp_path: Path) -> None:
    layout, heads = Layout(), HEADS[:1]
    cases = {
        "holds a, b, none of them pred": dump(tmp_path / "1.npz", a=np.zeros(2), b=np.zeros(2)),
        r"pred\.0.*\[1, 5\].*order 'b y x a c'": dump(tmp_path / "2.npz", pred=np.zeros((1, 5))),
        "pred for head 1": dump(tmp_path / "3.npz", pred1=np.zeros((1, 2, 3, 2, 8))),
        "pred holds <U2": dump(tmp_path / "4.npz", pred=np.array(["ab"])),
        "no such file": tmp_path / "absent.npz",
    }
    (tmp_path / "5.npz").write_bytes(b"no zip at all")
    cases["cannot be read as .npz"] = tmp_path / "5.npz"
    (tmp_path / "6.pt").write_bytes(b"")
    cases["neither .npz nor .safetensors"] = tmp_path / "6.pt"
    for complaint, path in cases.items():
        with pytest.raises(UserError, match=complaint):
            read_foreign(path, layout, heads)


def test_foreign_pickles_are_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(tmp_path / "sprung"),))

    np.savez(tmp_path / "d.npz", pred=np.array([Trap()], dtype=object))
    assert b"sprung" in pickle.dumps(Trap())
    with pytest.raises(UserError, match=r"cannot be read as \.npz"):
        read_foreign(tmp_path / "d.npz", Layout(), HEADS[:1])
    assert not (tmp_path / "sprung").exists()


# the ring


def small(step: int, size: int = 100) -> Snapshot:
    return Snapshot(step, 1, Layout(), (), {"boxes.0": torch.zeros(size, dtype=torch.uint8)})


def test_ring_keeps_the_last_by_count() -> None:
    ring = SnapshotRing(10_000, 3)
    assert all(ring.add(small(step)) for step in range(5))
    assert ring.steps() == [2, 3, 4]
    assert (len(ring), ring.nbytes) == (3, 300)
    assert ring.get(1) is None
    kept = ring.get(4)
    assert kept is not None
    assert kept.step == 4


def test_ring_refuses_what_alone_is_too_large_and_replaces_a_step() -> None:
    ring = SnapshotRing(250, 10)
    assert not ring.add(small(1, 251))
    assert len(ring) == 0
    ring.add(small(2))
    ring.add(small(2, 150))
    assert (ring.steps(), ring.nbytes) == ([2], 150)


@given(
    st.integers(1, 500),
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 300)), max_size=30),
)
def test_ring_never_breaks_its_bounds(budget: int, count: int, steps: list[tuple[int, int]]) -> None:
    ring = SnapshotRing(budget, count)
    for step, size in steps:
        kept = ring.add(small(step, size))
        assert kept == (size <= budget)
        assert ring.nbytes == sum(snapshot.nbytes for snapshot in ring.snapshots()) <= budget
        assert len(ring) <= count
        assert not kept or ring.steps()[-1] == step


def test_ring_counts_shared_storage_once_and_views_whole() -> None:
    whole = torch.zeros(1000, dtype=torch.uint8)
    views = Snapshot(1, 1, Layout(), (), {"boxes.0": whole[:10], "boxes.1": whole[10:20]})
    assert views.nbytes == 1000


def test_ring_is_read_while_written() -> None:
    ring = SnapshotRing(2_000, 20)
    done, wrong = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            for step in ring.steps():
                snapshot = ring.get(step)
                if snapshot is not None and snapshot.step != step:
                    wrong.append(step)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for step in range(2_000):
        ring.add(small(step))
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert ring.steps() == list(range(1980, 2000))


# declared axes


@given(st.sampled_from(ORDERS), st.data())
def test_raw_index_points_at_the_slot(order: str, data: st.DataObject) -> None:
    head, layout = HEADS[0], Layout(order=order)
    sizes = axis_sizes(head, 2, 8)
    at = {axis: data.draw(st.integers(0, sizes[axis] - 1)) for axis in "byxac"}
    canonical = torch.arange(2 * 2 * 3 * 2 * 8).view(2, 2, 3, 2, 8)
    declared = layout.from_canonical_axes(canonical)
    index = raw_index(order, sizes, at)
    assert declared[index] == canonical[tuple(at[axis] for axis in "byxac")]
    assert split_index(order, sizes, index) == at


@pytest.mark.parametrize("order", ORDERS)
def test_slot_maps_in_any_declared_form(order: str) -> None:
    layout, head = Layout(order=order), HEADS[0]
    canonical = torch.rand(2, 2, 3, 2)
    with_one = layout.from_canonical_axes(canonical.unsqueeze(-1))
    assert torch.equal(slot_map(with_one, layout, head), canonical)
    if "(" not in order:
        assert torch.equal(slot_map(with_one.squeeze(order.split().index("c")), layout, head), canonical)
    if order == "b y x a c":
        assert torch.equal(slot_map(canonical, layout, head), canonical)
    with pytest.raises(ValueError, match="one value a slot"):
        slot_map(torch.rand(5), layout, head)


def test_order_groups() -> None:
    assert order_groups("b (a c) y x") == (("b",), ("a", "c"), ("y",), ("x",))
    assert slot_groups("b (a c) y x") == (("b",), ("a",), ("y",), ("x",))
    assert slot_groups("b y x a c") == (("b",), ("y",), ("x",), ("a",))
