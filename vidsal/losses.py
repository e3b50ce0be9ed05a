"""Log densities and recorded fixations in, one number a map out: the losses that networks are trained with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from vidsal.stages import LossName, LossOptions

__all__ = ["LossName", "LossOptions", "map_loss", "sam_loss"]

# Recorded cells of zero count nothing in KL, but their logarithm has to be finite.
_SMALLEST_DENSITY = 1e-10
# Least standard deviation, in mean cells: rounding of a constant map in float32 stays below.
_SMALLEST_DEVIATION = 1e-6
# What a published ML-Net adds to the truth's highest value in its denominator: the cells of the peak weigh 10 times.
_ML_NET_ALPHA = 1.1


def map_loss(
    log_density: torch.Tensor,
    *,
    density: torch.Tensor,
    counts: torch.Tensor,
    inside: torch.Tensor,
    options: LossOptions | None = None,
) -> torch.Tensor:
    """The loss that the options name, over the cells that show the picture.

    g is the recorded density, p the predicted one, both of sum 1 over n cells; c the fixations a cell; G = n g and
    P = n p are the heights of the two maps in multiples of the uniform density.

    | name | loss | 0 for p = g |
    |---|---|---|
    | `sam` | `sam_loss` | no |
    | `kl` | sum of g ln(g / p), in nats | yes |
    | `log-likelihood` | - sum of c ln P / sum of c: nats that each fixation is less likely than by chance | no |
    | `chi-square` | sum of g^2 / p, less 1 | yes |
    | `total-variation` | half the sum of abs(g - p) | yes |
    | `cosine` | 1 - sum of p g / (norm of p, norm of g) | yes |
    | `bhattacharyya` | - ln of the sum of sqrt(p g) | yes |
    | `bce` | mean of -(y ln s + (1 - y) ln(1 - s)), s = P / (1 + P), y = G / (1 + G) | no; least there |
    | `euclidean` | mean of (P - G)^2 | yes |
    | `huber` | mean of r^2 / 2 for r = abs(P - G) up to d = `huber_delta`, of d (r - d / 2) above | yes |
    | `ml-net` | mean of (p / max p - y)^2 / (1.1 - y), y = g / max g | yes |

    The five that compare densities are those of Jetley et al., as they wrote them, on top of a softmax. For `bce`,
    `euclidean` and `huber` they and others compare what a network gives before a softmax with a recorded map from 0
    to 1. The networks here give densities, whose height follows from their sum; so both maps are measured in
    multiples of the uniform density, and `bce` reads these as odds. Where p is far below g, `chi-square` and its
    gradient grow without bound. The authors of ML-Net add a penalty on their learned prior, which is a matter of the
    network, not of a map.

    Sources: Jetley, Murray and Vig, End-to-end saliency mapping via probability distribution prediction, CVPR 2016;
    Kümmerer et al. (2015) for the likelihood; Cornia et al., A deep multi-level network for saliency prediction, ICPR
    2016, and their code.

    Args:
        log_density: (N, H, W) float, natural log of the prediction over the canvas, or logits.
        density: (N, H, W) float, recorded density of sum 1, zero outside the picture.
        counts: (N, H, W) float, fixations on each cell.
        inside: (N, H, W) bool, True where the canvas shows the picture.
        options: which loss; None takes `sam`.

    Returns:
        (N,) float32; 0 where a map has no fixations.

    Example:
        >>> two = torch.tensor([[[0.25, 0.75]]])
        >>> recorded = {"density": two, "counts": two, "inside": two > 0}
        >>> options = LossOptions(loss_name="total-variation")
        >>> map_loss(torch.zeros(1, 1, 2), **recorded, options=options).item()
        0.25
    """
    options = options or LossOptions()
    if options.loss_name == "sam":
        return sam_loss(log_density, density=density, counts=counts, inside=inside, options=options)
    visible = inside.flatten(1)
    # In double precision where it comes so, as a check of gradients needs it.
    log_p = log_density.to(torch.promote_types(log_density.dtype, torch.float32)).flatten(1)
    log_p = log_p.masked_fill(~visible, float("-inf"))
    log_p = log_p - log_p.logsumexp(1, keepdim=True)
    looked = counts.flatten(1).sum(1) > 0
    # A map that does not count has a loss all the same, and a gradient that nothing times zero must not spoil.
    even = visible / visible.sum(1, keepdim=True)
    recorded = torch.where(looked[:, None], density.flatten(1), even).to(log_p.dtype)
    maps = _Maps(log_p.masked_fill(~visible, 0.0), recorded, counts.flatten(1), visible)
    loss = _LOSSES[options.loss_name](maps, options)
    return torch.where(looked, loss, torch.zeros_like(loss))


@dataclass(frozen=True, eq=False)
class _Maps:
    """N maps of flattened cells."""

    log_p: torch.Tensor
    """(N, cells), log of the predicted density; 0 outside the picture."""
    g: torch.Tensor
    """(N, cells), the recorded density; 0 outside."""
    counts: torch.Tensor
    """(N, cells), fixations."""
    visible: torch.Tensor
    """(N, cells) bool, the cells that show the picture."""

    @property
    def p(self) -> torch.Tensor:
        """(N, cells), the predicted density; 0 outside."""
        return self.log_p.exp() * self.visible

    @property
    def cells(self) -> torch.Tensor:
        """(N, 1), cells that show the picture."""
        return self.visible.sum(1, keepdim=True).to(self.g.dtype)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """(N,), over the cells that show the picture."""
        return (values * self.visible).sum(1) / self.cells[:, 0]


def _kl(maps: _Maps, options: LossOptions) -> torch.Tensor:
    entropy: torch.Tensor = torch.special.xlogy(maps.g, maps.g)
    return (entropy - maps.g * maps.log_p).sum(1)


def _log_likelihood(maps: _Maps, options: LossOptions) -> torch.Tensor:
    gain = maps.log_p + maps.cells.log()
    return -(maps.counts * gain).sum(1) / maps.counts.sum(1).clamp_min(torch.finfo(gain.dtype).tiny)


def _chi_square(maps: _Maps, options: LossOptions) -> torch.Tensor:
    # The square of g / sqrt p: g^2 alone would be too small for float32.
    return (maps.g * (-0.5 * maps.log_p).exp()).square().sum(1) - 1


def _total_variation(maps: _Maps, options: LossOptions) -> torch.Tensor:
    return (maps.g - maps.p).abs().sum(1) / 2


def _cosine(maps: _Maps, options: LossOptions) -> torch.Tensor:
    # In multiples of the uniform density, so that the guard against 0 is small beside any map.
    return 1 - F.cosine_similarity(maps.p * maps.cells, maps.g * maps.cells, dim=1)


def _bhattacharyya(maps: _Maps, options: LossOptions) -> torch.Tensor:
    return -((maps.log_p / 2).exp() * maps.g.sqrt()).sum(1).log()


def _bce(maps: _Maps, options: LossOptions) -> torch.Tensor:
    height = maps.g * maps.cells
    odds = maps.log_p + maps.cells.log()  # the logit of P / (1 + P) is ln P
    return maps.mean(F.binary_cross_entropy_with_logits(odds, height / (1 + height), reduction="none"))


def _euclidean(maps: _Maps, options: LossOptions) -> torch.Tensor:
    return maps.mean(((maps.p - maps.g) * maps.cells).square())


def _huber(maps: _Maps, options: LossOptions) -> torch.Tensor:
    heights = maps.p * maps.cells, maps.g * maps.cells
    return maps.mean(F.huber_loss(*heights, reduction="none", delta=options.huber_delta))


def _ml_net(maps: _Maps, options: LossOptions) -> torch.Tensor:
    wanted = maps.g / maps.g.amax(1, keepdim=True).clamp_min(torch.finfo(maps.g.dtype).tiny)
    highest = maps.log_p.masked_fill(~maps.visible, float("-inf")).amax(1, keepdim=True)
    return maps.mean(((maps.log_p - highest).exp() - wanted).square() / (_ML_NET_ALPHA - wanted))


_LOSSES: dict[LossName, Callable[[_Maps, LossOptions], torch.Tensor]] = {
    "kl": _kl,
    "log-likelihood": _log_likelihood,
    "chi-square": _chi_square,
    "total-variation": _total_variation,
    "cosine": _cosine,
    "bhattacharyya": _bhattacharyya,
    "bce": _bce,
    "euclidean": _euclidean,
    "huber": _huber,
    "ml-net": _ml_net,
}


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
