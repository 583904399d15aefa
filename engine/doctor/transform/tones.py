"""Numbers that run over: grey patches through ``transform``, read back under their labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..findings import Finding

TONES = (15, 45, 75, 100, 124, 150, 170, 190, 205, 220, 235, 250)
"""Three to a row of the picture, in an order in which neighbours differ."""
ORDER = (3, 9, 0, 6, 2, 11, 5, 8, 1, 10, 4, 7)
FALL = 110
"""Grey levels: no change of brightness or contrast makes a brighter patch that much darker."""
LEAST = 3
"""Draws, and patches on the far side of the fall."""

Call = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def judge_tones(call: Call, draws: int) -> list[Finding]:
    """A brighter patch may come back clipped, and all of them inverted; but where the curve rises, falls to
    next to nothing and rises or rests again, a number ran over the end of its type."""
    fallen: list[str] = []
    for seed in range(draws):
        image, boxes = _picture()
        out, moved = call(image, boxes, 300 + seed)
        seen = [
            (tone, value) for tone, box in zip(TONES, moved, strict=True) if (value := _under(out, box)) >= 0
        ]
        if text := _fall([t for t, _ in seen], [v for _, v in seen]):
            fallen.append(f"draw {seed}: {text}")
    if len(fallen) < LEAST:
        return []
    return [
        Finding(
            "error",
            "transform.tones",
            "transform",
            f"bright pixels come back dark, and darker ones stay bright, in {len(fallen)} of {draws} "
            "draws: numbers run over the end of their type",
            tensor="image",
            expected="a brighter pixel stays at least as bright, or is clipped to 255",
            got=fallen[0],
            fix="compute in int16 or float, np.clip(..., 0, 255), then astype(np.uint8)",
        )
    ]


def _picture() -> tuple[np.ndarray, np.ndarray]:
    image = np.full((320, 408, 3), 90, np.uint8)
    boxes = np.zeros((len(TONES), 4), np.float32)
    for place, number in enumerate(ORDER):
        row, column = divmod(place, 4)
        x, y = 14 + 98 * column, 12 + 104 * row
        image[y : y + 88, x : x + 84] = TONES[number]
        boxes[number] = x, y, x + 84, y + 88
    return image, boxes


def _under(image: np.ndarray, box: np.ndarray) -> float:
    """The grey of a label's inner half; -1 where too little of it is left or more than one grey fills it."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.clip(box, 0, [width, height, width, height])
    dx, dy = (x2 - x1) / 4, (y2 - y1) / 4
    part = image[int(y1 + dy) : int(y2 - dy), int(x1 + dx) : int(x2 - dx)].reshape(-1, image.shape[2])
    if len(part) < 30:
        return -1.0
    grey = part.astype(np.float32).mean(1)
    middle = float(np.median(grey))
    return middle if (np.abs(grey - middle) < 12).mean() > 0.9 else -1.0


def _fall(tones: list[int], values: list[float]) -> str:
    """Rising or resting on either side of one deep fall, with patches enough on both."""
    steps = np.diff(values)
    deep = np.nonzero(steps < -FALL)[0]
    if len(deep) != 1:
        return ""
    at = int(deep[0])
    rest = np.delete(steps, at)
    if (rest < -12).any() or at + 1 < LEAST or len(values) - at - 1 < LEAST:
        return ""
    if values[-1] > values[at] - 60:  # one dark patch among bright ones is something laid over it
        return ""
    return (
        f"grey {tones[at]} comes back as {values[at]:.0f}, grey {tones[at + 1]} as {values[at + 1]:.0f}, "
        f"grey {tones[-1]} as {values[-1]:.0f}"
    )
