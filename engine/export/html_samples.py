"""Pictures for a report: the validation set with its truths and what the run's best weights find in it.

The one part of an export that needs torch. Boxes lie over the pictures as shapes: they stay sharp when
enlarged, and the page can hide them.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np
import torch

from ..boxes import pairwise_iou
from ..config import load_config
from ..data.drawing import class_colour, text_colour
from ..data.images import UnreadableImage, read_image
from ..data.opening import open_split
from ..data.sample import Image, Sample
from ..errors import UserError
from ..predictor import DETECT_CONF, Predictor, load_predictor
from ..runs.folder import RunFolder

COUNT = 12
LONGEST = 480
"""Pixels of a picture's longer side in the report."""
JPEG_QUALITY = 82
MATCHED = 0.5


@dataclass(frozen=True)
class Samples:
    note: str
    """Which pictures these are, in one sentence."""
    pictures: tuple[str, ...]
    """HTML figures."""


def draw_samples(run: RunFolder, code: Path | None) -> Samples:
    """Up to twelve pictures, evenly spaced over the run's validation split (without one, its training split).

    Raises ``UserError`` where the config, the data or the weights are gone, or do not fit.
    """
    if run.weights is None:
        raise UserError("the run has no weights")
    config = load_config(run.config)
    split = config.data.val or config.data.train
    predictor = load_predictor(str(run.path), code)
    dataset = open_split(config.data, split, most=COUNT, trained=predictor.classes)
    drawn = [_figure(sample, predictor) for sample in dataset.samples]
    pictures = tuple(figure for figure in drawn if figure)
    if not pictures:
        raise UserError(f"no picture of split {split!r} can be read", where=config.data.root)
    note = (
        f"{len(pictures)} pictures spread evenly over the split {split}; {run.weights.name}, "
        f"score at least {DETECT_CONF:g}"
    )
    return Samples(note, pictures)


def _figure(sample: Sample, predictor: Predictor) -> str:
    try:
        image = read_image(sample.path)
    except UnreadableImage:
        return ""
    found = predictor.detect([image])[0]
    scale = min(1.0, LONGEST / max(image.shape[:2]))
    truths = [(*box, int(label)) for box, label in zip(sample.boxes.tolist(), sample.labels, strict=True)]
    height, width = round(image.shape[0] * scale), round(image.shape[1] * scale)
    shapes = [_truth(box, scale, predictor.classes[box[4]]) for box in truths]
    shapes += [
        _detection(row, scale, predictor.classes, width) for row in sorted(found.tolist(), key=lambda r: r[4])
    ]
    hits = _hits(sample, found)
    extra = len(found) - hits
    caption = f"{hits} of {len(truths)} found" + (f", {extra} not in the labels" if extra else "")
    picture = f'<image width="{width}" height="{height}" href="{_as_data(image, width, height)}"/>'
    return (
        f"<figure><figcaption><small>{escape(sample.path.name)}</small><small>{caption}</small></figcaption>"
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(sample.path.name)}: {caption}">'
        f"{picture}{''.join(shapes)}</svg></figure>"
    )


def _as_data(image: Image, width: int, height: int) -> str:
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _frame(box: Sequence[float], scale: float, kind: str, stroke: str = "") -> str:
    x1, y1, x2, y2 = (value * scale for value in box[:4])
    colour = f' stroke="{stroke}"' if stroke else ""
    return (
        f'<rect class="{kind}" x="{x1:.1f}" y="{y1:.1f}" width="{max(0, x2 - x1):.1f}" '
        f'height="{max(0, y2 - y1):.1f}"{colour}/>'
    )


def _truth(box: Sequence[float], scale: float, name: str) -> str:
    title = f"<title>truth: {escape(name)}</title>"
    return f"<g>{title}{_frame(box, scale, 'truth')}{_frame(box, scale, 'truth')}</g>"


def _detection(row: Sequence[float], scale: float, classes: Sequence[str], width: int) -> str:
    label = int(row[5])
    colour, ink = _hex(class_colour(label)), _hex(text_colour(class_colour(label)))
    text = f"{classes[label]} {row[4]:.2f}"
    wide = 7.6 * len(text) + 6
    x = min(max(0.0, row[0] * scale), max(0.0, width - wide))
    y = max(0.0, row[1] * scale - 17)
    return (
        f'<g class="detection"><title>{escape(text)}</title>{_frame(row, scale, "found", colour)}'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="17" fill="{colour}"/>'
        f'<text x="{x + 3:.1f}" y="{y + 13:.1f}" fill="{ink}" textLength="{wide - 6:.1f}" '
        f'lengthAdjust="spacingAndGlyphs">{escape(text)}</text></g>'
    )


def _hex(bgr: tuple[int, int, int]) -> str:
    return f"#{bgr[2]:02x}{bgr[1]:02x}{bgr[0]:02x}"


def _hits(sample: Sample, found: np.ndarray) -> int:
    """Truths that a detection of their class overlaps by half, each detection used once, strongest first."""
    if not len(found) or not len(sample.boxes):
        return 0
    overlap = pairwise_iou(
        torch.from_numpy(found[:, :4].copy()), torch.from_numpy(sample.boxes.astype(np.float32))
    ).numpy()
    overlap[found[:, 5].astype(np.int64)[:, None] != sample.labels[None]] = 0
    hits = 0
    for k in np.argsort(-found[:, 4], kind="stable"):
        best = int(overlap[k].argmax())
        if overlap[k, best] >= MATCHED:
            hits += 1
            overlap[:, best] = 0
    return hits
