"""Whether network and functions can take inputs of another size than the declared one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ..data.sizes import InputSizes, Size
from ..errors import UserError
from ..yolo.detector import Detector
from ..yolo.plugin import UserFunctions, line_at_fault
from .step import as_float


def check_sizes(model: nn.Module, detector: Detector, sizes: InputSizes) -> None:
    """One grey picture with one object through everything: at the declared size, at the two smallest (of
    which one has an odd number of cells) and the largest. Raises ``UserError`` naming what cannot do it."""
    was_training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            # what fails at its own size already has nothing to do with the others
            _check(model, detector, sizes.declared, declared=True)
            for size in sorted({*sizes.choices[:2], sizes.largest} - {sizes.declared}):
                _check(model, detector.at(size), size)
    finally:
        model.train(was_training)


def _check(model: nn.Module, detector: Detector, size: Size, declared: bool = False) -> None:
    user, layout, heads = detector.user, detector.layout, detector.heads
    network = "build_model" if user.get("build_model") else ""
    with _blamed(network, user, size, declared):
        with torch.no_grad():
            preds = detector.as_list(as_float(model(torch.full((1, 3, size[1], size[0]), 0.5))))
        _compare(preds, [layout.pred_shape(1, head) for head in heads])
    with _blamed("assign", user, size, declared):
        encoded = detector.encode([torch.tensor([[0.9, 0.9, 0.1, 0.1]])], [torch.tensor([0])])
        _compare(encoded.targets, [layout.target_shape(1, head) for head in heads])
    if user.get("decode"):
        with _blamed("decode", user, size, declared):
            for each, head in zip(preds, heads, strict=True):
                detector.decode_canonical(each, head)
    if user.get("loss"):
        with _blamed("loss", user, size, declared):
            # as it meets it in a step: with a gradient to ask for
            detector.loss(detector.one_or_list([each.requires_grad_() for each in preds]), encoded)


def _compare(tensors: list[Tensor], wanted: list[tuple[int, ...]]) -> None:
    got = [tuple(each.shape) for each in tensors]
    if got != wanted:
        shown = [" and ".join(str(list(shape)) for shape in shapes) for shapes in (got, wanted)]
        raise ValueError(f"gives {shown[0]}, expected {shown[1]}")


@contextmanager
def _blamed(name: str, user: UserFunctions, size: Size, declared: bool) -> Iterator[None]:
    """``name``: of the user's function that would be to blame; empty: the network of the config."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        line = line_at_fault(user.path, error)
        where = f"{Path(user.path).name}:{line}" if line else user.place(name) if name else "model.name"
        what = f"`{name}`" if name else "the network"
        if declared:
            raise UserError(
                f"{what} fails: {type(error).__name__}: {text}",
                where=where,
                fix="see what `yolotui check` says of it" if name else "mend the model's settings",
            ) from error
        fix = "set augment.multi_scale = 0"
        raise UserError(
            f"{what} cannot take an input of {size[0]}x{size[1]} px: {text}",
            where=where,
            fix=f"take the grid's size from `head` and from the tensors, or {fix}" if name else fix,
        ) from error
