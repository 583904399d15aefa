"""What one channel of one slot adds to the loss, as far as the terms' maps can be split."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..layout import Head
from .frames import BOX_NAMES, Frame
from .slots import Slot

Share = tuple[str, float | None, bool]
"""The term, the number, and whether that number is the slot's whole term (it could not be split)."""


def slot_terms(frame: Frame, slot: Slot) -> dict[str, float]:
    """Each mapped term's value at a slot."""
    maps = {term: frame.loss_map(term, slot.head) for term in frame.snapshot.map_terms}
    return {term: float(values[tuple(slot[1:])]) for term, values in maps.items() if values is not None}


def loss_shares(
    frame: Frame,
    slot: Slot,
    names: Sequence[str],
    decoded: list[float] | None,
    targets: list[float] | None,
    pred: list[float] | None,
) -> dict[str, Share]:
    """By channel of ``pred``: conf takes lobj, x y w h take lbox, the classes lcls.

    lbox is split where the built-in loss made it at a positive slot as a sum over the four channels
    (``box = "mse"`` or ``"smooth-l1"``), lcls where it is a sum over classes (``classes = "bce"``): in
    proportion to each channel's own closed form, so that the parts add up to the slot's term.
    """
    terms = slot_terms(frame, slot)
    built_in = "loss" not in frame.snapshot.functions
    profile = frame.snapshot.profile
    positive = targets is not None and targets[0] != 0
    shares: dict[str, Share] = {}
    if "lobj" in terms:
        shares["conf"] = ("lobj", terms["lobj"], False)
    if "lbox" in terms:
        box = None
        if built_in and positive and decoded and targets and profile.get("box") in ("mse", "smooth-l1"):
            box = _box_errors(decoded, targets[2:6], slot, frame.heads[slot.head], profile["box"] == "mse")
        shares.update(_split("lbox", terms["lbox"], BOX_NAMES, box))
    classes = [name for name in names if name.startswith("class")]
    if "lcls" in terms:
        logits = None
        if built_in and positive and pred and targets and profile.get("classes") == "bce":
            truth = f"class{targets[1]:.0f}"
            logits = [_bce(pred[names.index(name)], name == truth) for name in classes]
        shares.update(_split("lcls", terms["lcls"], classes, logits))
    return shares


def _split(term: str, whole: float, names: Sequence[str], errors: Sequence[float] | None) -> dict[str, Share]:
    total = math.fsum(errors) if errors and all(map(math.isfinite, errors)) else 0.0
    if errors is None or not math.isfinite(whole) or (total == 0 and whole != 0):
        return dict.fromkeys(names, (term, whole, True))
    parts = [whole * error / total if total else 0.0 for error in errors]
    return {name: (term, part, False) for name, part in zip(names, parts, strict=True)}


def _box_errors(
    decoded: Sequence[float], truth: Sequence[float], slot: Slot, head: Head, squared: bool
) -> list[float] | None:
    """Offsets in cells and log sizes over the anchor, squared or smooth-l1: the built-in loss's own form."""
    tiny = 1.1754943508222875e-38  # the smallest normal float32, as in the loss
    if not all(map(math.isfinite, (*decoded, *truth))):
        return None
    errors = [(decoded[0] - truth[0]) * head.grid_w, (decoded[1] - truth[1]) * head.grid_h]
    errors += [math.log(max(decoded[k], tiny)) - math.log(max(truth[k], tiny)) for k in (2, 3)]
    if squared:
        return [error**2 for error in errors]
    return [error**2 / 2 if abs(error) < 1 else abs(error) - 0.5 for error in errors]


def _bce(logit: float, wanted: bool) -> float:
    """Binary cross-entropy of one logit: log(1 + e^z), of -z where the class is wanted."""
    z = -logit if wanted else logit
    return max(z, 0.0) + math.log1p(math.exp(-abs(z))) if not math.isnan(z) else math.nan
