"""The object that ``watch`` returns: what a loop of one's own calls once a step."""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..doctor.contracts import LoopJudge
from ..doctor.findings import Finding
from ..nets.weights import save_weights
from ..runs import events as ev
from ..runs.codec import MISSING
from ..runs.snapshots import CodePlace
from ..training.control import Control, Request
from .gradient_norm import GradientNorm
from .observed import Held, Observed, collect, give
from .parts import Parts
from .saying import Saying
from .shelf import GIVES_WAY
from .tensors import count_objects
from .worker import EpochEnded, KeepLatest

NOTHING = float(MISSING)
MOST_LEFT = 50_000
"""Steps that may wait for the recorder's thread; where it hangs on a disk, later ones are lost."""


class Recorder:
    """Records one training loop. Made by ``watch``; none of its methods raises, with one exception: see
    ``step`` on stopping.

    ``path`` is the run's folder, or None where nothing is recorded (said on stderr, or another rank's work).
    """

    def __init__(self, parts: Parts | None, saying: Saying) -> None:
        self._parts = parts
        self._say = saying
        self._pid = os.getpid()
        self.path: Path | None = parts.folder.path if parts else None
        if parts is None:
            return
        self._worker = parts.worker
        self._control: Control = parts.control
        self._model, self._optimizer = parts.model, parts.optimizer
        self._norm = GradientNorm(parts.model) if parts.model is not None else None
        self._judge: LoopJudge | None = parts.judge
        self._held = Held()
        self._step = parts.first_step
        self._epoch, self._iteration = parts.first_epoch, 0
        self._per_epoch = parts.steps_per_epoch
        self._snapshot_every = parts.snapshot_every
        self._epoch_shift: int | None = None
        self._wanted = ""
        self._told_to_stop = False
        self._seconds = 0.0
        self._mark = time.perf_counter()

    # what a loop calls

    def step(
        self,
        losses: Mapping[str, Any],
        *,
        images: Any = None,
        targets: Any = None,
        pred: Any = None,
        boxes: Any = None,
        labels: Any = None,
        decoded: Any = None,
        maps: Mapping[str, Any] | None = None,
        paths: Sequence[str] | None = None,
        epoch: int | None = None,
        lr: Any = None,
        grad_norm: Any = None,
    ) -> bool:
        """One optimizer step is done. True to go on; False once somebody has asked this run to stop.

        - ``losses``: scalars by name, tensors or numbers; the one that is back-propagated is best called
          ``total``. Tensors on a device stay there and are read later, many at once.
        - ``images``: ``[B, 3, H, W]`` or ``[B, H, W, 3]``: 0..255, 0..1 or normalised.
        - ``pred``, ``targets``, ``decoded``: under the declared layout (``decoded`` with 4 channels: cx, cy,
          w, h in 0..1 of the input); with several heads lists. After ``pred.retain_grad()`` its gradient is
          kept too.
        - ``boxes``: the truths, a list of ``[N, 4]`` cx, cy, w, h in 0..1, one an image, and ``labels`` a
          list of ``[N]``; or one tensor ``[N, 6]`` of image, class, cx, cy, w, h.
        - ``maps``: ``{term: one value a slot}``. ``paths``: the images' files.
        - ``epoch``: its number; one that begins with 0 is shown from 1. ``lr`` and ``grad_norm`` where they
          are better known to the loop than to the optimizer and the parameters.

        The tensors are kept by reference, for at most a moment: a copy for the inspector is made on another
        thread, as often as 0.5 % of the time allows, and given up where the loop has overwritten one of them
        in place meanwhile. Snapshots that were asked for or scheduled are copied here and now.

        Waits here while the run is paused. Whoever ignores False has asked for Ctrl+C's way out: the next
        call raises ``KeyboardInterrupt``. Nothing else is ever raised.
        """
        if self._parts is None or os.getpid() != self._pid:
            return True
        try:
            if self._parts.where is None:
                self._parts.where = caller()
            tensors = {
                "images": images,
                "pred": pred,
                "targets": targets,
                "decoded": decoded,
                "boxes": boxes,
                "labels": labels,
                "maps": maps,
            }
            self._observe(losses, tensors, paths, epoch, lr, grad_norm)
        except Exception as error:
            self._say.failed("a step was not recorded", error)
        return self._turn()

    def epoch(self) -> None:
        """An epoch is over; not needed where ``step`` is given its number or ``watch`` the steps of one."""
        if self._parts is None or os.getpid() != self._pid:
            return
        try:
            if self._iteration:
                self._end_epoch()
                self._worker.left.append(EpochEnded())
                self._worker.wake.set()
        except Exception as error:
            self._say.failed("an epoch was not recorded", error)
        if self._control.paused:
            self._turn()

    @property
    def stopping(self) -> bool:
        """Whether somebody has asked this run to stop."""
        return self._parts is not None and self._control.stopping

    def close(self) -> None:
        """The training is over. May be called twice; at the end of the script it is called by itself."""
        stopped = self.stopping
        self._close("stopped" if stopped else "finished", "stopped on request" if stopped else "")

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.close_with(error)

    def close_with(self, error: BaseException) -> None:
        """The loop has ended with an exception."""
        text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        if isinstance(error, (KeyboardInterrupt, SystemExit)) or self.stopping:
            self._close("stopped", "stopped on request" if self.stopping else text)
        else:
            self._close("failed", text)

    # in the step

    def _observe(
        self,
        losses: Mapping[str, Any],
        tensors: Mapping[str, Any],
        paths: Sequence[str] | None,
        epoch: int | None,
        lr: Any,
        grad_norm: Any,
    ) -> None:
        now = time.perf_counter()
        self._seconds = now - self._mark
        self._step += 1
        self._count(epoch)
        if self._norm is not None and grad_norm is None:
            grad_norm = self._norm.measure(self._step, self._seconds)
        others = (NOTHING if grad_norm is None else grad_norm, self._rate() if lr is None else lr)
        names, host, places, record = collect(losses, others, self._misfit)
        images = tensors["images"]
        observed = Observed(
            step=self._step,
            epoch=self._epoch,
            iteration=self._iteration,
            names=names,
            values=host,
            places=places,
            record=record,
            ready=None,
            seconds=self._seconds,
            images=_batch(images, tensors["pred"]),
            objects=count_objects(tensors["boxes"]),
        )
        if self._snapshot_every and self._step % self._snapshot_every == 0:
            self._wanted = self._wanted or GIVES_WAY
        observed.given = give(tensors, paths, bool(self._wanted))
        crowded = False
        if observed.given is not None:
            observed.reason, self._wanted = self._wanted, ""
            crowded = self._held.add(observed)
        if record is not None and record.is_cuda:
            observed.ready = _cuda_event()
        if len(self._worker.left) < MOST_LEFT:
            self._worker.left.append(observed)
        if crowded:
            self._worker.wake.set()
        if self._judge is not None:
            self._raise(self._judge.step(losses, images, self._place()))

    def _count(self, epoch: int | None) -> None:
        if epoch is not None:
            number = int(epoch)
            if self._epoch_shift is None:
                self._epoch_shift = 1 if number == 0 else 0
            number += self._epoch_shift
            if number != self._epoch:
                if self._iteration:
                    self._control.epoch_ended()
                self._epoch, self._iteration = number, 0
        elif self._per_epoch and self._iteration >= self._per_epoch:
            self._end_epoch()
        self._iteration += 1
        if epoch is None and self._per_epoch and self._iteration == self._per_epoch:
            self._control.epoch_ended()

    def _end_epoch(self) -> None:
        if not self._per_epoch or self._iteration < self._per_epoch:
            self._control.epoch_ended()
        self._epoch += 1
        self._iteration = 0

    def _misfit(self, name: str, value: Any) -> None:
        shape = getattr(value, "shape", None)
        what = f"has shape {list(shape)}" if shape is not None else f"is a {type(value).__name__}"
        self._say(f"loss {name}", f"losses[{name!r}] {what}, expected a scalar: left out")

    def _rate(self) -> Any:
        return self._optimizer.param_groups[0]["lr"] if self._optimizer is not None else NOTHING

    def _raise(self, findings: Sequence[Finding]) -> None:
        """Into the run, and on stderr, where whoever started the script looks."""
        for found in findings:
            event = _raised(found, self._step)
            self._worker.left.append(event)
            if event.severity != "info":
                place = f" ({event.place})" if event.place else ""
                self._say.aloud(f"{event.severity}: {event.function}{place}: {event.message}; {event.fix}")
        if self._judge is not None and self._judge.broken:
            self._log(f"the loop is not judged any more: {self._judge.broken}", "warning")
            self._judge = None

    def _place(self) -> tuple[str, int] | None:
        place = self._parts.where if self._parts is not None else None
        return (place.path, place.line) if place is not None else None

    # between two steps

    def _turn(self) -> bool:
        if self._told_to_stop:
            raise KeyboardInterrupt("stopped on request")
        try:
            go_on = self._control.wait_turn(self._serve, self._on_pause, self._on_resume)
        except Exception as error:
            self._say.failed("the pause", error)
            go_on = True
        self._told_to_stop = not go_on
        self._mark = time.perf_counter()
        return go_on

    def _serve(self, request: Request) -> None:
        if request == "checkpoint":
            self._checkpoint()
        elif self._control.paused:
            self._worker.left.append(KeepLatest())
        else:
            self._wanted = "asked for"
        self._worker.wake.set()

    def _on_pause(self) -> None:
        self._worker.left.append(ev.StateChanged("paused"))
        self._worker.wake.set()

    def _on_resume(self) -> None:
        self._worker.left.append(ev.StateChanged("training"))

    def _checkpoint(self) -> None:
        """The weights alone, for whoever asked from outside; the loop's own checkpoints are its business."""
        assert self._parts is not None
        if self._model is None:
            self._log("no checkpoint: watch() was given no model", "warning")
            return
        try:
            path = self._parts.folder.last
            about = {"recorded": True, "network": type(self._model).__name__, "step": self._step}
            save_weights(path, self._model.state_dict(), about)
            self._worker.left.append(ev.CheckpointSaved(self._step, self._epoch, str(path), False))
        except Exception as error:
            self._say.failed("a checkpoint was not written", error)

    def _log(self, text: str, level: Any = "info") -> None:
        self._worker.left.append(ev.LogLine(level, text))

    # the end

    def _close(self, status: ev.Status, message: str) -> None:
        parts, self._parts = self._parts, None
        atexit.unregister(self.close_at_exit)
        if parts is None or os.getpid() != self._pid:
            return
        try:
            if self._judge is not None:
                self._raise(self._judge.end())
                self._judge.close()
            text = message or f"recorded {self._step} steps"
            code = {"finished": 0, "stopped": 0, "failed": 1}[status]
            parts.close(ev.RunEnded(status, text, self._step, self._epoch, code))
        except Exception as error:
            self._say.failed("the end of the run was not recorded", error)

    def close_at_exit(self) -> None:
        """By itself, where the script has not closed it: as an exception that nobody caught tells."""
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if self._parts is not None and error is not None:
            self.close_with(error)
        else:
            self.close()


def _batch(images: Any, pred: Any) -> int:
    first = images if images is not None else pred[0] if isinstance(pred, (list, tuple)) and pred else pred
    shape: Sequence[int] = getattr(first, "shape", None) or (0,)
    return int(shape[0])


def _cuda_event() -> Any:
    import torch

    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return event


def _raised(found: Finding, step: int) -> ev.FindingRaised:
    return ev.FindingRaised(
        severity=found.severity,
        probe=found.probe,
        function=found.function,
        message=found.message,
        step=step,
        tensor=found.tensor,
        channels=found.channels,
        expected=found.expected,
        got=found.got,
        fix=found.fix,
        file=found.file,
        line=found.line,
    )


def caller(depth: int = 2) -> CodePlace | None:
    """The file and line outside this package that called us."""
    here = os.path.dirname(__file__)
    frame: Any = sys._getframe(depth)
    while frame is not None and os.path.dirname(frame.f_code.co_filename) == here:
        frame = frame.f_back
    return CodePlace(os.path.abspath(frame.f_code.co_filename), frame.f_lineno) if frame is not None else None
