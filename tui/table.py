"""Plain aligned tables for commands that print and leave."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Lines; the first ``left`` columns are aligned left, the others right."""
    widths = [max(len(line[k]) for line in [head, *rows]) for k in range(len(head))]
    lines = []
    for line in [head, *rows]:
        cells = [
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
