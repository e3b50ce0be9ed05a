"""Maps and ground truth in, scores out: `functional` holds pure functions, `meter` adds them up over pictures."""

from vidsal.metrics.functional import KL_EPSILON, auc_judd, cc, information_gain, kl, nss, sim
from vidsal.metrics.meter import ScoreMeter

__all__ = ["KL_EPSILON", "ScoreMeter", "auc_judd", "cc", "information_gain", "kl", "nss", "sim"]
