"""The optimizer: decay on weights of convolutions only, as in Darknet."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig, device: torch.device) -> torch.optim.Optimizer:
    """SGD (with momentum) or AdamW over every trainable parameter, fused.

    Fused kernels take ``found_inf`` on the device: a step can be withheld without asking the host.
    """
    groups = groups_of(model, config)
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
        if config.momentum:
            # the fused kernel makes these in its first step, from memory of any content, and leaves them so
            # where that step is withheld, as under fp16 the first ones are
            for group in groups:
                for parameter in group["params"]:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimizer
    betas = (config.momentum, config.beta2)
    return torch.optim.AdamW(groups, lr=config.lr, betas=betas, fused=True)


def groups_of(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """The trainable parameters: weights, with decay; norms and biases, without."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
