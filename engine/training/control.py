"""The one object that enters the training thread: what the people at the screen ask of it.

Every method may be called from any thread and returns at once. The training thread calls
``wait_turn`` between two steps and takes the requests it finds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from ..runs import requests

Request = Literal["checkpoint", "snapshot"]
MEANWHILE = 10.0


class Control:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._paused = False
        self._steps_allowed = 0
        self._until_epoch_end = False
        self._stop = False
        self._requests: list[Request] = []
        self._lr_factor: float | None = None
        self._capture = False

    # asked from outside

    def pause(self) -> None:
        with self._changed:
            self._paused, self._steps_allowed, self._until_epoch_end = True, 0, False
            self._changed.notify_all()

    def resume(self) -> None:
        with self._changed:
            self._paused, self._until_epoch_end = False, False
            self._changed.notify_all()

    def toggle_pause(self) -> None:
        if self.paused:
            self.resume()
        else:
            self.pause()

    def step(self, count: int = 1) -> None:
        """Do ``count`` steps and pause."""
        with self._changed:
            self._paused = True
            self._steps_allowed += count
            self._changed.notify_all()

    def to_epoch_end(self) -> None:
        """Run to the end of the epoch and pause there."""
        with self._changed:
            self._paused, self._until_epoch_end = False, True
            self._changed.notify_all()

    def checkpoint(self) -> None:
        self._ask("checkpoint")

    def snapshot(self) -> None:
        self._ask("snapshot")

    def capture(self, on: bool) -> None:
        """Keep every step's tensors in the ring while the inspector looks on."""
        self._capture = on

    def scale_lr(self, factor: float) -> None:
        """Multiply the scheduled learning rate from now on (1 is the schedule itself)."""
        with self._changed:
            self._lr_factor = factor
            self._changed.notify_all()

    def stop(self) -> None:
        """End after the step in progress, with a checkpoint."""
        with self._changed:
            self._stop = True
            self._changed.notify_all()

    def obey(self, request: requests.Request) -> None:
        """What somebody in another process asked for."""
        match request.kind:
            case "pause":
                self.pause()
            case "resume":
                self.resume()
            case "step":
                self.step(request.count)
            case "epoch_end":
                self.to_epoch_end()
            case "snapshot":
                self.snapshot()
            case "checkpoint":
                self.checkpoint()
            case "stop":
                self.stop()
            case "lr":
                self.scale_lr(request.factor)

    @property
    def paused(self) -> bool:
        return self._paused and self._steps_allowed == 0

    @property
    def stopping(self) -> bool:
        return self._stop

    @property
    def capturing(self) -> bool:
        return self._capture

    # called by the training thread

    def wait_turn(
        self,
        serve: Callable[[Request], None],
        on_pause: Callable[[], None],
        on_resume: Callable[[], None] = lambda: None,
        meanwhile: Callable[[], None] | None = None,
    ) -> bool:
        """Block while paused, serving requests; True for one more step, False to stop.

        ``on_pause`` is called before the first wait, ``on_resume`` before the step that ends the pause,
        ``meanwhile`` every 10 seconds of it.
        """
        announced = False
        while True:
            waited = False
            with self._changed:
                requests, self._requests = self._requests, []
                if not requests:
                    if self._stop:
                        return False
                    go_on = not self._paused or self._steps_allowed > 0
                    if go_on and self._paused:
                        self._steps_allowed -= 1
                    if not go_on and announced:
                        told = self._changed.wait(MEANWHILE if meanwhile else None)
                        if told or meanwhile is None:
                            continue
                        waited = True
            if waited and meanwhile is not None:
                meanwhile()
                continue
            if not requests and go_on:
                if announced:
                    on_resume()
                return True
            for request in requests:
                serve(request)
            if not requests and not announced:
                announced = True
                on_pause()

    def epoch_ended(self) -> None:
        with self._changed:
            if self._until_epoch_end:
                self._paused, self._until_epoch_end = True, False

    def take_lr_factor(self) -> float | None:
        with self._changed:
            factor, self._lr_factor = self._lr_factor, None
            return factor

    def _ask(self, request: Request) -> None:
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
