"""A run as one HTML file that needs nothing else: no network, no script, no file beside it."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator, Sequence
from html import escape
from importlib import metadata
from pathlib import Path

from ..errors import UserError
from ..files import write_atomically
from ..runs import events as ev
from ..runs.folder import RunFolder
from ..runs.listing import RunInfo, run_info
from ..runs.reader import LogEntry, RunReader
from . import html_page as h
from .html_charts import Axis, curve_chart, score_chart

POINTS = 150
"""A curve has at least this many entries, and at most four times as many, however long the run."""
BESIDE = {"lr": "lr", "grad_norm": "gradient norm before clipping", "seconds": "seconds a step"}
"""Columns drawn after the terms."""
LOG_LINES = 200
SIGNS = {"error": "✘", "warning": "▲", "info": "●"}


def write_html(run: RunFolder, out: Path, code: Path | None = None) -> list[str]:
    """Write the report of ``run`` to the file ``out``; -> lines about it.

    Where sample detections cannot be drawn, the report and one of the lines say why. Raises ``UserError``.
    """
    if out.is_dir():
        raise UserError("is a folder", where=out, fix="name a file, such as report.html")
    pictures, skipped = _samples(run, code)
    with RunReader(run) as reader:
        text = h.page(f"{run.name} · yolotui", _body(reader, run_info(run.path), run, pictures))
    try:
        write_atomically(out, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=out) from None
    lines = [f"{out}: {len(text.encode()) / 1e6:.1f} MB"]
    return [*lines, f"without sample detections: {skipped}"] if skipped else lines


def _samples(run: RunFolder, code: Path | None) -> tuple[str, str]:
    """The section of sample detections, and why there is none."""
    try:
        with RunReader(run) as reader:
            own = reader.meta("code").get("code") or ""
        if not run.config.is_file():
            raise UserError("the run has no config.toml")
        if own and code is None:
            raise UserError(f"the run used functions of {own}", fix="give that file with --code")
        from .html_samples import draw_samples

        samples = draw_samples(run, code)
    except UserError as error:
        why = str(error)
        return f'<p class="faint">None are drawn: {escape(why)}</p>', why
    except Exception as error:  # the user's functions may raise anything; the rest of the report stands
        why = " ".join(f"{type(error).__name__}: {error}".split())
        return f'<p class="faint">None are drawn: {escape(why)}</p>', why
    return (
        f'<p class="faint">{escape(samples.note)}. Dashed: the labels. Solid: detections.</p>'
        '<input type="checkbox" id="no-truth"> <label for="no-truth">hide labels</label>'
        '<input type="checkbox" id="no-found"> <label for="no-found">hide detections</label>'
        f'<div class="grid samples">{"".join(samples.pictures)}</div>',
        "",
    )


def _body(reader: RunReader, info: RunInfo, run: RunFolder, pictures: str) -> Iterator[str]:
    started, epochs, evaluations = reader.started(), reader.epochs(), reader.evaluations()
    yield f"<h1>{escape(run.name)}</h1>"
    yield f'<p class="faint">{escape(_subtitle(info, started))}</p>'
    if info.message and info.status in ("failed", "stopped"):
        kind = "error" if info.status == "failed" else "faint"
        yield f'<p class="{kind}"><b>{escape(info.message)}</b></p>'
    yield h.figures(_headline(info, evaluations))
    findings = list(_findings(reader))
    if findings:
        yield "<h2>Findings</h2>"
        yield from findings
    charts = list(_charts(reader, started, evaluations))
    if charts:
        yield "<h2>Curves</h2>"
        yield '<p class="faint">Line: smoothed mean. Band: the steps\' own values, smallest to largest.</p>'
        yield f'<div class="grid">{"".join(charts)}</div>'
    if evaluations:
        yield "<h2>Evaluation</h2>"
        yield _evaluation(evaluations)
    yield "<h2>Sample detections</h2>"
    yield pictures
    if epochs:
        yield "<h2>Epochs</h2>"
        unit = ", per object" if started is not None and started.per_object else ""
        yield f'<p class="faint">Mean ± spread of the steps of an epoch{unit}.</p>'
        yield _epoch_table(epochs, evaluations)
    yield from _settings(run)
    kept = reader.meta()
    environment = dict(kept.get("environment") or {})
    for name in ("config", "code", "code_sha256"):
        if kept.get(name):
            environment[name] = kept[name]
    if environment:
        yield "<h2>Environment</h2>"
        yield h.table((), [(str(name), str(value)) for name, value in environment.items()], words=True)
    log = reader.log(LOG_LINES)
    if log:
        yield h.folded(f"Log, the last {len(log)} lines", f"<pre>{escape(_log_text(log))}</pre>")
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime())
    version = metadata.version("yolotui")
    yield f"<footer>yolotui {version} · written {written} · {escape(str(run.path))}</footer>"


def _subtitle(info: RunInfo, started: ev.RunStarted | None) -> str:
    parts = [info.status, time.strftime("%Y-%m-%d %H:%M", time.localtime(info.started))]
    if started is not None:
        parts += [
            info.data,
            started.network,
            f"{started.parameters:,} parameters" if started.parameters else "",
        ]
        parts += [started.device, f"{started.images:,} images" if started.images else ""]
        parts.append(f"batches of {started.batch_size}" if started.batch_size else "")
    return " · ".join(part for part in parts if part)


def _headline(info: RunInfo, evaluations: Sequence[ev.EvaluationDone]) -> list[tuple[str, str]]:
    of = f" / {info.total_epochs:,}" if info.total_epochs else ""
    values = [
        ("epochs", f"{info.epochs:,}{of}"),
        ("steps", f"{info.steps:,}"),
        ("hours", f"{info.seconds / 3600:.2f}"),
    ]
    if evaluations:
        best = _best(evaluations)
        values.insert(0, (f"mAP50-95, best epoch {best.epoch}", f"{best.map50_95:.4f}"))
        values.insert(0, (f"mAP50, best epoch {best.epoch}", f"{best.map50:.4f}"))
    if info.last_total is not None:
        values.append(("last total", f"{info.last_total:.3g}"))
    return values


def _best(evaluations: Sequence[ev.EvaluationDone]) -> ev.EvaluationDone:
    return ev.best_of(evaluations) or evaluations[-1]


def _findings(reader: RunReader) -> Iterator[str]:
    """Every different claim once, as it was raised last; those that still stand first."""
    gone: dict[str, int] = {}
    for cleared in reader.cleared():
        gone[cleared.probe] = max(cleared.step, gone.get(cleared.probe, 0))
    newest = {(f.severity, f.probe, f.function, f.tensor, f.channels): f for f in reader.findings()}
    order = list(SIGNS)
    for found in sorted(
        newest.values(), key=lambda f: (gone.get(f.probe, -1) >= f.step, order.index(f.severity))
    ):
        cleared_at = gone.get(found.probe, -1)
        past = cleared_at >= found.step
        lines = [
            f"<b>{SIGNS[found.severity]} {found.severity}</b> {escape(found.about)} {escape(found.place)} "
            f"<small>{escape(found.probe)}, "
            f"step {found.step:,}{f', cleared at step {cleared_at:,}' if past else ''}</small>",
            f"<p>{escape(found.message)}</p>",
        ]
        for name, text in (("expected", found.expected), ("got", found.got), ("fix", found.fix)):
            if text:
                lines.append(f"<p><small>{name}</small> {escape(text)}</p>")
        yield f'<div class="finding {found.severity}{" cleared" if past else ""}">{"".join(lines)}</div>'


def _charts(
    reader: RunReader, started: ev.RunStarted | None, evaluations: Sequence[ev.EvaluationDone]
) -> Iterator[str]:
    last = reader.last_step()
    if not last:
        return
    per = started.steps_per_epoch if started is not None else 0
    columns, newest = reader.columns(), reader.rows(last - 1, 1)[1][0].tolist()
    # Fractions of the first epoch say less than its steps.
    axis = Axis("epoch", per, last) if per and last > per else Axis("step", 1, last)
    terms = [name for name in (started.terms if started else ()) if name in reader.terms()]
    terms += [name for name in reader.terms() if name not in terms]
    names = {name: name for name in terms} | BESIDE
    for name, series in reader.many_series(list(names), points=POINTS).items():
        svg = curve_chart(name, series, axis, smooth=name != "lr")
        if svg:
            bad = int(series.bad.sum())
            end = f"last {newest[columns.index(name)]:.3g}"
            yield h.chart(names[name], f"{end} · {bad:,} not finite" if bad else end, svg)
    if evaluations:
        steps = [done.step for done in evaluations]
        scores = [done.map50 for done in evaluations]
        svg = score_chart(steps, scores, [done.map50_95 for done in evaluations], axis)
        best = _best(evaluations)
        yield h.chart("average precision", f"best epoch {best.epoch}: mAP50 {best.map50:.3g}", svg)


def _evaluation(evaluations: Sequence[ev.EvaluationDone]) -> str:
    best = _best(evaluations)
    intro = (
        f"The best of {len(evaluations)}: epoch {best.epoch}, split {best.split}, {best.images:,} images, "
        f"{best.objects:,} objects, mAP50 {best.map50:.4f}, mAP50-95 {best.map50_95:.4f}."
    )
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{score:.4f}</td><td>{h.bar(score)}</td></tr>"
        for name, score in sorted(best.per_class.items(), key=lambda each: (each[1] != each[1], -each[1]))
    )
    head = "<thead><tr><th>class</th><th>AP50</th><th></th></tr></thead>"
    listed = f'<div class="scroll narrow"><table>{head}<tbody>{rows}</tbody></table></div>' if rows else ""
    return f"<p>{escape(intro)}</p>{listed}"


def _epoch_table(epochs: Sequence[ev.EpochDone], evaluations: Sequence[ev.EvaluationDone]) -> str:
    terms = list(dict.fromkeys(name for done in epochs for name in done.summaries))
    scored = {done.epoch: done for done in evaluations}
    best = _best(evaluations).epoch if evaluations else None
    head = ["epoch", "step", *terms, "lr", "img/s", *(["mAP50", "mAP50-95"] if evaluations else [])]
    rows = []
    for done in epochs:
        cells = [f"{done.epoch:,}", f"{done.step:,}"]
        for name in terms:
            summary = done.summaries.get(name)
            cells.append(f"{summary.mean:.3g} ± {summary.spread:.2g}" if summary else "")
        cells += [
            f"{done.lr:.3g}",
            f"{done.images / done.seconds:.3g}" if done.seconds > 0 and done.images else "",
        ]
        if evaluations:
            score = scored.get(done.epoch)
            cells += [f"{score.map50:.4f}", f"{score.map50_95:.4f}"] if score else ["", ""]
        rows.append(cells)
    marked = next((k for k, done in enumerate(epochs) if done.epoch == best), None)
    return h.table(head, rows, marked)


def _settings(run: RunFolder) -> Iterator[str]:
    try:
        sections = tomllib.loads(run.config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    yield "<h2>Settings</h2>"
    for name, values in sections.items():
        inside = values if isinstance(values, dict) else {name: values}
        rows = [(str(key), str(value)) for key, value in inside.items()]
        yield h.folded(f"[{name}]", h.table((), rows, words=True))


def _log_text(entries: Sequence[LogEntry]) -> str:
    return "\n".join(
        f"{time.strftime('%m-%d %H:%M:%S', time.localtime(entry.time))} {entry.level:<7} {entry.text}"
        for entry in entries
    )
