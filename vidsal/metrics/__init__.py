"""Maps and ground truth in, scores out: `functional` and `auc` hold pure functions, `meter` adds up over pictures."""

from vidsal.metrics.auc import auc_borji, auc_judd, auc_judd_mit, shuffled_auc, shuffled_auc_mit
from vidsal.metrics.catalogue import METRICS, Metric
from vidsal.metrics.functional import (
    DREYEVE_EPSILON,
    EMD_CELLS,
    KL_EPSILON,
    PYSALIENCY_MINIMUM,
    cc,
    emd,
    information_gain,
    information_gain_mit,
    information_gain_of_maps,
    kl,
    kl_dreyeve,
    kl_pysaliency,
    nss,
    sim,
    sim_minmax,
    zeros_under_gaze,
)
from vidsal.metrics.inputs import FixatedCells, Maps
from vidsal.metrics.meter import ScoreMeter
from vidsal.metrics.negatives import NegativeForm, NegativePool

__all__ = [
    "DREYEVE_EPSILON",
    "EMD_CELLS",
    "KL_EPSILON",
    "METRICS",
    "PYSALIENCY_MINIMUM",
    "FixatedCells",
    "Maps",
    "Metric",
    "NegativeForm",
    "NegativePool",
    "ScoreMeter",
    "auc_borji",
    "auc_judd",
    "auc_judd_mit",
    "cc",
    "emd",
    "information_gain",
    "information_gain_mit",
    "information_gain_of_maps",
    "kl",
    "kl_dreyeve",
    "kl_pysaliency",
    "nss",
    "shuffled_auc",
    "shuffled_auc_mit",
    "sim",
    "sim_minmax",
    "zeros_under_gaze",
]
