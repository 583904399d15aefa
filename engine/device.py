"""Device and precision, chosen once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from .cores import core_count
from .errors import UserError


@dataclass(frozen=True)
class Compute:
    """Where and in what precision a network runs."""

    device: torch.device
    autocast: torch.dtype | None
    """None: full precision."""

    @property
    def scaled(self) -> bool:
        """fp16 needs its loss scaled; bf16 does not."""
        return self.autocast is torch.float16

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last

    def autocasting(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=self.autocast or torch.bfloat16, enabled=self.autocast is not None
        )

    def for_scores(self) -> Compute:
        """The same, but on a CPU in full precision: what is found, and its scores, are the same on every CPU,
        whatever units it has, and while a network trains as afterwards."""
        return replace(self, autocast=None) if self.device.type == "cpu" else self

    def memory_used(self) -> int:
        """Bytes: the peak held on the device, or the process's resident set."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_reserved(self.device))
        import psutil  # not for one picture's detections

        return int(psutil.Process().memory_info().rss)

    @property
    def name(self) -> str:
        if self.device.type == "cuda":
            return str(torch.cuda.get_device_name(self.device))
        threads = torch.get_num_threads()
        half = ", bf16" if self.autocast else ""
        return f"CPU, {threads} thread{'s' if threads > 1 else ''}{half}"


def choose_compute(device: str = "auto", precision: str = "auto") -> Compute:
    """``auto``: a GPU where there is one; the precision that trains fastest on it without a loss of accuracy
    (docs/benchmarks.md). Raises ``UserError`` where the device is not there or cannot do the precision."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise UserError(f"no device {device!r}", where="train.device", fix="auto, cpu or cuda:0") from None
    if chosen.type not in ("cpu", "cuda"):
        raise UserError(
            f"device {device!r} is not supported", where="train.device", fix="auto, cpu or cuda:0"
        )
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device is available", where="train.device", fix="set it to auto or cpu")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(f"there is no {device}", where="train.device", fix="see nvidia-smi")
    if precision == "auto":
        precision = _fastest(chosen)
    if precision == "fp16" and chosen.type == "cpu":
        raise UserError("fp16 needs a GPU", where="train.precision", fix="set it to auto, fp32 or bf16")
    dtypes = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    return Compute(chosen, dtypes[precision])


def _fastest(device: torch.device) -> str:
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if multiplies_bf16() else "fp32"


def multiplies_bf16() -> bool:
    """Whether the CPU has units for products of bf16 matrices (Intel's AMX): without them bf16 is slower than
    full precision. Older versions of torch do not tell: no."""
    told = getattr(torch.cpu, "get_capabilities", None)
    return bool(told and told().get("amx_bf16"))


def worker_count(wanted: int, compute: Compute, processes: int = 1) -> int:
    """-1: none on the CPU, whose cores the training uses; up to 8 beside a GPU, as many as there are cores
    for where several ``processes`` of this machine train."""
    if wanted >= 0:
        return wanted
    cores = core_count() // processes
    return 0 if compute.device.type == "cpu" else max(1, min(8, cores - 1))
