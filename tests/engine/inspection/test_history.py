"""A slot through time, from memory and from disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.errors import UserError
from engine.inspection.frames import Frame, built_in_decode
from engine.inspection.history import Event, Timeline, first_change, values_over_time
from engine.inspection.slots import Slot
from engine.layout import Layout
from engine.runs.snapshot_ring import SnapshotRing
from engine.runs.snapshots import Snapshot, save, snapshot_path

from .scenes import HEAD, canonical_pred, frame, snapshot

SLOT = Slot(0, 0, 1, 2, 1)


def at_step(step: int, x: float) -> Snapshot:
    pred = canonical_pred()
    pred[0, 1, 2, 1, 1] = x
    return snapshot(pred=pred, step=step)


def test_values_and_sign_over_time() -> None:
    frames = [Frame(at_step(step, x)) for step, x in [(1, 0.0), (2, 2.0), (3, 0.0), (5, -1.0), (6, 4.0)]]
    assert [(p.step, p.value) for p in values_over_time(frames, "pred.x", SLOT)] == [
        (1, 0.0),
        (2, 2.0),
        (3, 0.0),
        (5, -1.0),
        (6, 4.0),
    ]
    found = first_change(frames, SLOT, "sign", "pred.x")
    assert found == Event("sign", 5, 3, "[0, 1, 2, 1] has pred.x change sign at step 5, after step 3")
    assert first_change(frames[:3], SLOT, "sign", "pred.x") is None
    assert values_over_time(frames, "nothing", SLOT) == []
    assert values_over_time(frames, "pred.x", Slot(3, 0, 0, 0, 0)) == []


def test_when_it_turned_nan() -> None:
    frames = [Frame(at_step(1, 0.0)), Frame(at_step(2, float("nan"))), Frame(at_step(3, 1.0))]
    found = first_change(frames, SLOT, "nonfinite")
    assert found is not None
    assert (found.step, found.before) == (2, 1)
    assert first_change(frames, Slot(0, 0, 0, 0, 0), "nonfinite") is None
    already = first_change(frames[1:], SLOT, "nonfinite")
    assert already is not None
    assert already.text.endswith("at step 2, the first captured step")


def test_when_it_stopped_being_positive() -> None:
    def positive(step: int, mask: bool) -> Frame:
        made = snapshot(step=step)
        targets = made.tensors["targets.0"].clone()
        targets[0, 1, 2, 1, 0] = float(mask)
        return Frame(Snapshot(step, 1, made.layout, made.heads, {**made.tensors, "targets.0": targets}))

    frames = [positive(1, False), positive(2, True), positive(3, True), positive(4, False)]
    stopped, became = (first_change(frames, SLOT, kind) for kind in ("stops positive", "becomes positive"))
    assert stopped is not None
    assert became is not None
    assert (stopped.step, stopped.before, became.step, became.before) == (4, 3, 2, 1)
    assert first_change(frames[:1], SLOT, "stops positive") is None


def test_when_it_first_differed() -> None:
    decode = built_in_decode(Layout())
    wrong = decode(canonical_pred(), HEAD)
    wrong[0, 1, 2, 1, 0] += 0.5
    parts = [snapshot(step=1), snapshot(step=2, decoded=wrong)]
    found = first_change([Frame(part, reference_decode=decode) for part in parts], SLOT, "differs")
    assert found is not None
    assert (found.step, found.before) == (2, 1)
    assert first_change([Frame(part) for part in parts], SLOT, "differs") is None


def test_timeline_joins_memory_and_disk(tmp_path: Path) -> None:
    for step in (1, 3):
        save(at_step(step, float(step)), snapshot_path(tmp_path, step))
    ring = SnapshotRing(10**9, 4)
    for step in (3, 4):
        ring.add(at_step(step, -float(step)))
    line = Timeline(ring, tmp_path)
    assert line.steps() == [1, 3, 4]
    points = values_over_time(line.frames(), "pred.x", SLOT)
    assert [(p.step, p.value) for p in points] == [(1, 1.0), (3, -3.0), (4, -4.0)]
    save(at_step(9, 9.0), snapshot_path(tmp_path, 9))
    assert line.steps() == [1, 3, 4]
    line.refresh()
    assert line.steps() == [1, 3, 4, 9]
    assert line.frame(9) is line.frame(9)
    with pytest.raises(KeyError):
        line.frame(7)
    (tmp_path / "step-00000011.safetensors").write_bytes(b"torn")
    line.refresh()
    with pytest.raises(UserError, match="not a whole"):
        line.frame(11)


def test_timeline_keeps_few_frames_open_and_puts_the_reference_beside() -> None:
    ring = SnapshotRing(10**9, 20)
    for step in range(12):
        ring.add(at_step(step, 0.0))
    decode = built_in_decode(Layout())
    line = Timeline(ring, make_frame=lambda part: Frame(part, reference_decode=decode), kept=3)
    first = line.frame(0)
    assert first.has_reference
    assert [seen.step for seen in line.frames()] == list(range(12))
    assert line.frame(0) is not first
    assert line.frame(11) is line.frame(11)
    assert Timeline().steps() == []


def test_frames_without_targets_tell_nothing() -> None:
    seen = frame()
    bare = Frame(Snapshot(1, 1, Layout(), (HEAD,), {"pred.0": torch.zeros(2, 4, 6, 2, 8)}))
    assert first_change([bare, seen], SLOT, "becomes positive") is None
