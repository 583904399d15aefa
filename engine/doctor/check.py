"""The doctor: each function of the user's alone with reference inputs, then together; one root first."""

from __future__ import annotations

import contextlib
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..config import Config
from ..yolo.plugin import NAMES
from .assign.probe import probe_assign
from .bench import Bench, gather
from .blame import ordered
from .build_model.probe import probe_model
from .calling import Called
from .composition import examine_loss, gradients_reach, in_place
from .contracts.settings import examine_settings
from .contracts.trial import probe_registered, probe_trial
from .data.boxes import Contest
from .data.probe import examine_data, examine_slots
from .decode.probe import probe_decode
from .deep.overfit import probe_overfit
from .deep.together import probe_together
from .detect.probe import probe_detect
from .eager import eagerly
from .findings import Report
from .inputs import drawing
from .iou import probe_iou
from .stage import stages
from .start import begin
from .subject import Subject, blueprint_of, declared_loss_keys, load_user, misspelt, seed_everything
from .transform.probe import probe_transform

Progress = Callable[[str], None]


def check(
    config: Config,
    *,
    source: Path,
    code: Path | None = None,
    deep: bool = False,
    progress: Progress | None = None,
    seed: int = 0,
) -> Report:
    """Examine a config, its data and the user's functions, before training.

    ``source`` is the config's file (which ``[loss]`` keys it sets is read from its text), ``code`` overrides
    ``[code] file``. ``progress`` is told what is being probed. ``seed``: of the
    probes' random inputs. Mistakes in the user's code are findings;
    raises ``UserError`` for a config, data or weights that no training could begin with. Nothing is written.
    """
    started = time.perf_counter()
    tell = progress or (lambda text: None)
    with _quiet_state(), drawing(seed):
        tell("code")
        path = str(code) if code is not None else config.code.file
        user, broken = load_user(path) if path else (None, [])
        data = examine_data(config)
        blueprint = blueprint_of(config, data.classes, data.anchors)
        called = Called(user) if user is not None else Called(blueprint.detector().user)
        begin(blueprint, called)
        images = len(data.train) if data.train is not None else None
        subject = Subject(config, blueprint, called, declared_loss_keys(source), images)
        bench = Bench(called, stages(blueprint.detector()))
        bench.keep("config", {"code.import": broken} if path else {})
        bench.keep("data", data.outcome)
        contested, slots = examine_slots(data, blueprint.detector())
        bench.keep("data", slots)
        bench.keep("config", {"config.training": examine_settings(config, images)})
        if user is not None:
            bench.keep("config", {"code.names": misspelt(user)})
        with eagerly(path):
            with one_thread():
                _functions(subject, bench, contested, tell)
            _network(subject, bench, tell)
            _together(subject, bench, tell, deep)
    findings = tuple(ordered(bench.findings))
    return Report(time.perf_counter() - started, tuple(bench.probes), findings, tuple(bench.tables))


def _functions(subject: Subject, bench: Bench, contested: Contest, tell: Progress) -> None:
    called = subject.called
    if called.has("transform"):
        tell("transform")
        bench.alone("transform", lambda: probe_transform(called))
    if called.has("iou"):
        tell("iou")
        bench.alone("iou", lambda: probe_iou(called))
    if called.has("assign"):
        tell("assign")
        bench.staged("assign", lambda stage: probe_assign(called, stage, contested))
    if called.has("decode"):
        tell("decode")
        bench.staged("decode", lambda stage: probe_decode(called, stage, bench.tables))
    if called.has("loss"):
        tell("loss")
        examine_loss(subject, bench)
    else:
        gradients_reach(subject, bench)
    if called.has("detect"):
        tell("detect")
        in_place(bench, "detect", lambda stage: probe_detect(called, stage, bench.tables))


def _network(subject: Subject, bench: Bench, tell: Progress) -> None:
    called = subject.called
    if called.has("build_model"):
        tell("build_model")
        bench.alone("build_model", lambda: probe_registered(called, subject.blueprint))
        names = list(subject.blueprint.classes)
        bench.alone("build_model", lambda: probe_model(called, bench.stages[0], names))


def _together(subject: Subject, bench: Bench, tell: Progress, deep: bool) -> None:
    """All together, where each alone was sound: else this would only repeat what is known."""
    called = subject.called
    if bench.failed & set(NAMES):
        for name in ("loop.contracts", "loop.together", *["loop.overfit"] * deep):
            bench.skip(name, "loop", "a function failed alone")
        return
    if called.user.functions:
        tell("together")
        with one_thread():
            bench.alone("loop", lambda: probe_together(called, bench.stages[1]))
    tell("contracts")
    if any(f.severity == "error" and f.probe.startswith("contract.") for f in bench.findings):
        bench.skip("loop.contracts", "loop", "the training settings cannot work")
    else:
        bench.alone("loop", lambda: probe_trial(subject, bench.stages[0]))
    if deep:
        tell("overfit")
        # of the data it needs nothing: its pictures are drawn
        known = [f for f in bench.findings if f.severity == "error" and f.function != "data"]
        found = gather(probe_overfit(called, subject.blueprint, bench.stages[0]), "loop")
        if known:  # what was wrong before is why it does not learn
            follows = ordered(known)[0].function
            found = {name: [replace(f, follows=follows) for f in each] for name, each in found.items()}
        bench.keep("loop", found)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch on this thread alone: for small tensors a second one is no gain, and where a training has the
    other cores every call would wait for it. A network gets all there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _quiet_state() -> Iterator[None]:
    """Deterministic seeds, the user's prints kept off stdout, and the random states put back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_everything()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
