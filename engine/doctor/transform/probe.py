"""The user's ``transform``: painted boxes through it, many times; each label must frame its own paint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from ..calling import Called
from ..findings import Finding, Tensor
from ..inputs import DRAW
from ..subject import seed_everything
from .cut import Call, judge_cut, judge_outside, judge_whole
from .explained import changes_of
from .shots import GOOD, HUES, Shot, overlap, picture, visible
from .tones import judge_tones

Results = Iterator[tuple[str, list[Finding]]]
SEEDS = 24
OFTEN, SELDOM = 0.4, 0.1
"""Share of the draws with labels off their objects that is an error: of the first, and of three times as
many where nothing else is found."""


def probe_transform(called: Called) -> Results:
    """Sizes differ, boxes lie unevenly; the statistics need several draws, the contract none."""
    _contract(called)
    yield "transform.call", []
    yield "transform.inputs", _inputs(called)
    shots = [_shoot(called, seed) for seed in range(SEEDS)]
    yield "transform.colours", _colours(called, shots)
    yield "transform.tones", judge_tones(_caller(called), SEEDS)
    yield "transform.corners", (corners := _corners(called, shots))
    if not corners:
        boxes = _boxes(shots, OFTEN)
        if not any(f.severity == "error" for f in boxes):
            cut = judge_cut(shots) or judge_whole(shots) or judge_outside(_caller(called), SEEDS)
            yield "transform.cut", cut
            if not cut and _boxes(shots, 0.0):  # labels left behind now and then: look longer
                shots += [_shoot(called, seed) for seed in range(SEEDS, 3 * SEEDS)]
                boxes = _boxes(shots, SELDOM)
        yield "transform.boxes", boxes


def _caller(called: Called) -> Call:
    return lambda *given: _call(called, *given)


def _call(called: Called, image: np.ndarray, boxes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    seed_everything(seed + 100_003 * DRAW.get())
    got = called.call("transform", image, boxes)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise _refused(
            called, f"transform returns {type(got).__name__}", "a pair: image, boxes", type(got).__name__
        )
    out, moved = np.asarray(got[0]), np.asarray(got[1])
    if out.dtype != np.uint8 or out.ndim != 3 or out.shape[2] != 3 or 0 in out.shape:
        shown = f"{out.dtype} {list(out.shape)}"
        raise _refused(called, f"transform returns an image {shown}", "uint8 [H, W, 3], BGR", shown)
    if moved.size != boxes.size or (moved.size and moved.reshape(-1, moved.shape[-1]).shape[1] != 4):
        shown = str(list(moved.shape))
        raise _refused(
            called,
            f"transform returns boxes {shown} for {len(boxes)} boxes",
            f"[{len(boxes)}, 4], number and order kept",
            shown,
            "boxes",
        )
    return out, moved.reshape(-1, 4).astype(np.float32)


def _refused(called: Called, message: str, expected: str, got: str, tensor: Tensor = "image") -> Exception:
    refusal = called.refusal(
        "transform",
        "contract",
        message,
        expected=expected,
        got=got,
        fix=f"return image, boxes: {expected}; a box that leaves the picture comes back with no area",
    )
    object.__setattr__(refusal.finding, "tensor", tensor)
    return refusal


def _contract(called: Called) -> None:
    """A picture without objects, with specks, slivers and one box of the whole picture, over several draws:
    the loader meets them all."""
    for seed in range(SEEDS):
        image, boxes = picture(seed)
        height, width = image.shape[:2]
        _call(called, image, np.concatenate((boxes[:2], _odd(width, height))), seed)
    for seed in range(3):
        image, boxes = picture(seed)
        _call(called, image, boxes, seed)
        _call(called, image, boxes[:0], seed)
        _call(called, image, boxes[:1], seed)


def _odd(width: int, height: int) -> np.ndarray:
    """Boxes of which little may be left: they keep their rows all the same."""
    rows = [
        [0, 0, width, height],
        [0, 0, 3, 3],
        [width - 4, height - 4, width, height],
        [width - 3, 0, width, 4],
        [0, height * 0.4, 5, height * 0.4 + 6],
        [width * 0.5, height * 0.5, width * 0.5 + 2, height * 0.5 + 2],
        [width * 0.1, height * 0.7, width * 0.9, height * 0.7 + 3],
    ]
    return np.array(rows, np.float32)


def _inputs(called: Called) -> list[Finding]:
    """The contract: inputs are not modified. Whoever holds on to a picture finds it changed otherwise."""
    for seed in range(6):
        image, boxes = picture(seed)
        given = image.copy(), boxes.copy()
        _call(called, *given, seed)
        same_image, same_boxes = np.array_equal(given[0], image), np.array_equal(given[1], boxes)
        if not (same_image and same_boxes):
            what: Tensor = "boxes" if same_image else "image"
            return [
                Finding(
                    "error",
                    "transform.inputs",
                    "transform",
                    f"transform writes into the {what} it is given",
                    tensor=what,
                    channels=_moved(given[1], boxes),
                    expected="inputs as they were",
                    got="overwritten",
                    fix=f"start with {what} = {what}.copy()",
                )
            ]
    return []


def _moved(now: np.ndarray, was: np.ndarray) -> tuple[str, ...]:
    """The channels that differ between two sets of corner boxes."""
    edges = {"x": (0, 2), "y": (1, 3)}
    found = [n for n, columns in edges.items() if not np.array_equal(now[:, columns], was[:, columns])]
    for name, (low, high) in zip("wh", edges.values(), strict=True):
        if not np.allclose(now[:, high] - now[:, low], was[:, high] - was[:, low], atol=0.01):
            found.append(name)
    return tuple(found)


def _shoot(called: Called, seed: int) -> Shot:
    image, boxes = picture(seed)
    out, moved = _call(called, image.copy(), boxes.copy(), 100 + seed)
    hsv = cv2.cvtColor(cv2.medianBlur(np.ascontiguousarray(out), 5), cv2.COLOR_BGR2HSV).astype(np.int16)
    coloured = (hsv[..., 1] > 110) & (hsv[..., 2] > 50)
    hues = np.ascontiguousarray(hsv[..., 0])
    return Shot(out, boxes, moved, [_paint(hues, coloured, hue) for hue in _hues(hsv, moved)])


def _hues(hsv: np.ndarray, boxes: np.ndarray) -> list[int]:
    """The paints' hues as they are now. A change of all colours alike (a hue shift, channels shuffled) turns
    or mirrors the circle: that is believed where what stands under the labels agrees with it."""
    seen = [_hue_under(hsv, box) for box in boxes]
    known = [(hue, now) for hue, now in zip(HUES, seen, strict=True) if now is not None]
    for sign in (1, -1):
        turns = [(now - sign * hue) % 180 for hue, now in known]
        if len(turns) >= 3 and all(min((t - turns[0]) % 180, (turns[0] - t) % 180) <= 6 for t in turns):
            return [(sign * hue + turns[0]) % 180 for hue in HUES]
    return list(HUES)


def _hue_under(hsv: np.ndarray, box: np.ndarray) -> int | None:
    """The hue of the inner half of a label, where one colour fills it."""
    height, width = hsv.shape[:2]
    x1, y1, x2, y2 = np.clip(box, 0, [width, height, width, height])
    dx, dy = (x2 - x1) / 4, (y2 - y1) / 4
    part = hsv[int(y1 + dy) : int(y2 - dy), int(x1 + dx) : int(x2 - dx)].reshape(-1, 3)
    if len(part) < 40 or np.median(part[:, 1]) < 110:
        return None
    hue = int(np.median(part[:, 0]))
    away = np.abs(part[:, 0] - hue)
    return hue if (np.minimum(away, 180 - away) < 8).mean() > 0.8 else None


def _paint(hues: np.ndarray, coloured: np.ndarray, hue: int) -> np.ndarray | None:
    """The box x1, y1, x2, y2 around the largest patch of this hue; None where there is none. ``coloured``:
    where a hue means something."""
    away = np.abs(hues - hue)
    near = ((np.minimum(away, 180 - away) <= 12) & coloured).astype(np.uint8)
    left, top, width, height = cv2.boundingRect(near)  # the rest of the picture has no patch
    if not width:
        return None
    _, _, stats, _ = cv2.connectedComponentsWithStats(near[top : top + height, left : left + width])
    x, y, w, h, area = stats[1:][np.argmax(stats[1:, cv2.CC_STAT_AREA])]
    if area < 60 or area < 0.35 * w * h:
        return None
    return np.array([left + x, top + y, left + x + w, top + y + h], np.float32)


def _colours(called: Called, shots: list[Shot]) -> list[Finding]:
    """Red stays red: under the red box's label no blue, in every draw, while green stays green."""
    swapped, kept = 0, 0
    for shot in shots:
        mean = [_mean(shot, k) for k in range(3)]  # of the boxes painted red, green, blue
        if any(m is None for m in mean):
            continue
        tops = [int(np.argmax(m)) for m in mean if m is not None]
        swapped += tops == [0, 1, 2]
        kept += tops == [2, 1, 0]
    if swapped < 6 or kept > 0:
        return []
    return [
        Finding(
            "error",
            "transform.colours",
            "transform",
            "transform swaps red and blue: a red box comes back blue",
            tensor="image",
            expected="BGR in, BGR out",
            got=f"red and blue swapped in {swapped} of {len(shots)} draws",
            fix="convert back (cv2.COLOR_RGB2BGR) before returning, or do not convert",
        )
    ]


def _mean(shot: Shot, k: int) -> np.ndarray | None:
    """Mean colour of the inner half of where the label stands."""
    x1, y1, x2, y2 = visible(shot.boxes[k], shot.image)
    dx, dy = (x2 - x1) / 4, (y2 - y1) / 4
    part = shot.image[int(y1 + dy) : int(y2 - dy), int(x1 + dx) : int(x2 - dx)]
    if part.size < 60:
        return None
    mean: np.ndarray = part.reshape(-1, 3).mean(0)
    return mean if mean.max() - mean.min() > 60 else None


def _corners(called: Called, shots: list[Shot]) -> list[Finding]:
    """x1 <= x2, y1 <= y2: a box that frames its paint when turned round was flipped, not swapped."""
    turned: set[str] = set()
    count = 0
    for shot in shots:
        for box, paint in zip(shot.boxes, shot.paint, strict=True):
            if paint is None or ((box[2:] >= box[:2]).all()):
                continue
            right = np.concatenate((np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])))
            if overlap(visible(right, shot.image), paint) > GOOD:
                count += 1
                turned |= {n for n, bad in (("x", box[2] < box[0]), ("y", box[3] < box[1])) if bad}
    if not count:
        return []
    channels = tuple(
        n
        for n in ("x", "y", "w", "h")
        if n in turned or (n == "w" and "x" in turned) or (n == "h" and "y" in turned)
    )
    axis = " and ".join(sorted(turned))
    return [
        Finding(
            "error",
            "transform.corners",
            "transform",
            f"transform mirrors corners without swapping them: {axis}1 > {axis}2",
            tensor="boxes",
            channels=channels,
            expected="x1 <= x2, y1 <= y2",
            got=f"{count} boxes the wrong way round",
            fix="after a flip x1, x2 = width - x2, width - x1",
        )
    ]


def _boxes(shots: list[Shot], share: float) -> list[Finding]:
    """Labels beside their paint; what was done to the picture but not to the label is tried out.

    ``share``: of the draws, below which unexplained labels off their objects are a warning at most.
    """
    seen = lost = 0
    explained: dict[str, int] = {}
    places: list[str] = []
    for number, shot in enumerate(shots):
        pairs = [
            (b, p)
            for b, p in zip(shot.boxes, shot.paint, strict=True)
            if p is not None and not _left(b, p, shot.image)
        ]
        if len(pairs) < 2:
            continue
        scores = [overlap(visible(box, shot.image), paint) for box, paint in pairs]
        seen += 1
        if sum(score >= GOOD for score in scores) >= 0.5 * len(scores):
            continue
        lost += 1
        places.append(f"draw {number}: label {_shown(pairs[0][0])}, paint {_shown(pairs[0][1])}")
        for text, change in changes_of(number, shot):
            fixed = [overlap(visible(change(box), shot.image), paint) for box, paint in pairs]
            if sum(score >= 0.75 for score in fixed) >= 0.7 * len(fixed):
                explained[text] = explained.get(text, 0) + 1
                break
    if not seen or not lost:
        return []
    best = max(explained, key=lambda text: explained[text], default="")
    sure = bool(best) and explained[best] >= 2
    if not sure and lost < share * seen:
        return [] if lost < 3 else [_drift(lost, seen, places[0], "warning", "", ())]
    text, names = best.split("|") if best else ("", "x y w h")
    return [_drift(lost, seen, places[0], "error", text, tuple(names.split()))]


def _left(box: np.ndarray, paint: np.ndarray, image: np.ndarray) -> bool:
    """A label without area for an object that the border cuts: it counts as gone."""
    height, width = image.shape[:2]
    at_border = bool((paint[:2] <= 1).any()) or paint[2] >= width - 1 or paint[3] >= height - 1
    return bool((box[2:] <= box[:2]).any()) and at_border


def _drift(lost: int, seen: int, place: str, severity: Any, text: str, channels: tuple[str, ...]) -> Finding:
    message = f"after transform the labels no longer frame their objects, in {lost} of {seen} draws"
    return Finding(
        severity,
        "transform.boxes",
        "transform",
        message + (f": {text}" if text else ""),
        tensor="boxes",
        channels=channels or ("x", "y", "w", "h"),
        expected="each label around its own object",
        got=place,
        fix="do to the boxes what is done to the picture, in pixels of the returned picture",
    )


def _shown(box: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.0f}" for value in box) + ")"
