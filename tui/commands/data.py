"""``yolotui data``: the drawn demo set, and the audit of a data set."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config import load_config

from ..console import FAILED, counter, print_json
from ..table import table

if TYPE_CHECKING:
    from engine.data.audit import Audit


def draw(root: Path | None) -> int:
    from engine.data.demo import demo_root, draw_demo

    print(draw_demo(demo_root(str(root) if root else ""), counter("images")))
    return 0


def check(source: Path, overrides: list[str], as_json: bool, sheet: Path | None = None) -> int:
    """Exit 1 where the audit found an error. ``sheet``: where labelled pictures are drawn to, if anywhere."""
    config = load_config(source, overrides)
    from engine.data.audit import audit
    from engine.data.contact_sheet import refuse_other_formats, write_sheet
    from engine.nets.registry import head_strides

    if sheet is not None:
        refuse_other_formats(sheet)
    found = audit(config, head_strides(config.model), counter("images"))
    drawn = write_sheet(sheet, config.data, {problem.path for problem in found.problems}) if sheet else 0
    if as_json:
        print_json(found.to_json())
    else:
        print("\n".join(audit_lines(found)))
        if sheet is not None:
            print(f"{drawn} labelled pictures drawn to {sheet}")
    return 0 if found.ok else FAILED


def audit_lines(found: Audit) -> list[str]:
    """What each split holds, how the anchors meet it, and a line a problem."""
    names = [key for key in asdict(found.splits[0]) if key not in ("name", "per_class")]
    rows = [[split.name, *(f"{getattr(split, key):,}" for key in names)] for split in found.splits]
    lines = [f"{found.root or 'the drawn demo set'} ({found.format})", ""]
    lines += table(["split", *(name.replace("_", " ") for name in names)], rows)
    per_class = [
        [label, *(f"{split.per_class.get(label, 0):,}" for split in found.splits)] for label in found.classes
    ]
    lines += ["", *table(["class", *(split.name for split in found.splits)], per_class), ""]
    lines += [*_anchor_lines(found), ""]
    lines += [f"{each.severity}: {each.path}: {each.kind}: {each.detail}" for each in found.problems]
    counts = ", ".join(f"{number:,} x {kind}" for kind, number in found.counts.items())
    lines.append(f"{len(found.problems):,} problems: {counts}" if counts else "no problem found")
    return lines


def _anchor_lines(found: Audit) -> list[str]:
    anchors = found.anchors
    sizes = "  ".join(f"{width:.0f}x{height:.0f}" for width, height in anchors.pixels)
    origin = "by k-means" if anchors.fitted else "from the config"
    if not found.splits[0].objects:
        return [f"anchors {origin}: {found.splits[0].name} has no objects for them to meet"]
    recall = f"best possible recall at IoU 0.5: {anchors.recall:.3f}, mean IoU {anchors.mean_iou:.3f}"
    return [f"anchors {origin}, in pixels: {sizes}", recall]
