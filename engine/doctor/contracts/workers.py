"""Do the workers of a ``DataLoader`` draw the same random numbers? Tried, in workers of their own.

The loader's data set is handed to two fresh workers, started as the loader would start its own. Each draws
the same few items twice. Items that differ from one draw to the next within a worker are random; where the
draws of the two workers are equal all the same, they share their seed. The user's process is left as it is.
"""

from __future__ import annotations

import itertools
import pickle
import random
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from ..findings import Finding
from .saying import finding

ITEMS, SECONDS = 3, 20.0
"""Items drawn (each twice) by each worker, and how long a worker may take for them."""


class _Spy(Dataset[tuple[int, list[int]]]):
    """Item k: the fingerprints of what the inner data set gives for the same indices, whatever k is."""

    def __init__(self, inner: Any, indices: list[int]) -> None:
        self.inner, self.indices = inner, indices

    def __len__(self) -> int:
        return 2

    def __getitem__(self, k: int) -> tuple[int, list[int]]:
        info = get_worker_info()
        return (info.id if info else -1), [fingerprint(self.inner[i]) for i in self.indices]


class _Stream(IterableDataset[tuple[int, list[int]]]):
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        info = get_worker_info()
        yield (
            info.id if info else -1,
            [fingerprint(each) for each in itertools.islice(iter(self.inner), 2 * ITEMS)],
        )


def shared_seed(loader: Any) -> list[Finding]:
    """One finding where two workers give the same, or each epoch the same; none where that cannot be tried.

    Costs the start of two workers, twice; nothing where the loader has no workers.
    """
    if not isinstance(loader, DataLoader) or loader.num_workers < 1:
        return []
    try:
        first, second = _try(loader, 1), _try(loader, 2)
    except Exception:  # a data set that cannot be handed over is not this contract's business
        return []
    if loader.num_workers > 1 and first[0] == first[1] and second[0] == second[1]:
        if isinstance(loader.dataset, IterableDataset):
            return [_unshared()] if len(set(first[0])) > 1 else []
        if _random(first[0]):
            return [_same("workers", loader)]
    if not isinstance(loader.dataset, IterableDataset) and first == second and _random(first[0]):
        return [_same("epochs", loader)]
    return []


def _random(draws: list[int]) -> bool:
    """Whether any item was another one when drawn again in the same worker."""
    half = len(draws) // 2
    return any(a != b for a, b in zip(draws[:half], draws[half:], strict=True))


def _try(loader: DataLoader[Any], seed: int) -> list[list[int]]:
    """What each of two workers draws, as one epoch of the user's loader would begin; ``seed`` is torch's."""
    inner: Any = loader.dataset
    spy: Any
    if isinstance(inner, IterableDataset):
        spy = _Stream(inner)
    else:
        count = len(inner)
        indices = sorted({(count - 1) * k // max(1, ITEMS - 1) for k in range(ITEMS)})
        spy = _Spy(inner, indices * 2)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial: DataLoader[Any] = DataLoader(
                spy,
                batch_size=None,
                num_workers=2,
                worker_init_fn=loader.worker_init_fn,
                multiprocessing_context=loader.multiprocessing_context,
                collate_fn=_as_it_is,
                generator=torch.Generator().manual_seed(seed),
                timeout=SECONDS,
            )
            drawn: dict[int, list[int]] = dict(trial)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
    if len(drawn) != 2:
        raise ValueError("two workers did not answer")
    return [drawn[worker] for worker in sorted(drawn)]


def _as_it_is(value: Any) -> Any:
    return value


def fingerprint(value: Any) -> int:
    """Of an item as a data set gives it: tensors, arrays, pictures, numbers, and containers of them."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return zlib.crc32(np.ascontiguousarray(value).tobytes())
    if isinstance(value, dict):
        return zlib.crc32(repr([(key, fingerprint(each)) for key, each in value.items()]).encode())
    if isinstance(value, (list, tuple)):
        return zlib.crc32(repr([fingerprint(each) for each in value]).encode())
    if hasattr(value, "tobytes"):
        return zlib.crc32(value.tobytes())
    return zlib.crc32(pickle.dumps(value))


def _same(what: str, loader: DataLoader[Any]) -> Finding:
    workers = what == "workers"
    own = "worker_init_fn seeds every worker alike" if loader.worker_init_fn is not None else ""
    return finding(
        "seed",
        "error" if workers else "warning",
        "data",
        "the workers share one random seed: each draws the same augmentations as the others"
        if workers
        else "every epoch draws the same augmentations as the first",
        expected="random numbers of its own for each worker and each epoch",
        got="the same items, drawn anew, are equal to the byte in two workers, and differ within each"
        if workers
        else "workers started anew give the same random items to the byte",
        fix=(own + ": " if own else "")
        + "draw from numpy's or torch's global generator, which torch seeds in each worker, or seed a "
        "generator of your own by torch.initial_seed() in worker_init_fn",
        tensor="image",
    )


def _unshared() -> Finding:
    return finding(
        "shards",
        "error",
        "data",
        "every worker gives the same items: an epoch shows each image once for each worker",
        expected="each item from one worker",
        got="the first items of two workers are equal to the byte",
        fix="share the items out in __iter__ by torch.utils.data.get_worker_info()",
        tensor="image",
    )
