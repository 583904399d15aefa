"""The user's ``loss`` run on canonical tensors: its terms, their gradients, one row a slot over all heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...boxes import iou as corner_iou
from ...boxes import to_xyxy
from ..calling import Called
from ..findings import Finding
from ..inputs import Scene, decoded, encode_box, generator, perfect
from ..stage import Stage, columns

REQUIRED = ("lcls", "lbox", "lobj")
TERMS = ("lcls", "lbox", "lobj", "liou")
OWN = {"lcls": ("class",), "lbox": ("x", "y", "w", "h"), "lobj": ("conf",), "liou": ("x", "y", "w", "h")}
"""The channels of pred that a term is about."""


@dataclass(frozen=True)
class Trial:
    """One stage and scene on which the user's loss is tried."""

    called: Called
    stage: Stage
    scene: Scene

    def terms(self, preds: Sequence[Tensor], targets: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """Scalars by name, ``total`` among them. Raises ``Refusal`` where they are not."""
        handed = self.stage.declared_pred(preds)
        wanted = self.stage.declared_targets(self.scene.targets if targets is None else targets)
        got = self.called.call("loss", handed, wanted, self.stage.given_heads())
        return self._scalars(got)

    def _scalars(self, got: Any) -> dict[str, Tensor]:
        if not isinstance(got, Mapping):
            raise self._refused(f"loss returns {type(got).__name__}", type(got).__name__)
        missing = [name for name in REQUIRED if name not in got]
        if missing:
            raise self._refused(f"loss gives no {' '.join(missing)}", f"keys {', '.join(map(str, got))}")
        terms: dict[str, Tensor] = {}
        for name, value in got.items():
            if name == "maps":
                continue
            if isinstance(value, (int, float)):
                value = torch.tensor(float(value))
            if not isinstance(value, Tensor) or value.numel() != 1:
                shown = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise self._refused(f"loss gives {name} as {shown}", shown)
            terms[str(name)] = value.reshape(())
        if "total" not in terms:
            names = [n for n in self.stage.detector.profile.total if n in terms]
            terms["total"] = torch.stack([terms[n] for n in names]).sum()
        return terms

    def _refused(self, message: str, got: str) -> Exception:
        return self.called.refusal(
            "loss",
            "terms",
            message,
            expected=(
                '{"lcls": scalar, "lbox": scalar, "lobj": scalar, ...}, optionally "liou", "total", "maps"'
            ),
            got=got,
            fix="return a dict of scalar tensors",
        )

    def values(self, preds: Sequence[Tensor], targets: Sequence[Tensor] | None = None) -> dict[str, float]:
        return {name: float(value.detach()) for name, value in self.terms(preds, targets).items()}

    def grads(
        self, preds: Sequence[Tensor], names: Sequence[str], targets: Sequence[Tensor] | None = None
    ) -> dict[str, Tensor]:
        """``[N, 5 + C]`` a term, N slots of all heads in order; zero where no gradient comes back.

        Where all terms are mere numbers beside a ``total`` that learns, each has total's gradient on its own
        channels.
        """
        leaves = [p.detach().clone().requires_grad_() for p in preds]
        terms = self.terms(leaves, targets)
        found: dict[str, Tensor] = {}
        if terms["total"].requires_grad and not any(terms[name].requires_grad for name in REQUIRED):
            return self._of_total(terms, leaves, names)
        for name in names:
            term = terms.get(name)
            if term is None:
                continue
            if not term.requires_grad:
                found[name] = flat([torch.zeros_like(p) for p in leaves])
                continue
            parts = self.backward(term, leaves)
            found[name] = flat(
                [torch.zeros_like(p) if g is None else g for p, g in zip(leaves, parts, strict=True)]
            )
        return found

    def _of_total(
        self, terms: dict[str, Tensor], leaves: Sequence[Tensor], names: Sequence[str]
    ) -> dict[str, Tensor]:
        parts = self.backward(terms["total"], leaves)
        whole = flat([torch.zeros_like(p) if g is None else g for p, g in zip(leaves, parts, strict=True)])
        found = {name: torch.zeros_like(whole) for name in names if name in terms}
        for name in found:
            for group in OWN[name] if name in REQUIRED else ():
                found[name][:, columns(group)] = whole[:, columns(group)]
        return found | ({"total": whole} if "total" in names else {})

    def backward(self, term: Tensor, leaves: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Gradients of a term. Raises ``Refusal`` where its backward pass raises."""
        try:
            return torch.autograd.grad(term, leaves, retain_graph=True, allow_unused=True)
        except Exception as error:
            raise self.called.raised("loss", error) from error

    @property
    def positive(self) -> Tensor:
        """``[N]`` bool."""
        return torch.cat([p.flatten() for p in self.scene.positive])

    def overlaps(self, preds: Sequence[Tensor]) -> Tensor:
        """``[N]``: the decoded box's IoU with its own truth (positives), 0 elsewhere."""
        parts = []
        for boxes, target in zip(decoded(self.stage, preds), self.scene.assigned.targets, strict=True):
            own = corner_iou(to_xyxy(boxes), to_xyxy(target[..., 2:6]))
            parts.append((own * (target[..., 0] > 0)).flatten())
        return torch.cat(parts)

    def best_overlaps(self, preds: Sequence[Tensor]) -> Tensor:
        """``[N]``: the decoded box's best IoU with any truth of its image."""
        parts = []
        for boxes in decoded(self.stage, preds):
            best = torch.zeros(boxes.shape[:-1])
            for image, truths in enumerate(self.scene.boxes):
                for truth in truths:
                    best[image] = torch.maximum(
                        best[image], corner_iou(to_xyxy(boxes[image]), to_xyxy(truth))
                    )
            parts.append(best.flatten())
        return torch.cat(parts)

    def cell(self, slot: int) -> tuple[int, int, int, int]:
        """Image, row, column, anchor of a flat slot."""
        for target in self.scene.assigned.targets:
            count = target[..., 0].numel()
            if slot < count:
                _, h, w, a = target.shape[:4]
                return slot // (h * w * a), slot // (w * a) % h, slot // a % w, slot % a
            slot -= count
        return 0, 0, 0, 0


def flat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([p.reshape(-1, p.shape[-1]) for p in parts])


def unflat(rows: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    sizes = [p.numel() // p.shape[-1] for p in like]
    return [part.reshape(p.shape) for part, p in zip(torch.split(rows, sizes), like, strict=True)]


def near(trial: Trial, seed: int, xy: float = 0.9, wh: float = 0.25) -> list[Tensor]:
    """Positives near their truths, random confidences and classes; and some negatives upon a truth."""
    g = generator(seed)
    preds = perfect(trial.stage, trial.scene)
    for k, (pred, positive) in enumerate(zip(preds, trial.scene.positive, strict=True)):
        pred[..., 0] = torch.randn(pred.shape[:-1], generator=g) * 0.8
        pred[..., 5:] = torch.randn(pred[..., 5:].shape, generator=g) * 0.7
        box = torch.randn(pred[..., 1:5].shape, generator=g)
        step = torch.tensor([xy, xy, wh, wh])
        if trial.stage.layout.decode == "linear":
            step = torch.tensor([0.25 * xy, 0.25 * xy, wh, wh]).expand_as(box).clone()
            step[..., :2] *= _reach(trial, k)
        pred[..., 1:5] += box * torch.where(positive.unsqueeze(-1), step, torch.full((4,), 0.35))
    _lay_upon_truths(trial, preds)
    return preds


def _reach(trial: Trial, k: int) -> Tensor:
    """``[B, H, W, A, 2]``: a decode without bounds moves large boxes far, for their overlap to change."""
    head, target = trial.stage.heads[k], trial.scene.assigned.targets[k]
    return (0.6 * target[..., 4:6] * torch.tensor([head.grid_w, head.grid_h])).clamp(min=1.0)


def _lay_upon_truths(trial: Trial, preds: list[Tensor]) -> None:
    """In every positive's cell another anchor's box is put exactly upon the truth: to be ignored, maybe."""
    for head, pred, target in zip(trial.stage.heads, preds, trial.scene.assigned.targets, strict=True):
        if head.anchor_count < 2:
            continue
        for b, y, x, a in (target[..., 0] > 0).nonzero().tolist():
            truth = target[b, y, x, a, 2:6]
            ratio = truth[2:] * torch.tensor([head.grid_w, head.grid_h]) / head.anchors.float()
            order = torch.maximum(ratio, 1 / ratio).amax(1).argsort().tolist()
            other = next((n for n in order if n != a and float(target[b, y, x, n, 0]) == 0), None)
            if other is not None:
                cell = torch.tensor([[float(x), float(y)]])
                raw = encode_box(truth[None], cell, head, torch.tensor([other]), trial.stage.layout.decode)
                pred[b, y, x, other, 1:5] = raw[0]


def profile_seen(key: str, value: str) -> Finding:
    """What an undeclared key of the profile turns out to be."""
    return Finding(
        "info",
        "loss.profile",
        "loss",
        f"the loss has {key} = {value!r}; [loss] {key} is not set, so it is checked against that",
        fix=f'set loss.{key} = "{value}"' if "," not in value else f"set loss.{key}",
    )
