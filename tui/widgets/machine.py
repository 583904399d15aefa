"""What the training costs the machine: cores, memory, graphics cards, waiting for data, this view itself."""

from __future__ import annotations

import math
import socket

from engine.machine import Gpu

from ..budget import DrawingBudget
from ..format import gigabytes, percent, seconds_text
from ..runstate import RunState
from ..sampling import Sampler
from .panel import Panel, Piece, fit

LABEL = 6
HIGH = 0.9
"""From here on a memory is called full."""


class MachinePanel(Panel):
    help_title = "Machine"
    help_text = (
        "cpu: cores busy on this machine, and those that this process and its workers keep busy. ram: "
        "memory in use, and this process's part. Of a run that another process writes: that process's part; "
        "of one on another machine: what its store tells. "
        "gpu: the time in which a kernel ran, and the card's memory. "
        "step: of the last steps' mean, what was spent waiting for the batch, and what on computing: where "
        "waiting is more than a few percent, the data loader is too slow. view: what drawing this screen "
        "costs, in percent of one core, and the share that it may take."
    )

    def __init__(self, state: RunState, sampler: Sampler, budget: DrawingBudget) -> None:
        super().__init__("machine", id="machine")
        self.state, self.sampler, self.budget = state, sampler, budget

    def content_key(self) -> object:
        status = self.state.status
        if self._elsewhere:
            return (self.state.last, status and status.state, self.budget.recent_share, self.size)
        if status is not None:
            self.sampler.pid = status.pid if status.alive else None
            self.sampler.siblings = self.state.started is not None and self.state.started.processes > 1
        self.sampler.start()
        return (id(self.sampler.newest), self.size)

    @property
    def _elsewhere(self) -> str:
        """The other machine that the run is on; empty where it is this one."""
        status = self.state.status
        return status.host if status is not None and status.host not in ("", socket.gethostname()) else ""

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        share = self.state.data_share
        waits = f"  waits for data {share * 100:.0f}%" if math.isfinite(share) else ""
        return [self.name_piece("machine"), (waits, "warn" if share > 0.2 else "plain")], []

    def body(self, width: int, height: int) -> list[list[Piece]]:
        here = self._there if self._elsewhere else self._here
        lines = [*here(width), self._step(width), self._view(width)]
        return [fit(line, width) for line in lines[:height]]

    def _here(self, width: int) -> list[list[Piece]]:
        return [*self._processor(width), *self._cards(width)]

    def _there(self, width: int) -> list[list[Piece]]:
        """What the run's store tells of a machine that cannot be looked at from here."""
        last, status = self.state.last, self.state.status
        where = f"{self._elsewhere}, process {status.pid}" if status else self._elsewhere
        lines: list[list[Piece]] = [[(f" {'on':<{LABEL - 1}}", "axis"), (where, "plain")]]
        if last is not None:
            text = f"{gigabytes(last.memory)} in use by the run"
            lines.append([(f" {'mem':<{LABEL - 1}}", "axis"), (text, "plain")])
        return lines

    def _processor(self, width: int) -> list[list[Piece]]:
        sample = self.sampler.newest
        if sample is None:
            return [[("  measuring", "dim")]]
        status = self.state.status
        own = [f"{sample.own_cpu:.2f}", gigabytes(sample.own_memory)]
        if status is None or status.alive:
            own = [f"{'here' if status is None else 'the run'} {value}" for value in own]
        else:
            own = ["", ""]  # its process is gone
        cores = f"{sample.cores} core{'s' * (sample.cores > 1)}"
        return [
            _line(
                "cpu",
                sample.cpu / sample.cores,
                f"{sample.cpu:.2f} of {cores}",
                own[0],
                width,
            ),
            _line(
                "ram",
                sample.memory_used / sample.memory_total,
                f"{gigabytes(sample.memory_used)} of {gigabytes(sample.memory_total)}",
                own[1],
                width,
                full=True,
            ),
        ]

    def _cards(self, width: int) -> list[list[Piece]]:
        sample = self.sampler.newest
        return [_card(gpu, len(sample.gpus) > 1, width) for gpu in sample.gpus] if sample else []

    def _step(self, width: int) -> list[Piece]:
        whole, data = self.state.step_seconds, self.state.step_data_seconds
        if not math.isfinite(whole):
            return [("  no steps yet", "dim")]
        text = f"data {seconds_text(data)}  compute {seconds_text(whole - data)}"
        return _line("step", data / whole if whole else 0.0, text, "", width)

    def _view(self, width: int) -> list[Piece]:
        share = self.budget.recent_share
        text = f"{percent(share)} of a core  may take {percent(self.budget.share)}"
        return _line("view", min(1.0, share), text, "", width)


def _card(gpu: Gpu, several: bool, width: int) -> list[Piece]:
    memory = f"{gigabytes(gpu.memory_used)} of {gigabytes(gpu.memory_total)}"
    busy = f"{percent(gpu.utilisation)} busy  " if gpu.utilisation is not None else ""
    share = gpu.utilisation if gpu.utilisation is not None else gpu.memory_used / max(1, gpu.memory_total)
    full = " full" if gpu.memory_used >= HIGH * gpu.memory_total else ""
    return _line(f"gpu{gpu.index}" if several else "gpu", share, busy + memory + full, gpu.name, width)


def _line(label: str, share: float, text: str, more: str, width: int, full: bool = False) -> list[Piece]:
    """``label ████░░░░ text  more``: the bar takes what the text leaves, at most 12."""
    used = LABEL + len(text) + 2
    if more and used + len(more) + 2 + 8 <= width:
        text, used = f"{text}  {more}", used + len(more) + 2
    bar = max(0, min(12, width - used))
    filled = round(min(1.0, max(0.0, share)) * bar)
    warn = full and share >= HIGH
    pieces: list[Piece] = [(f" {label:<{LABEL - 1}}", "axis")]
    if bar >= 4:
        pieces += [("█" * filled, "bad" if warn else "line"), ("░" * (bar - filled), "band"), (" ", "plain")]
    return [*pieces, (text, "warn" if warn else "plain"), (" nearly full" if warn else "", "warn")]
