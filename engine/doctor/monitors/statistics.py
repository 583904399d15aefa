"""What one batch's prediction looks like, in one small tensor on its own device.

Nothing here waits for the device: the positives come with the targets, and where the user's own ``assign``
made those, every slot is looked at under its mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...boxes import iou, to_xyxy
from ...layout import Head
from ...yolo.decode import BOX, decode_raw
from ...yolo.detector import Detector, Encoded

RECALLED = 0.5


class HeadStatistics:
    """Sums over the slots of all heads, in the order of ``setting.HeadSums``."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self._slots: dict[tuple[int, ...], Tensor] = {}

    @torch.no_grad()
    def measure(
        self, preds: Sequence[Tensor], encoded: Encoded, heads: Sequence[Head] | None = None
    ) -> Tensor:
        """After the backward pass: ``preds`` hold their gradients. ``heads``: the grids of this batch's size;
        None: the detector's."""
        heads = heads or self.detector.heads
        found = [
            self._head(k, pred, encoded, head)
            for k, (pred, head) in enumerate(zip(preds, heads, strict=True))
        ]
        return torch.stack(found).sum(0)

    def _head(self, k: int, declared: Tensor, encoded: Encoded, head: Head) -> Tensor:
        layout = self.detector.layout
        pred = layout.read_pred(declared.detach(), head)
        target = layout.read_targets(encoded.targets[k], head)
        index = encoded.positives[k].index if encoded.positives is not None else self._every_slot(pred)
        b, y, x, a = index.unbind(1)
        own, truth = pred[b, y, x, a], target[b, y, x, a]
        mask = (truth[:, 0] != 0).to(own)
        overlap = iou(to_xyxy(self._boxes(declared, own, index, head)), to_xyxy(truth[:, 2:6]))
        logits, conf = pred[..., 0], own[:, 0]
        sure, own_sure = logits.sigmoid(), conf.sigmoid()
        positives = mask.sum()
        sums = torch.stack(
            (
                positives,
                (own_sure * mask).sum(),
                (overlap * mask).sum(),
                ((overlap > RECALLED) * mask).sum(),
                (conf * mask).sum(),
                logits.numel() - positives,
                sure.sum() - (own_sure * mask).sum(),
                logits.sum() - (conf * mask).sum(),
            )
        )
        return torch.cat((sums, self._gradient(declared, head), self._classes(own, truth, mask, head)))

    def _boxes(self, declared: Tensor, own: Tensor, index: Tensor, head: Head) -> Tensor:
        b, y, x, a = index.unbind(1)
        if self.detector.user.get("decode") is not None:
            return self.detector.decode_canonical(declared.detach(), head)[b, y, x, a]
        cells, anchors = torch.stack((x, y), 1).to(own), head.anchors.to(own)[a]
        return decode_raw(own[:, BOX], cells, anchors, head, self.detector.layout.decode)

    def _gradient(self, declared: Tensor, head: Head) -> Tensor:
        if declared.grad is None:
            return declared.new_zeros(6)
        squares = self.detector.layout.read_pred(declared.grad, head).square().sum((0, 1, 2, 3))
        return torch.cat((squares[:5], squares[5:].sum().reshape(1)))

    @staticmethod
    def _classes(own: Tensor, truth: Tensor, mask: Tensor, head: Head) -> Tensor:
        wanted = truth[:, 1].long().clamp(0, head.classes - 1)
        chosen = own[:, 5:].argmax(1)
        zeros = own.new_zeros(head.classes)
        return torch.cat(
            (
                zeros.scatter_add(0, wanted, mask),
                zeros.scatter_add(0, wanted, mask * (wanted == chosen)),
                zeros.scatter_add(0, chosen, mask),
            )
        )

    def _every_slot(self, pred: Tensor) -> Tensor:
        shape = tuple(pred.shape[:4])
        if shape not in self._slots:
            ranges = [torch.arange(size, device=pred.device) for size in shape]
            self._slots = {shape: torch.cartesian_prod(*ranges)}
        return self._slots[shape]
