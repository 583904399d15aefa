from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from engine.errors import UserError
from engine.export.formats import export
from engine.export.html_charts import smoothed
from engine.runs import events as ev
from engine.runs.store import RunFolder, RunWriter

VOID = {"meta", "input", "br", "image", "rect", "use", "img", "path"}


class Page(HTMLParser):
    """Checks that elements nest, and keeps what a browser would fetch or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [v or "" for k, v in attrs if k.split(":")[-1] in ("href", "src", "action", "data")]
        assert not [k for k, _ in attrs if k.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def report(run: RunFolder, tmp_path: Path) -> tuple[str, list[str]]:
    lines = export(run.path, "html", tmp_path / "out.html")
    return (tmp_path / "out.html").read_text(encoding="utf-8"), lines


def test_it_needs_no_network_and_runs_nothing(run: RunFolder, tmp_path: Path) -> None:
    text, lines = report(run, tmp_path)
    page = Page(text)
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "img", "base"}
    assert all(address.startswith(("#", "data:image/")) for address in page.addresses)
    assert not re.findall(r"(?:https?:)?//[a-z]", text)
    assert "@import" not in text
    assert "default-src 'none'" in text
    assert "without sample detections: the run has no config.toml" in lines


def test_whatever_a_name_holds_stays_text(run: RunFolder, tmp_path: Path) -> None:
    text, _ = report(run, tmp_path)
    words = "".join(Page(text).text)
    for shown in ('<script>alert("x")&', "cat, <b>", "<img src=x> is flat", "a & b", "<3.12>"):
        assert shown in words
    assert words.index("is flat") < words.index("was bad")  # the cleared one comes after
    assert "cleared at step 40" in words
    assert "mAP50, best epoch 2" in words
    assert "1 not finite" in words


def test_no_id_stands_twice(run: RunFolder, tmp_path: Path) -> None:
    text, _ = report(run, tmp_path)
    # matplotlib's markers may be equal in two charts: then so is what they point to
    parts = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    clips = [name for part in parts for name in set(re.findall(r'<clipPath id="([^"]+)"', part))]
    assert len(parts) >= 6
    assert len(clips) == len(set(clips))


def test_a_run_without_anything_and_a_place_that_cannot_be(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "empty")
    writer = RunWriter(folder)
    writer.write([ev.LogLine("info", "nothing happened")])
    writer.close()
    text, _ = report(folder, tmp_path)
    assert "nothing happened" in "".join(Page(text).text)
    with pytest.raises(UserError, match="is a folder"):
        export(folder.path, "html", tmp_path)


def test_a_smoothed_constant_is_that_constant() -> None:
    import numpy as np

    values = np.full(50, 3.0)
    values[10:12] = np.nan
    smooth = smoothed(values, 4.0)
    assert np.isnan(smooth[10:12]).all()
    assert np.allclose(np.delete(smooth, [10, 11]), 3.0)
    assert smoothed(np.zeros(0), 1.0).shape == (0,)
