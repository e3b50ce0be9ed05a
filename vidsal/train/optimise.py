"""Parameters and a schedule in, the optimiser and its rates out."""

from __future__ import annotations

import math
from typing import Any

import torch

from vidsal.model.sam import SaliencyAttentiveModel
from vidsal.train.options import ScheduleOptions

__all__ = ["make_optimizer", "parameter_groups", "rate_share"]


def parameter_groups(network: SaliencyAttentiveModel, schedule: ScheduleOptions) -> list[dict[str, Any]]:
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        part, _, inside = name.partition(".")
        pretrained = part == "backbone" and not network.backbone.is_new(inside)
        groups.setdefault((pretrained, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": schedule.backbone_learning_rate if pretrained else schedule.learning_rate,
            "weight_decay": schedule.weight_decay if decays else 0.0,
        }
        for (pretrained, decays), parameters in groups.items()
    ]


def make_optimizer(groups: list[dict[str, Any]], schedule: ScheduleOptions) -> torch.optim.Optimizer:
    if schedule.optimizer == "rmsprop":
        # Keras's and torch's are the same formula, v = rho v + (1 - rho) g^2, p -= rate g / (sqrt v + epsilon), v from
        # zero; only torch's default rho is another (.99).
        return torch.optim.RMSprop(groups, alpha=0.9, eps=1e-8)
    return torch.optim.AdamW(groups)


def rate_share(step: int, steps: int, schedule: ScheduleOptions) -> float:
    """Share of the highest learning rate at a step."""
    if schedule.schedule == "constant":
        return 1.0
    done = step / max(1, steps)
    warmup = schedule.warmup_share if schedule.schedule == "one_cycle" else 0.0
    if done < warmup:
        return 0.04 + 0.96 * done / warmup
    return max(1e-4, 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))))
