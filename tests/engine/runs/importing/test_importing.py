"""Logs written here: forms, encodings, restarts, what is not finite, what is no log."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import UserError
from engine.runs.importing import Imported, import_log
from engine.runs.importing.rates import Rate, warm_up
from engine.runs.importing.sums import SumSearch
from engine.runs.importing.values import Printed, printed
from engine.runs.store import RunFolder, RunReader

LINES = "".join(
    f"epoch {e}/10, iter {i}/50, lr 0.001, loss={9 / e + i:.3f}, lbox={9 / e:.3f}, lcls={i:.3f}\n"
    for e in range(1, 11)
    for i in (25, 50)
)


def imported(tmp_path: Path, text: str | bytes, name: str = "log.txt") -> Imported:
    source = tmp_path / name
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    return import_log(source, root=tmp_path / "runs")


@pytest.mark.parametrize(
    "data",
    [
        LINES.encode(),
        LINES.replace("\n", "\r\n").encode(),
        LINES.encode("utf-8-sig"),
        LINES.encode("utf-16"),
        LINES.encode("utf-16-le"),
        gzip.compress(LINES.encode()),
        LINES.replace("loss", "\x1b[31mloss\x1b[0m").encode(),
        LINES.rstrip("\n").encode(),
        b"prose\n\xff\xfe\x81 bytes\n" + LINES.encode(),
    ],
    ids=["plain", "crlf", "bom", "utf16", "utf16 without a mark", "gz", "colours", "no last break", "bytes"],
)
def test_the_same_log_in_any_dress(data: bytes, tmp_path: Path) -> None:
    done = imported(tmp_path, data)
    assert len(done.epochs) == 10
    assert all(epoch["complete"] for epoch in done.epochs)
    assert done.epochs[-1]["lbox"] == 0.9
    assert done.unread == (2 if data.startswith(b"prose") else 0)


def test_a_rewritten_line_gives_every_state_and_its_last_counts(tmp_path: Path) -> None:
    bars = (
        f"\rEpoch 1: {n}%|# | {n}/100 [00:{n:02}<00:10, 1.00it/s, loss={100 - n}.0]" for n in range(1, 50)
    )
    done = imported(tmp_path, "".join(bars) + "\n")
    assert done.epochs[0] | {"mean": 0} == done.epochs[0] | {"mean": 0, "points": 49, "loss": 51.0}
    assert not done.epochs[0]["complete"]
    with RunReader(RunFolder.open(done.run)) as reader:
        assert reader.step_count() == 49


def test_a_resumed_training_is_one_run_whose_steps_are_the_later_ones(tmp_path: Path) -> None:
    rows = LINES.splitlines(keepends=True)
    again = [row.replace("lr 0.001", "lr 0.002") for row in rows[6:]]
    done = imported(tmp_path, "".join([*rows[:9], "killed\n", *again]))
    assert (done.restarts, len(done.runs), done.unread) == ([11], 1, 1)
    assert [epoch["epoch"] for epoch in done.epochs] == list(range(1, 11))
    with RunReader(RunFolder.open(done.run)) as reader:
        steps = reader.new_steps(0)
        assert [step.step for step in steps] == list(range(25, 501, 25))
        assert [step.lr for step in steps] == [0.001] * 6 + [0.002] * 14
        assert [epoch.epoch for epoch in reader.epochs()] == list(range(1, 11))


def test_a_training_that_begins_anew_is_a_run_of_its_own(tmp_path: Path) -> None:
    rows = LINES.splitlines(keepends=True)
    done = imported(tmp_path, "".join(rows[:5] + rows))
    assert (done.restarts, [r.training for r in done.runs]) == ([6], [1, 2])
    assert [epoch["training"] for epoch in done.epochs] == [1] * 3 + [2] * 10
    with RunReader(RunFolder.open(done.run)) as reader:  # the longer one
        assert len(reader.epochs()) == 10


def test_the_first_value_not_finite_is_named(tmp_path: Path) -> None:
    text = "".join(f"step {n} loss: {'-nan' if n > 40 else 5 / n}\n" for n in range(1, 60))
    (finding,) = [c for c in imported(tmp_path, text).findings if c.probe == "log.not_finite"]
    assert finding.line == 41
    assert "no finite value follows" in finding.message


@pytest.mark.parametrize("data", [b"", b"\n\n", b"Dear diary: x=3\n" * 9, bytes(range(256)) * 9])
def test_what_is_no_log_leaves_nothing_behind(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        imported(tmp_path, data)
    assert not (tmp_path / "runs").exists()


def test_a_taken_folder_is_left_alone(tmp_path: Path) -> None:
    done = imported(tmp_path, LINES)
    with pytest.raises(UserError, match="holds a run already"):
        import_log(tmp_path / "log.txt", done.run)


def test_reading_logs_does_not_pay_for_torch() -> None:
    code = "import sys, engine.runs.importing; print([n for n in ('torch', 'cv2') if n in sys.modules])"
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


values = st.lists(
    st.tuples(*[st.floats(0.01, 900, allow_nan=False) for _ in range(4)]), min_size=12, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(values)
def test_a_true_sum_survives_three_significant_digits(rows: list[tuple[float, ...]]) -> None:
    search = SumSearch(fixed_decimals=False)
    for a, b, c, extra in rows:
        shown = {"la_loss": a, "lb_loss": b, "lc_loss": c, "other_loss": extra, "total": a + b + c}
        search.add({name: printed(f"{value:.3g}") for name, value in shown.items()})
    found = search.sums()
    assert [each.total for each in found] == ["total"]
    chosen = set(found[0].parts)
    assert chosen == {"la_loss", "lb_loss", "lc_loss"} or search.alternatives(found[0]) > 0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.floats(1e-5, 1.0), st.integers(5, 30))
def test_a_power_warm_up_is_told_by_its_printed_digits(power: int, base: float, points: int) -> None:
    curve = [base * min(1.0, k / points) ** power for k in range(1, points + 5)]
    rates = [Rate(10 * k, float(f"{v:.6e}"), printed(f"{v:.6e}").half) for k, v in enumerate(curve, 1)]
    found = warm_up(rates, 0)
    assert found is not None
    assert found.power == power


@given(st.floats(-1e6, 1e6, allow_nan=False), st.integers(0, 6))
def test_a_number_lies_within_half_a_digit_of_what_was_printed(value: float, digits: int) -> None:
    shown = printed(f"{value:.{digits}f}")
    assert abs(shown.value - value) <= shown.half * (1 + 1e-6) + 1e-9
    assert isinstance(shown, Printed)


@pytest.mark.parametrize("place", ["[{e}, {i:5d}]", "[{e}] step {i}", "[{e}/3] iter {i}"])
def test_an_epoch_in_brackets_before_the_iteration(place: str, tmp_path: Path) -> None:
    lines = [
        f"{place.format(e=e, i=i)} loss: {9 / e - i / 1000:.3f}\n" for e in (1, 2, 3) for i in (100, 200, 300)
    ]
    done = imported(
        tmp_path, "Files already downloaded and verified\n" + "".join(lines) + "Finished Training\n"
    )
    assert [each["epoch"] for each in done.epochs] == [1, 2, 3]
    assert (done.restarts, done.unread) == ([], 2)


def test_mmengines_prefix_makes_no_keras_of_it(tmp_path: Path) -> None:
    lines = [
        f"2024/01/02 10:0{e}:{i:02} - mmengine - INFO - Epoch(train)  [{e}][{i}/50] lr: 1e-3 loss: {5 / e}\n"
        for e in (1, 2, 3)
        for i in (25, 50)
    ]
    done = imported(tmp_path, "".join(lines))
    assert (done.format, len(done.epochs), done.unread) == ("pairs", 3, 0)


def test_json_lines_that_count_parts_of_epochs(tmp_path: Path) -> None:
    rows = []
    for i in range(1, 31):
        rows.append({"loss": round(3 / i, 4), "epoch": i / 10, "step": i})
        if i % 10 == 0:
            rows.append({"eval_loss": 4 / i, "epoch": i / 10, "step": i})
    done = imported(tmp_path, "".join(json.dumps(row) + "\n" for row in rows))
    assert [(each["epoch"], each["complete"]) for each in done.epochs] == [(1, True), (2, True), (3, True)]
    assert [each["loss"] for each in done.epochs] == [0.3, 0.15, 0.1]
    assert [each["eval_loss"] for each in done.epochs] == pytest.approx([0.4, 0.2, 4 / 30], abs=1e-3)
    assert done.findings == []


@pytest.mark.parametrize("steps", [30, 27])
def test_a_trainer_that_counts_parts_of_epochs(steps: int, tmp_path: Path) -> None:
    """Hugging Face's: its first steps round to 0.0, and 3.0 is the end of the third epoch."""
    rows = ["{'loss': 4.0, 'learning_rate': 1e-05, 'epoch': 0.0}\n"]
    rows += [
        f"{{'loss': {3 / i:.4f}, 'learning_rate': 1e-05, 'epoch': {i / 10}}}\n" for i in range(1, steps + 1)
    ]
    if steps == 30:
        rows.append("{'train_runtime': 120.5, 'train_loss': 1.2, 'epoch': 3.0}\n")
    done = imported(tmp_path, "".join(rows))
    assert [(each["epoch"], each["complete"]) for each in done.epochs] == [
        (1, True),
        (2, True),
        (3, steps == 30),
    ]
    assert [each["loss"] for each in done.epochs] == [0.3, 0.15, round(3 / steps, 4)]
    assert ("log.interrupted" in {claim.probe for claim in done.findings}) == (steps != 30)


@pytest.mark.parametrize("epochs", [3, 80])
@pytest.mark.parametrize("of_each", [True, False])
def test_a_time_column_is_of_each_epoch_where_it_falls(epochs: int, of_each: bool, tmp_path: Path) -> None:
    times = [60 - e % 2 if of_each else 59.5 * e for e in range(1, epochs + 1)]
    rows = [f"{e},{2 / e:.3f},{time:.1f}\n" for e, time in enumerate(times, 1)]
    done = imported(tmp_path, "epoch,loss,time\n" + "".join(rows), "log.csv")
    assert (done.format, len(done.epochs), done.unread) == ("csv", epochs, 1)
    with RunReader(RunFolder.open(done.run)) as reader:
        assert sum(each.seconds or 0 for each in reader.epochs()) == pytest.approx(
            sum(times) if of_each else times[-1]
        )
