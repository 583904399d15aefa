"""Starting several processes of one training on this machine, with torch's own launcher. Imports torch only
where it launches."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from ..config import Config
from ..cores import core_count
from ..errors import UserError

LEADER_FIRST = 5.0
"""Seconds in which the leader, whose exit code counts, ends before those that end because of it."""


def was_launched() -> bool:
    """Whether a launcher (torchrun, ours) has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def is_spokesman() -> bool:
    """Whether this process says what is wrong with arguments that all of its machine were given: one does."""
    return not was_launched() or os.environ.get("LOCAL_RANK", "0") == "0"


def check_batch(config: Config, ranks: int) -> None:
    """Raises ``UserError`` where the batch cannot be shared out evenly."""
    size = config.train.batch_size
    if size % ranks:
        raise UserError(
            f"train.batch_size = {size} cannot be shared out evenly among {ranks} processes",
            where="--nproc",
            fix=f"make it a multiple of {ranks}: it is the batch of all of them together",
        )


def check_devices(device: str, ranks: int) -> bool:
    """Whether ``ranks`` processes of this machine train on GPUs, one each; else they do on the CPU.

    Raises ``UserError`` where there are too few, or ``device`` names a single one.
    """
    import torch

    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return False
    if device not in ("auto", "cuda"):
        raise UserError(
            f"train.device = {device!r} names one device for {ranks} processes",
            where="--nproc",
            fix="set it to auto, cuda or cpu; CUDA_VISIBLE_DEVICES chooses among GPUs",
        )
    there = torch.cuda.device_count()
    if there < ranks:
        raise UserError(
            f"{ranks} processes need {ranks} GPUs, there {'is' if there == 1 else 'are'} {there}",
            where="--nproc",
            fix=f"give --nproc {there}" if there > 1 else "leave --nproc out, or set train.device to cpu",
        )
    return True


@dataclass(frozen=True)
class Outcome:
    """How the processes ended. ``killed``: what is to be said where nobody of them could, else empty."""

    exit_code: int
    killed: str = ""


def launch(ranks: int, command: Sequence[str], device: str) -> Outcome:
    """Run ``command`` in ``ranks`` processes to their end; where one fails, the others are ended too.

    Raises ``UserError`` as ``check_devices`` does.
    """
    if not check_devices(device, ranks):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, core_count() // ranks)))
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # what it says of a failure, the ranks say themselves, and in one line
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with tempfile.TemporaryDirectory(prefix="yolotui-ranks-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=ranks,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, command[0])(*command[1:])
        except ChildFailedError as error:
            return _outcome({rank: (each.exitcode, each.pid) for rank, each in error.failures.items()})
        except SignalException as error:
            return Outcome(128 + int(error.sigval))
    return Outcome(0)


def _outcome(failures: dict[int, tuple[int, int]]) -> Outcome:
    """The leader's own exit code, where it came to one: it speaks for all."""
    code, pid = failures.get(0, (0, 0))
    if code < 0:
        return Outcome(1, f"rank 0 (process {pid}) was ended by {signal.Signals(-code).name}")
    return Outcome(code or 1)
