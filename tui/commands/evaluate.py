"""``yolotui eval``: average precision of a network on a split, or of anybody's COCO-format results."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import load_config
from engine.errors import UserError

from ..console import counter, print_json
from ..table import table

if TYPE_CHECKING:
    from engine.evaluate import Scores
    from engine.evaluate_errors import ErrorCosts

SHORT = {"classification": "confused", "localization": "misplaced"}
"""Of the kinds of error, those too long for a column."""


def evaluate_split(
    source: Path,
    weights: str,
    code: Path | None,
    split: str,
    overrides: list[str],
    tta: bool,
    errors: bool,
    as_json: bool,
) -> int:
    config = load_config(source, overrides)
    from engine import scoring

    found = scoring.evaluate_split(config, weights, split, code, counter("images"), tta, errors)
    for line in found.notes():
        print(line, file=sys.stderr)
    problems = [{key: getattr(each, key) for key in ("kind", "path", "detail")} for each in found.problems]
    how = ", each looked at from all sides (--tta)" if tta else ""
    _report(found.scores, as_json, how, tta=tta, problems=problems, unread_images=len(found.unread))
    return 0


def evaluate_files(truth: Path, detections: Path, errors: bool, as_json: bool) -> int:
    for path, option in ((truth, "--truth"), (detections, "--detections")):
        if not path.is_file():
            raise UserError("no such file", where=f"{option} {path}", fix="name a COCO json")
    from engine.evaluate import evaluate_coco_files

    _report(evaluate_coco_files(truth, detections, errors=errors), as_json)
    return 0


def _report(scores: Scores, as_json: bool, how: str = "", **told: Any) -> None:
    """``how`` the images were looked at, for people; ``told``: the same for programs."""
    document = scores.to_json()
    if as_json:
        print_json({**document, **told})
        return
    print(f"{document['images']:,} images, {document['objects']:,} objects{how}")
    rows = [
        ["mAP50", _number(document["map50"])],
        ["mAP50-95", _number(document["map50_95"])],
        ["VOC07 mAP50", _number(document["voc07_map50"])],
        ["VOC mAP50", _number(document["voc_map50"])],
    ]
    print("\n".join(table(["", ""], rows)[1:]))
    print("COCO  " + "  ".join(f"{name} {_number(value)}" for name, value in document["coco"].items()))
    classes = document["per_class"]
    if classes:
        keys = [key for key, value in next(iter(classes.values())).items() if not isinstance(value, dict)]
        rows = [[name, *(_number(values.get(key)) for key in keys)] for name, values in classes.items()]
        print("\n".join(["", *table(["class", *keys], rows)]))
    if scores.errors is not None:
        print("\n".join(["", *_error_lines(scores.errors)]))


def _error_lines(errors: ErrorCosts) -> list[str]:
    names = list(errors.per_class.items())
    rows = [[name, *map(_number, costs.values())] for name, costs in (*names, ("mean", errors.mean))]
    kinds = [SHORT.get(kind, kind) for kind in errors.mean]
    lines = ["what mAP50 would gain without its errors, by kind:", *table(["class", *kinds], rows)]
    if errors.unlabelled:
        worst = ", ".join(f"{name} {count}" for name, count in errors.unlabelled.items())
        lines += ["", f"most found, scored {errors.sure} or more, where nothing is labelled: {worst}"]
    return lines


def _number(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
