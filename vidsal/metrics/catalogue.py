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


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to score a map."""

    title: str
    """What a person calls it, with its form."""
    function: Callable[..., torch.Tensor]
    """Takes the map, then what `needs` lists in that order; with `seeded`, `seed` too. Gives (B,) float64."""
    needs: tuple[Literal["density", "fixations", "baseline", "negatives"], ...]
    """What a map is compared with."""
    better: Literal["higher", "lower"]
    """Which way is good."""
    negatives: NegativeForm | None = None
    """Which fixations of other pictures it is for; None where it needs none."""
    seeded: bool = False
    """Whether numbers are drawn."""
    sums: tuple[CellSum, ...] = ()
    """What it sums over the cells of map and density; sums of several metrics are found together more cheaply."""


METRICS: dict[str, Metric] = {
    "nss": Metric(title="NSS", function=functional.nss, needs=("fixations",), better="higher"),
    "cc": Metric(
        title="CC",
        function=functional.cc,
        needs=("density",),
        better="higher",
        sums=(functional.PRODUCT, SQUARES_OF_MAP, SQUARES_OF_TRUTH),
    ),
    "sim": Metric(
        title="SIM", function=functional.sim, needs=("density",), better="higher", sums=(functional.SHARED_MASS,)
    ),
    "sim_minmax": Metric(
        title="SIM, stretched (MIT)",
        function=functional.sim_minmax,
        needs=("density",),
        better="higher",
        sums=(functional.SHARED_MASS_ABOVE,),
    ),
    "kl": Metric(
        title="KL (MIT)", function=functional.kl, needs=("density",), better="lower", sums=(functional.KL_SUM,)
    ),
    "kl_dreyeve": Metric(
        title="KL (DR(eye)VE)",
        function=functional.kl_dreyeve,
        needs=("density",),
        better="lower",
        sums=(functional.KL_DREYEVE_SUM,),
    ),
    "kl_pysaliency": Metric(
        title="KL (pysaliency)",
        function=functional.kl_pysaliency,
        needs=("density",),
        better="lower",
        sums=(functional.KL_PYSALIENCY_SUM,),
    ),
    "auc_judd": Metric(title="AUC-Judd (exact)", function=auc.auc_judd, needs=("fixations",), better="higher"),
    "auc_judd_mit": Metric(
        title="AUC-Judd (MIT)", function=auc.auc_judd_mit, needs=("fixations",), better="higher", seeded=True
    ),
    "auc_borji": Metric(title="AUC-Borji", function=auc.auc_borji, needs=("fixations",), better="higher", seeded=True),
    "shuffled_auc": Metric(
        title="sAUC (exact)",
        function=auc.shuffled_auc,
        needs=("fixations", "negatives"),
        better="higher",
        negatives="all",
    ),
    "shuffled_auc_mit": Metric(
        title="sAUC (MIT)",
        function=auc.shuffled_auc_mit,
        needs=("fixations", "negatives"),
        better="higher",
        negatives="mit",
        seeded=True,
    ),
    "shuffled_auc_dhf1k": Metric(
        title="sAUC (DHF1K-like)",
        function=auc.shuffled_auc_mit,
        needs=("fixations", "negatives"),
        better="higher",
        negatives="dhf1k",
        seeded=True,
    ),
    "information_gain": Metric(
        title="IG, bits",
        function=functional.information_gain_of_maps,
        needs=("baseline", "fixations"),
        better="higher",
    ),
    "information_gain_mit": Metric(
        title="IG, stretched (MIT)",
        function=functional.information_gain_mit,
        needs=("baseline", "fixations"),
        better="higher",
    ),
    "emd": Metric(title="EMD, cells", function=functional.emd, needs=("density",), better="lower"),
    "zeros_under_gaze": Metric(
        title="zeros under gaze, share",
        function=functional.zeros_under_gaze,
        needs=("fixations",),
        better="lower",
    ),
}
"""Every metric by its name, in the order in which they are reported."""
