"""The user's functions called with a guard: whatever they raise or return, the answer is a finding."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import Terminated
from ..yolo.plugin import Function, UserFunctions, line_at_fault, with_keywords
from ..yolo.plugin_place import globals_of
from .findings import Finding, Tensor

SIGNATURES = {
    "assign": "assign(boxes, labels, head)",
    "decode": "decode(pred, head)",
    "iou": "iou(a, b)",
    "loss": "loss(pred, targets, head)",
    "detect": "detect(pred, head, sizes)",
    "transform": "transform(image, boxes)",
    "build_model": "build_model(head, classes)",
}
RETURNS: dict[str, tuple[Tensor, str]] = {
    "assign": ("targets", "targets in the declared layout"),
    "decode": ("boxes", "boxes cx, cy, w, h on the axes of pred"),
    "iou": ("boxes", "one IoU for each pair of boxes"),
    "loss": ("gradient", "a dict of scalar terms lcls, lbox, lobj"),
    "detect": ("detections", "a list of [M, 6] tensors, one an image"),
    "transform": ("image", "image, boxes"),
    "build_model": ("pred", "a torch.nn.Module"),
}


class Refusal(Exception):
    """A user's function could not be probed further; ``finding`` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


@dataclass(frozen=True)
class Called:
    """The user's functions by name, and their places in the file."""

    user: UserFunctions

    def has(self, name: str) -> bool:
        return self.user.get(name) is not None

    def placed(self, finding: Finding) -> Finding:
        """With the file, and the function's line where the finding names none."""
        if finding.file or not self.has(finding.function):
            return finding
        if finding.line is not None:
            return replace(finding, file=Path(self.user.path).name)
        file, line = self.user.written(finding.function)
        return replace(finding, file=Path(file).name, line=line or None)

    def refusal(self, name: str, probe: str, message: str, *, expected: str, got: str, fix: str) -> Refusal:
        tensor = RETURNS[name][0]
        finding = Finding(
            "error", f"{name}.{probe}", name, message, tensor=tensor, expected=expected, got=got, fix=fix
        )
        return Refusal(self.placed(finding))

    def call(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        """The function's own answer; ``keywords`` that it does not take are left out.

        Raises ``Refusal`` where it raises.
        """
        with torch.enable_grad():
            return self._guarded(name, *arguments, **keywords)

    def call_without_grad(self, name: str, *arguments: Any) -> Any:
        """As ``call``, within ``torch.no_grad()``: so a trained network is used."""
        with torch.no_grad():
            return self._guarded(name, *arguments)

    def _guarded(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        function = self.user.get(name)
        assert function is not None
        self._fits(name, function, len(arguments))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return with_keywords(function, *arguments, **keywords)
        except (Refusal, Terminated):
            raise
        except (Exception, SystemExit) as error:
            raise self.raised(name, error) from error

    def _fits(self, name: str, function: Function, count: int) -> None:
        try:
            inspect.signature(function).bind(*[None] * count)
        except TypeError as error:
            raise self.refusal(
                name,
                "signature",
                f"{name} cannot be called with the contract's arguments: {error}",
                expected=SIGNATURES[name],
                got=f"{name}{inspect.signature(function)}",
                fix=f"write it as def {SIGNATURES[name]}:",
            ) from error
        except ValueError:  # a builtin without a signature: the call itself will tell
            return

    def raised(self, name: str, error: BaseException) -> Refusal:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        line = line_at_fault(self.user.path, error)
        refusal = self.refusal(
            name,
            "call",
            f"{name} raises {text}",
            expected=f"{SIGNATURES[name]} -> {RETURNS[name][1]}",
            got=text,
            fix=f"mend line {line}" if line else f"make {name} accept what the contract gives it",
        )
        return Refusal(replace(refusal.finding, line=line)) if line else refusal


@contextmanager
def swapped(user: UserFunctions, references: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """For the time being, the user's own code finds the reference under these names.

    What a function calls by a name of its module is looked up there at each call: so a fault that
    vanishes under the swap was not the caller's.
    """
    undo: list[tuple[dict[str, Any], str, Any]] = []
    modules = {
        id(space): space
        for function in user.functions.values()
        if (space := globals_of(function)) is not None
    }
    for space in modules.values():
        for name, reference in references.items():
            if name in space and space[name] is user.get(name):
                undo.append((space, name, space[name]))
                space[name] = reference
    try:
        yield
    finally:
        for space, name, value in undo:
            space[name] = value
