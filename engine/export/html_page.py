"""The form of a report's page: its style, and elements whose text cannot break out of them.

One file without a script: it opens from a mail or a file share, and its own policy forbids it to fetch or run
anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

STYLE = Path(__file__).with_name("report.css").read_text(encoding="utf-8")

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, body: Iterable[str]) -> str:
    """A whole document; ``title`` is text, ``body`` are elements."""
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            *body,
            "</body>\n</html>\n",
        )
    )


def figures(values: Sequence[tuple[str, str]]) -> str:
    """Single numbers with what they are of."""
    cards = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in values)
    return f'<div class="figures">{cards}</div>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], best: int | None = None, words: bool = False
) -> str:
    """Cells of text; ``best``: the row printed bold; ``words``: to be read rather than compared."""
    top = f"<thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr></thead>" if head else ""
    lines = [
        f"<tr{' class=best' if k == best else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        for k, row in enumerate(rows)
    ]
    kind = ' class="words"' if words else ""
    return f'<div class="scroll"><table{kind}>{top}<tbody>{"".join(lines)}</tbody></table></div>'


def chart(name: str, note: str, svg: str) -> str:
    return (
        f"<figure><figcaption><h3>{escape(name)}</h3><small>{escape(note)}</small></figcaption>{svg}</figure>"
    )


def bar(share: float) -> str:
    """A share 0..1 as a length; NaN has none."""
    percent = 100 * max(0.0, min(1.0, share)) if share == share else 0.0
    return f'<span class="bar"><i style="width:{percent:.1f}%"></i></span>'


def folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"
