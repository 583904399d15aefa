"""The pictures of both splits: whole or cut off, in two splits, turned by EXIF under their labels."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

from ...data.image_header import Header, missing_end, read_header
from ...data.images import UnreadableImage, decode_image, read_bytes
from ...data.sample import Dataset, Sample
from ..bench import Outcome
from ..findings import Finding

SECONDS = 3.0
"""For reading files; what is not reached is left to ``data check``."""
DECODED = 24
"""Pictures a split that are decoded as well: the others' headers and ends are looked at."""
MISFITS = {"wrong size", "box clipped", "box outside the image"}


def examine_pictures(datasets: Sequence[Dataset]) -> Outcome:
    """``data.pictures``, ``data.repeats`` and ``data.exif`` over the splits' samples, within ``SECONDS``."""
    deadline = time.perf_counter() + SECONDS / max(1, len(datasets))
    broken: list[UnreadableImage] = []
    turned: list[tuple[Sample, Header]] = []
    places: list[dict[str, str]] = []
    for dataset in datasets:
        seen: dict[str, str] = {}
        step = max(1, len(dataset) // DECODED)
        for number, sample in enumerate(dataset.samples):
            if time.perf_counter() > deadline:
                break
            try:
                data = read_bytes(sample.path)
                header = read_header(data)
                _whole(sample, data, header, decode=number % step == 0)
            except UnreadableImage as error:
                broken.append(error)
                continue
            seen.setdefault(hashlib.sha256(data).hexdigest(), str(sample.path))
            if header is not None and header.orientation != 1:
                turned.append((sample, header))
        places.append(seen)
        deadline += SECONDS / len(datasets)
    names = [dataset.name for dataset in datasets]
    return {
        "data.pictures": _broken(broken),
        "data.repeats": _repeats(names, places),
        "data.exif": _turned(turned),
    }


def _whole(sample: Sample, data: bytes, header: Header | None, decode: bool) -> None:
    """Raises ``UnreadableImage``."""
    if header is None or decode:
        decode_image(data, sample.path)
    elif fault := missing_end(data, header.kind):
        raise UnreadableImage(sample.path, fault)


def _broken(errors: Sequence[UnreadableImage]) -> list[Finding]:
    if not errors:
        return []
    first = errors[0]
    return [
        Finding(
            "error",
            "data.pictures",
            "data",
            f"{len(errors)} pictures cannot be read whole: training would pass over them",
            tensor="image",
            expected="every listed picture decodes",
            got=f"{first.path.name}: {first.reason}",
            fix="fetch them again or take them out of the split; `yolotui data check` lists every case",
            file=str(first.path),
        )
    ]


def _repeats(names: Sequence[str], places: Sequence[dict[str, str]]) -> list[Finding]:
    """The same bytes under another name; one path listed in both splits is ``data.splits``' matter."""
    if len(places) < 2 or names[0] == names[1]:
        return []
    train, val = places[0], places[1]
    common = [key for key in val if key in train and train[key] != val[key]]
    if not common:
        return []
    first = common[0]
    return [
        Finding(
            "warning",
            "data.repeats",
            "data",
            f"{len(common)} pictures of {names[1]} are pictures of {names[0]} under another name: "
            "validation will flatter",
            tensor="image",
            expected="no picture in two splits",
            got=f"{val[first]} is {train[first]}",
            fix="take them out of one split; `yolotui data check` lists every case",
            file=val[first],
        )
    ]


def _turned(turned: Sequence[tuple[Sample, Header]]) -> list[Finding]:
    """Labels in the frame of the picture as stored: told where that frame lies on its side.

    Boxes that stick out of the upright picture prove it; a size stated as stored only hints at it, for some
    tools write that size beside upright boxes.
    """
    kinds = [
        (sample, {p.kind for p in sample.problems} & MISFITS)
        for sample, header in turned
        if header.orientation >= 5 and header.width != header.height
    ]
    misfit = [(sample, found) for sample, found in kinds if found]
    if not misfit:
        return []
    sure = [sample for sample, found in misfit if found - {"wrong size"}]
    sample = (sure or [misfit[0][0]])[0]
    problem = next(p for p in sample.problems if p.kind in MISFITS)
    return [
        Finding(
            "error" if sure else "warning",
            "data.exif",
            "data",
            f"{len(misfit)} of {len(turned)} pictures that EXIF rotates have labels that do not fit "
            "the upright picture: they are those of the picture as stored",
            tensor="boxes",
            channels=("x", "y", "w", "h"),
            expected=f"boxes within {sample.width}x{sample.height}, the picture as shown",
            got=f"{sample.path.name}: {problem.kind}: {problem.detail}",
            fix="label the upright picture, or take the EXIF block out of the file (`jpegtran -copy none`)",
            file=str(sample.path),
        )
    ]
