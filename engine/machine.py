"""What the machine does: processor, memory and, where NVIDIA's library finds any, the graphics cards."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil

FAMILY_EVERY = 10
"""Samples between two looks for child processes: that look reads a file of every process on the machine."""


@dataclass(frozen=True)
class Gpu:
    index: int
    """As ``nvidia-smi`` counts them."""
    name: str
    utilisation: float | None
    """0..1: the part of the time in which a kernel ran; None where the driver does not say."""
    memory_used: int
    """Bytes, of all processes."""
    memory_total: int


@dataclass(frozen=True)
class MachineSample:
    """CPU use is in cores: 1.5 is one and a half of them busy since the sample before."""

    cpu: float
    """Everybody's on this machine."""
    own_cpu: float
    """This process's and its children's (the loader's workers)."""
    cores: int
    memory_used: int
    memory_total: int
    own_memory: int
    """Bytes resident in this process and its children; pages that they share count in each."""
    gpus: tuple[Gpu, ...] = ()


class Machine:
    """Takes samples, for one thread. The first says 0 for the CPU: nothing came before it.

    ``pid``: whose process counts as our own; without it this one. One that is gone uses nothing.
    ``siblings``: with those that the same launcher started.
    """

    def __init__(self, pid: int | None = None, siblings: bool = False) -> None:
        self.cores = psutil.cpu_count() or 1
        self._family: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            self._family.append(psutil.Process(pid))
        self._siblings = siblings
        self._samples = 0
        self._seconds: dict[int, float] = {}
        """CPU seconds of each of our processes at the last sample."""
        self._at = time.monotonic()
        self._nvml = _open_nvml()
        psutil.cpu_percent()

    def sample(self) -> MachineSample:
        memory = psutil.virtual_memory()
        own_cpu, own_memory = self._own()
        return MachineSample(
            cpu=psutil.cpu_percent() / 100 * self.cores,
            own_cpu=own_cpu,
            cores=self.cores,
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            own_memory=own_memory,
            gpus=self._gpus(),
        )

    def close(self) -> None:
        if self._nvml is not None:
            with contextlib.suppress(Exception):
                self._nvml.nvmlShutdown()
            self._nvml = None

    def _own(self) -> tuple[float, int]:
        now, before = time.monotonic(), self._seconds
        elapsed, self._at = now - self._at, now
        self._seconds, resident = {}, 0
        if self._samples % FAMILY_EVERY == 0:
            with contextlib.suppress(psutil.Error, IndexError):
                root = self._family[0]
                launcher = root.parent() if self._siblings else None
                family = (launcher or root).children(recursive=True)
                self._family[1:] = [each for each in family if each != root]
        self._samples += 1
        for process in self._family:
            with contextlib.suppress(psutil.Error):  # a worker that has just ended
                times = process.cpu_times()
                self._seconds[process.pid] = times.user + times.system
                resident += process.memory_info().rss
        used = sum(seconds - before.get(pid, seconds) for pid, seconds in self._seconds.items())
        return (max(0.0, used / elapsed) if elapsed > 0 else 0.0), resident

    def _gpus(self) -> tuple[Gpu, ...]:
        if self._nvml is None:
            return ()
        wanted = _uuids_in_use()
        found: list[Gpu] = []
        with contextlib.suppress(self._nvml.NVMLError):
            for index in range(self._nvml.nvmlDeviceGetCount()):
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                if not wanted or _text(self._nvml.nvmlDeviceGetUUID(handle)) in wanted:
                    found.append(self._gpu(index, handle))
        return tuple(found)

    def _gpu(self, index: int, handle: Any) -> Gpu:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        utilisation = None
        with contextlib.suppress(self._nvml.NVMLError):  # a slice of a card (MIG) has none
            utilisation = self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        name = _text(self._nvml.nvmlDeviceGetName(handle))
        return Gpu(index, name, utilisation, int(memory.used), int(memory.total))


def _open_nvml() -> Any:
    """NVIDIA's management library, or None: no driver, no card, not installed."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:
        return None
    return pynvml


def _uuids_in_use() -> set[str]:
    """The cards that torch sees in this process (their numbers may differ from nvidia-smi's); empty: unknown.

    Never the first to import torch or to wake CUDA: a look at the machine must not cost a context.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return set()
    count = torch.cuda.device_count()
    uuids = [str(getattr(torch.cuda.get_device_properties(k), "uuid", "")) for k in range(count)]
    return {f"GPU-{uuid}" for uuid in uuids if uuid}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
