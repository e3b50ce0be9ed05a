"""Log densities and recorded fixations in, one number a map out: the loss of SAM."""

from __future__ import annotations

import torch

from vidsal.stages import LossOptions

__all__ = ["LossOptions", "sam_loss"]

# Recorded cells of zero count nothing in KL, but their logarithm has to be finite.
_SMALLEST_DENSITY = 1e-10
# Least standard deviation, in mean cells: rounding of a constant map in float32 stays below.
_SMALLEST_DEVIATION = 1e-6


def sam_loss(
    log_density: torch.Tensor,
    *,
    density: torch.Tensor,
    counts: torch.Tensor,
    inside: torch.Tensor,
    options: LossOptions | None = None,
) -> torch.Tensor:
    """10 KL - 2 CC - NSS, over the cells that show the picture.

    D is the recorded density, P the predicted one, both of sum 1, F the fixations a cell, e `kl_epsilon`:

        KL = sum of D ln(D / (P + e) + e);  CC = Pearson's correlation of D and P;  NSS = sum of F z / sum of F,
        z = (P - mean) / (population standard deviation)

    The same as in the authors' code: the formulas, the order of the arguments, the weights, the sum over cells (not
    the mean), and e for `kl_epsilon=1e-7` on the same grid. All three are independent of the scale of P, so their
    division of P by its maximum beforehand changes nothing.

    Different: they compare the 480x640 map, this the canvas, so that one cell here holds four of theirs; they count
    the letter-box's black bars as cells, this leaves them out; they mark each fixated cell once, `counts` counts
    every fixation; they add 1e-7 to the sums and to the standard deviation of P / max P, here a division is only
    guarded where P or D is constant (CC and NSS are then 0, and so is their gradient). A published head's P has a
    floor of 1e-6 of its mean.

    Source: Cornia et al. (2018) and their code.

    Args:
        log_density: (N, H, W) float, natural log of the prediction over the canvas, or logits.
        density: (N, H, W) float, recorded density, zero outside the picture; a map of all zeros counts nothing.
        counts: (N, H, W) float, fixations on each cell.
        inside: (N, H, W) bool, True where the canvas shows the picture.
        options: weights; None takes the published ones.

    Returns:
        (N,) float32, in nats and standard deviations; 0 where a map has no fixations.
    """
    options = options or LossOptions()
    log_density = log_density.float().flatten(1).masked_fill(~inside.flatten(1), float("-inf"))
    log_density = log_density - log_density.logsumexp(1, keepdim=True)
    mask = inside.flatten(1).float()
    density, counts = density.flatten(1), counts.flatten(1)
    cells = mask.sum(1, keepdim=True)

    predicted = log_density.exp()  # exactly zero outside
    if options.kl_epsilon:
        kl = (density * (density / (predicted + options.kl_epsilon) + options.kl_epsilon).log()).sum(1)
    else:
        finite = log_density.masked_fill(~inside.flatten(1), 0.0)
        kl = (density * ((density + _SMALLEST_DENSITY).log() - finite)).sum(1)

    # In units of the mean cell, so that the guards below are as small beside a large canvas as beside a small one.
    centred = (predicted - predicted.sum(1, keepdim=True) / cells) * cells * mask
    wanted = (density - density.sum(1, keepdim=True) / cells) * cells * mask
    deviation, wanted_deviation = _deviation(centred, cells), _deviation(wanted, cells)
    cc = (centred * wanted).sum(1) / (cells[:, 0] * deviation * wanted_deviation)
    nss = (centred * counts).sum(1) / (deviation * counts.sum(1).clamp_min(1.0))

    loss = options.kl_weight * kl + options.cc_weight * cc + options.nss_weight * nss
    return loss * (counts.sum(1) > 0)


def _deviation(centred: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    # The guard is inside the root: beside it, the gradient of a constant map would be infinity times zero.
    return (centred.square().sum(1) / cells[:, 0] + _SMALLEST_DEVIATION**2).sqrt()
