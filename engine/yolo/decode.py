"""Prediction to boxes: three named ways, all on the canonical ``[B, H, W, A, 5 + C]``."""

from __future__ import annotations

import torch
from torch import Tensor

from ..layout import DecodeName, Head

BOX = slice(1, 5)
"""The box channels x, y, w, h of a canonical prediction."""


def decode_boxes(pred: Tensor, head: Head, name: DecodeName = "yolov2") -> Tensor:
    """``[B, H, W, A, 5 + C] -> [B, H, W, A, 4]``: cx, cy, w, h in 0..1 of the input image."""
    return decode_raw(pred[..., BOX], grid_cells(head, pred), head.anchors.to(pred), head, name)


def decode_raw(raw: Tensor, cells: Tensor, anchors: Tensor, head: Head, name: DecodeName) -> Tensor:
    """Raw box channels ``[..., 4]`` with their cell ``[..., 2]`` (x, y) and anchor ``[..., 2]`` -> boxes.

    - ``yolov2``: cell + sigmoid(t), anchor * exp(t)  (Redmon & Farhadi 2017, section 2); with the head's
      ``scale_xy`` s, cell + s sigmoid(t) - (s - 1) / 2  (Bochkovskiy et al. 2020, "grid sensitivity")
    - ``yolov5``: cell + 2 sigmoid(t) - 0.5, anchor * (2 sigmoid(t))^2
    - ``linear``: cell + 0.5 + t, anchor * exp(t)
    """
    t_xy, t_wh = raw[..., :2], raw[..., 2:]
    if name == "yolov2":
        stretch = head.scale_xy
        fraction = t_xy.sigmoid() if stretch == 1 else stretch * t_xy.sigmoid() - (stretch - 1) / 2
        xy, wh = cells + fraction, anchors * t_wh.exp()
    elif name == "yolov5":
        xy, wh = cells + 2 * t_xy.sigmoid() - 0.5, anchors * (2 * t_wh.sigmoid()) ** 2
    else:
        xy, wh = cells + 0.5 + t_xy, anchors * t_wh.exp()
    return torch.cat((xy, wh), dim=-1) / grid_size(head, raw)


def grid_cells(head: Head, like: Tensor) -> Tensor:
    """``[H, W, 1, 2]``: column and row of each cell."""
    rows = torch.arange(head.grid_h, device=like.device, dtype=like.dtype)
    columns = torch.arange(head.grid_w, device=like.device, dtype=like.dtype)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x, y), dim=-1).unsqueeze(2)


def grid_size(head: Head, like: Tensor) -> Tensor:
    """``[4]``: grid_w, grid_h, grid_w, grid_h, the divisor of a box in grid units."""
    size = (head.grid_w, head.grid_h, head.grid_w, head.grid_h)
    # built from fills: a copy from host memory would make a GPU wait
    return torch.stack([torch.full((), float(side), device=like.device, dtype=like.dtype) for side in size])
