"""Logs of sound trainings: what must not be said of them, and what of an unsound one still must."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engine.runs.importing import Imported, import_log


def imported(tmp_path: Path, text: str, name: str = "log.txt") -> Imported:
    source = tmp_path / name
    source.write_text(text)
    return import_log(source, root=tmp_path / "runs")


def terms(done: Imported, probe: str) -> set[str]:
    return {term for claim in done.findings if claim.probe == probe for term in claim.terms}


def summed_log(more: dict[str, float | None]) -> str:
    """``more``: a name's constant value; None where it scatters."""
    source = random.Random(3)
    lines = []
    for epoch in range(1, 16):
        a, b = (round(3 / epoch * source.uniform(0.9, 1.1), 4) for _ in range(2))
        line = f"epoch {epoch}/15 loss={a + b:.4f} loss_box={a:.4f} loss_cls={b:.4f}"
        for name, value in more.items():
            line += f" {name}={source.uniform(1, 2) if value is None else value:.4f}"
        lines.append(line + "\n")
    return "".join(lines)


DERIVED = [
    "loss_scale", "loss_ema", "ema_loss", "loss_avg", "best_loss", "dev_loss", "loss_step", "loss_epoch",
    "loss_box_unscaled",
]  # fmt: skip


@pytest.mark.parametrize("name", DERIVED)
def test_what_is_no_term_is_not_missing_from_a_sum(name: str, tmp_path: Path) -> None:
    done = imported(tmp_path, summed_log({name: None}))
    assert terms(done, "log.sum") == {"loss", "loss_box", "loss_cls"}
    assert not terms(done, "log.no_sum")


def test_a_term_that_nothing_is_made_of_is_missing(tmp_path: Path) -> None:
    assert terms(imported(tmp_path, summed_log({"loss_iou": None})), "log.no_sum") == {"loss_iou"}


def parts_log(weight: float) -> str:
    source = random.Random(4)
    lines = []
    for epoch in range(1, 13):
        for it in range(20, 121, 20):
            xy, wh, obj, cls, iou = (round(3 / epoch * source.uniform(0.9, 1.1), 4) for _ in range(5))
            box = weight * (xy + wh)
            lines.append(
                f"Epoch {epoch}/12 iter {it}/120 total={box + obj + cls:.4f} lbox={box:.4f} lobj={obj:.4f} "
                f"lcls={cls:.4f} lxy={xy:.4f} lwh={wh:.4f} liou={iou:.4f} l_obj={obj / 2:.4f}\n"
            )
    return "".join(lines)


@pytest.mark.parametrize("weight", [5.0, 0.05])
def test_the_parts_of_a_weighted_term_have_its_gradient(weight: float, tmp_path: Path) -> None:
    done = imported(tmp_path, parts_log(weight))
    assert terms(done, "log.sum") == {"total", "lbox", "lobj", "lcls"}
    assert terms(done, "log.no_sum") == {"liou"}


def test_only_losses_are_expected_to_move(tmp_path: Path) -> None:
    source = random.Random(5)
    text = "".join(
        f"epoch {e}/15 loss={source.uniform(0.9, 1.1):.4f} fps={source.uniform(58, 62):.1f} "
        f"gpu_util={source.randint(88, 95)} num_pos={source.randint(300, 320)} "
        f"loss_scale={source.choice((1024, 2048))} best_val_loss={source.uniform(0.9, 1.1):.3f}\n"
        for e in range(1, 16)
    )
    assert terms(imported(tmp_path, text), "log.not_moved") == {"loss"}


def test_a_record_is_infinite_until_there_is_one(tmp_path: Path) -> None:
    text = "".join(
        f"epoch {e}/10 | train_loss: {2 / e:.3f} | best_loss: {'inf' if e == 1 else f'{2 / e:.3f}'} | "
        f"best_val_loss: {'inf' if e == 1 else f'{3 / e:.3f}'}\n"
        for e in range(1, 11)
    )
    assert not terms(imported(tmp_path, text), "log.not_finite")


def test_a_validation_that_gave_nan_tells_of_no_batch(tmp_path: Path) -> None:
    text = "".join(
        f"epoch: {e} loss: {2 / e:.3f} val_loss: {'nan' if e == 1 else f'{3 / e:.3f}'}\n"
        for e in range(1, 11)
    )
    (claim,) = [c for c in imported(tmp_path, text).findings if c.probe == "log.not_finite"]
    assert claim.message.endswith("; finite values follow")


def spaced(tmp_path: Path, line: str) -> dict[str, float]:
    """The values of the third epoch of a log of such lines."""
    done = imported(tmp_path, "".join(line.format(e=e) + "\n" for e in range(1, 6)))
    reserved = ("epoch", "complete", "points", "mean")
    return {name: value for name, value in done.epochs[2].items() if name not in reserved}


def test_several_losses_on_a_line_without_signs(tmp_path: Path) -> None:
    assert spaced(tmp_path, "epoch {e} | val loss 1.3{e} train loss 1.2{e}") == {
        "val loss": 1.33,
        "train loss": 1.23,
    }
    assert spaced(tmp_path, "epoch {e} | train loss 1.2{e} | val loss 1.3{e} | P 0.5 R 0.4 mAP50 0.{e}1") == {
        "train loss": 1.23,
        "val loss": 1.33,
        "P": 0.5,
        "R": 0.4,
        "mAP50": 0.31,
    }
    assert spaced(tmp_path, "epoch {e} | loss 2.9{e} | cls 1.2 box 1.9 | 12.3 img/s") == {
        "loss": 2.93,
        "cls": 1.2,
        "box": 1.9,
    }


@pytest.mark.parametrize("sign", [" ", "=", ": "])
def test_decimal_commas(sign: str, tmp_path: Path) -> None:
    line = "epoch {e}: loss 1,20{e} lr 0,001 mAP 0,3{e}".replace(" 1", sign + "1").replace(" 0", sign + "0")
    assert spaced(tmp_path, "torch 2.1 on 8 cards\n" * (sign == "=") + line) == {
        "loss": 1.203,
        "lr": 0.001,
        "mAP": 0.33,
    }


@pytest.mark.parametrize("sign", [" ", "=", ": "])
def test_half_a_number_is_not_read(sign: str, tmp_path: Path) -> None:
    line = f"epoch {{e}} loss{sign}0.{{e}} mAP{sign}0,3{{e}} total_loss{sign}1,234"
    assert spaced(tmp_path, line) == {"loss": 0.3}
