"""Log densities and recorded fixations in, one number a map out: the loss of SAM."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["LossOptions", "sam_loss"]

_EPSILON = 1e-7


@dataclass(frozen=True)
class LossOptions:
    """Weights of the three terms; the defaults are those of Cornia et al. (2018)."""

    kl_weight: float = 10.0
    """Weight of the divergence of the recorded density from the predicted one, in nats."""
    cc_weight: float = -2.0
    """Weight of the linear correlation of the two densities."""
    nss_weight: float = -1.0
    """Weight of the predicted map's z-score at the fixations."""


def sam_loss(
    log_density: torch.Tensor,
    *,
    density: torch.Tensor,
    counts: torch.Tensor,
    inside: torch.Tensor,
    options: LossOptions | None = None,
) -> torch.Tensor:
    """10 KL - 2 CC - NSS, over the cells that show the picture.

    KL = sum of D (ln D - ln P); CC is Pearson's; NSS is the mean z-score at the fixations. All three are
    independent of the scale of P, so the division by the maximum that the authors do first is not needed.

    Args:
        log_density: (N, H, W) float, natural log of the prediction over the canvas, or logits.
        density: (N, H, W) float, recorded density, zero outside the picture; a map of all zeros counts nothing.
        counts: (N, H, W) float, fixations on each cell.
        inside: (N, H, W) bool, True where the canvas shows the picture.
        options: weights; None takes the published ones.

    Returns:
        (N,) float32.
    """
    options = options or LossOptions()
    log_density = log_density.float().flatten(1).masked_fill(~inside.flatten(1), float("-inf"))
    log_density = log_density - log_density.logsumexp(1, keepdim=True)
    mask = inside.flatten(1).float()
    density, counts = density.flatten(1), counts.flatten(1)
    cells = mask.sum(1, keepdim=True)

    finite = log_density.masked_fill(~inside.flatten(1), 0.0)
    kl = (density * ((density + _EPSILON * 1e-3).log() - finite)).sum(1)

    predicted = log_density.exp()  # exactly zero outside
    centred = (predicted - predicted.sum(1, keepdim=True) / cells) * mask
    wanted = (density - density.sum(1, keepdim=True) / cells) * mask
    spread = centred.square().sum(1).sqrt()
    cc = (centred * wanted).sum(1) / (spread * wanted.square().sum(1).sqrt() + _EPSILON)

    z = centred / (spread / cells[:, 0].sqrt() + _EPSILON)[:, None]
    nss = (z * counts).sum(1) / counts.sum(1).clamp_min(1.0)

    loss = options.kl_weight * kl + options.cc_weight * cc + options.nss_weight * nss
    return loss * (counts.sum(1) > 0)
