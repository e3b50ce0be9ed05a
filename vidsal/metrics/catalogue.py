"""The name of a metric in, what it is and what it needs out: one table for the meter, the command and the docs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from vidsal.metrics import auc, functional
from vidsal.metrics.inputs import SQUARES_OF_MAP, SQUARES_OF_TRUTH, CellSum
from vidsal.metrics.negatives import NegativeForm

__all__ = ["METRICS", "Metric"]

_Need = Literal["density", "fixations", "baseline", "negatives"]


@dataclass(frozen=True)
class Metric:
    """One way to score a map."""

    title: str
    """What a person calls it, with its form."""
    function: Callable[..., torch.Tensor]
    """Takes the map, then what `needs` lists in that order; with `seeded`, `seed` too. Gives (B,) float64."""
    needs: tuple[_Need, ...]
    """What a map is compared with."""
    better: Literal["higher", "lower"]
    """Which way is good."""
    negatives: NegativeForm | None = None
    """Which fixations of other pictures it is for; None where it needs none."""
    seeded: bool = False
    """Whether numbers are drawn."""
    at_fixations: Callable[..., torch.Tensor] | None = None
    """Takes the same as `Maps` and `FixatedCells`; gives (B, K) float64, a value for each cell looked at, of which the
    metric is the mean over the fixations. None where it is no such mean."""
    sums: tuple[CellSum, ...] = ()
    """What it sums over the cells of map and density; sums of several metrics are found together more cheaply."""


_SHUFFLED: tuple[_Need, ...] = ("fixations", "negatives")
_GAIN: tuple[_Need, ...] = ("baseline", "fixations")

METRICS: dict[str, Metric] = {
    "nss": Metric("NSS", functional.nss, ("fixations",), "higher", at_fixations=functional.nss_at),
    "cc": Metric(
        "CC", functional.cc, ("density",), "higher", sums=(functional.PRODUCT, SQUARES_OF_MAP, SQUARES_OF_TRUTH)
    ),
    "sim": Metric("SIM", functional.sim, ("density",), "higher", sums=(functional.SHARED_MASS,)),
    "sim_minmax": Metric(
        "SIM, stretched (MIT)", functional.sim_minmax, ("density",), "higher", sums=(functional.SHARED_MASS_ABOVE,)
    ),
    "kl": Metric("KL (MIT)", functional.kl, ("density",), "lower", sums=(functional.KL_SUM,)),
    "kl_dreyeve": Metric(
        "KL (DR(eye)VE)", functional.kl_dreyeve, ("density",), "lower", sums=(functional.KL_DREYEVE_SUM,)
    ),
    "kl_pysaliency": Metric(
        "KL (pysaliency)", functional.kl_pysaliency, ("density",), "lower", sums=(functional.KL_PYSALIENCY_SUM,)
    ),
    "auc_judd": Metric("AUC-Judd (exact)", auc.auc_judd, ("fixations",), "higher", at_fixations=auc.auc_judd_at),
    "auc_judd_mit": Metric("AUC-Judd (MIT)", auc.auc_judd_mit, ("fixations",), "higher", seeded=True),
    "auc_borji": Metric("AUC-Borji", auc.auc_borji, ("fixations",), "higher", seeded=True),
    "shuffled_auc": Metric(
        "sAUC (exact)", auc.shuffled_auc, _SHUFFLED, "higher", negatives="all", at_fixations=auc.shuffled_auc_at
    ),
    "shuffled_auc_mit": Metric("sAUC (MIT)", auc.shuffled_auc_mit, _SHUFFLED, "higher", negatives="mit", seeded=True),
    "shuffled_auc_dhf1k": Metric(
        "sAUC (DHF1K-like)", auc.shuffled_auc_mit, _SHUFFLED, "higher", negatives="dhf1k", seeded=True
    ),
    "information_gain": Metric(
        "IG, bits",
        functional.information_gain_of_maps,
        _GAIN,
        "higher",
        at_fixations=functional.information_gain_at,
    ),
    "information_gain_mit": Metric("IG, stretched (MIT)", functional.information_gain_mit, _GAIN, "higher"),
    "emd": Metric("EMD, cells", functional.emd, ("density",), "lower"),
    "zeros_under_gaze": Metric("zeros under gaze, share", functional.zeros_under_gaze, ("fixations",), "lower"),
}
"""Every metric by its name, in the order in which they are reported."""
