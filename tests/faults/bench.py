"""The fault bench: does the doctor name the faulty function and channels, and does it leave sound code alone?

    python -m tests.faults.bench [--seeds N] [--jobs N] [--only SLUG] [--cases FOLDER] [--keep FILE] [--json]

``--keep`` writes each outcome to a file of JSON lines as it comes; what stands there already is not run
again, so a long bench can be cut and taken up. Exit 1 where a goal is missed: every fault detected, the first
finding names the function in 95 % and the channels in 85 %, and no error on a legitimate design.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults.case import HERE, Case, load_cases

DETECTION, FUNCTION, CHANNELS = 1.0, 0.95, 0.85


@dataclass(frozen=True)
class Outcome:
    """What one check of one case gave. ``channels``: None where the case leaves them open."""

    slug: str
    row: int | None
    seed: int
    legitimate: bool
    expected_functions: list[str]
    expected_channels: list[str] | None
    detected: bool
    """Of a legitimate case: whether it raised an error."""
    function: bool
    channels: bool | None
    named: str
    seconds: float
    warnings: int
    crash: str

    @property
    def sound(self) -> bool:
        if self.crash:
            return False
        return not self.detected if self.legitimate else self.detected and self.function


def run_case(case: Case, folder: Path, seed: int) -> Outcome:
    """The doctor on one case; an exception of the doctor's own is a crash, and so a failure."""
    begun = time.perf_counter()
    findings: list[dict[str, Any]] = []
    crash = ""
    try:
        findings = case.findings(folder, seed)
    except Exception as error:  # the bench goes on and says which case broke the doctor
        crash = f"{type(error).__name__}: {error}"
    return judge(case, findings, seed, time.perf_counter() - begun, crash)


def judge(
    case: Case, findings: Sequence[dict[str, Any]], seed: int, seconds: float, crash: str = ""
) -> Outcome:
    """Only the first finding counts as the claim."""
    serious = {"error"} if case.expected in ("error", "none") else {"error", "warning"}
    # a warning is cheap: it counts only where it is of the right function
    detected = any(
        finding["severity"] in serious
        and (case.expected != "warning" or finding["function"] in case.functions)
        for finding in findings
    )
    top = next((finding for finding in findings if finding["severity"] in serious), None)
    first = findings[0] if findings else None
    if case.legitimate or first is None:
        right, channels = False, None
    else:
        right = detected and first["function"] in case.functions
        named = set(first.get("channels") or ())
        wanted = case.channels
        if wanted is None:
            channels = None
        else:
            channels = right and (bool(named & wanted) if case.match == "overlap" else named == wanted)
    if first is None and case.channels is not None and not case.legitimate:
        channels = False
    shown = top or first
    label = (
        ""
        if shown is None
        else f"{shown['function']}({' '.join(shown.get('channels') or ())}) {shown['probe']}"
    )
    return Outcome(
        case.slug,
        case.row,
        seed,
        case.legitimate,
        list(case.functions),
        None if case.channels is None else sorted(case.channels),
        detected,
        right,
        channels,
        label,
        seconds,
        sum(finding["severity"] == "warning" for finding in findings),
        crash,
    )


def rates(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    faults = [o for o in outcomes if not o.legitimate]
    sound = [o for o in outcomes if o.legitimate]
    judged = [o for o in faults if o.channels is not None]
    seconds = [o.seconds for o in outcomes] or [0.0]
    return {
        "faults": len(faults),
        "detected": _share(o.detected for o in faults),
        "function": _share(o.function for o in faults),
        "channels": _share(bool(o.channels) for o in judged),
        "legitimate": len(sound),
        "errors_on_legitimate": sum(o.detected for o in sound),
        "warnings_on_legitimate": sum(o.warnings > 0 for o in sound),
        "crashes": sum(bool(o.crash) for o in outcomes),
        "seconds_median": statistics.median(seconds),
        "seconds_max": max(seconds),
    }


def met(found: dict[str, Any]) -> bool:
    """Whether the bench's goals are reached."""
    return bool(
        found["detected"] >= DETECTION
        and found["function"] >= FUNCTION
        and found["channels"] >= CHANNELS
        and found["errors_on_legitimate"] == 0
        and found["crashes"] == 0
    )


def run(
    cases: Sequence[Case],
    seeds: int = 1,
    progress: bool = False,
    *,
    jobs: int = 1,
    folder: Path = HERE,
    keep: Path | None = None,
) -> list[Outcome]:
    """Every case on every seed, in their order; ``folder`` is where ``cases`` were loaded from."""
    known = _kept(keep)
    wanted = [(case, seed) for seed in range(seeds) for case in cases]
    todo = [(case, seed) for case, seed in wanted if (case.slug, seed) not in known]
    for outcome in _outcomes(todo, jobs, folder):
        known[outcome.slug, outcome.seed] = outcome
        if keep is not None:
            with keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
        if progress:
            print(table_row(outcome, seeds > 1), flush=True)
    return [known[case.slug, seed] for case, seed in wanted]


def _kept(path: Path | None) -> dict[tuple[str, int], Outcome]:
    if path is None or not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {(o.slug, o.seed): o for o in (Outcome(**json.loads(line)) for line in lines if line.strip())}


def _outcomes(todo: Sequence[tuple[Case, int]], jobs: int, folder: Path) -> Iterator[Outcome]:
    if jobs < 2:
        yield from (_one(case, seed) for case, seed in todo)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(folder,)) as pool:
        yield from pool.map(_of_slug, [c.slug for c, _ in todo], [s for _, s in todo], chunksize=4)


_loaded: dict[str, Case] = {}


def _begin(folder: Path) -> None:
    """In each process: one thread, and the cases, which hold functions and so cannot be sent."""
    import torch

    torch.set_num_threads(1)
    if "fork" in multiprocessing.get_all_start_methods():
        # as in a process of one's own: the loops' loaders fork their workers
        multiprocessing.set_start_method("fork", force=True)
    _loaded.update({case.slug: case for case in load_cases(folder)})


def _of_slug(slug: str, seed: int) -> Outcome:
    return _one(_loaded[slug], seed)


def _one(case: Case, seed: int) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        return run_case(case, Path(folder) / f"{case.slug}-{seed}", seed)


def table_row(o: Outcome, with_seed: bool) -> str:
    def mark(value: bool | None) -> str:
        return "-" if value is None else "yes" if value else "NO"

    slug = f"{o.slug}#{o.seed}" if with_seed else o.slug
    if o.legitimate:
        verdict = f"{'ERROR' if o.detected else 'quiet':9}{'':9}{'':9}"
    else:
        verdict = f"{mark(o.detected):9}{mark(o.function):9}{mark(o.channels):9}"
    wanted = "" if o.sound and o.channels is not False else _wanted(o)
    return f"{o.row or '':>3} {slug:34}{verdict}{o.seconds:6.2f}  {o.crash or o.named}{wanted}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.bench", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="checks of each case, on other random inputs")
    parser.add_argument("--only", metavar="SLUG", help="cases whose name contains this")
    parser.add_argument(
        "--cases", type=Path, default=HERE, metavar="FOLDER", help="a folder with cases/ and bases/"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="outcomes as they come; a cut bench goes on"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args(arguments)
    cases = [case for case in load_cases(options.cases) if not options.only or options.only in case.slug]
    if not cases:
        parser.error(f"no case is called {options.only}")
    if not options.json:
        print(f"row {'case':34}{'detected':9}{'function':9}{'channels':9}  secs  first claim", flush=True)
    outcomes = run(
        cases,
        options.seeds,
        progress=not options.json,
        jobs=options.jobs,
        folder=options.cases,
        keep=options.keep,
    )
    found = rates(outcomes)
    if options.json:
        print(
            json.dumps({"ok": met(found), "rates": found, "cases": [asdict(o) for o in outcomes]}, indent=1)
        )
    else:
        print(
            f"\n{found['faults']} faults: detected {found['detected']:.1%}, "
            f"function {found['function']:.1%}, channels {found['channels']:.1%}\n"
            f"{found['legitimate']} legitimate: {found['errors_on_legitimate']} with an error, "
            f"{found['warnings_on_legitimate']} with a warning\n"
            f"crashes {found['crashes']}; seconds a check: median {found['seconds_median']:.2f}, "
            f"most {found['seconds_max']:.2f}"
        )
    return 0 if met(found) else 1


def _wanted(o: Outcome) -> str:
    if o.legitimate:
        return ""
    names = "|".join(o.expected_functions)
    return f"   (wanted {names}({' '.join(o.expected_channels or ['any'])}))"


def _share(values: Any) -> float:
    counted = [bool(value) for value in values]
    return sum(counted) / len(counted) if counted else 1.0


if __name__ == "__main__":
    sys.exit(main())
