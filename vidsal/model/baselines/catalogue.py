"""The name of a model without weights in, the model out."""

from __future__ import annotations

from collections.abc import Callable

from vidsal.errors import ConfigError
from vidsal.model.baselines.contract import Baseline, Map
from vidsal.model.baselines.early import CentrePrior, GraphBased, IttiKoch, SpectralResidual, Uniform
from vidsal.model.baselines.rarity import BayesianNovelty, CodingLength, SelfInformation
from vidsal.model.baselines.surround import BooleanMaps
from vidsal.model.baselines.whitening import AdaptiveWhitening
from vidsal.model.options import BaselineName

__all__ = ["BASELINES", "WITH_FILTERS", "BaselineName", "build_baseline"]

BASELINES: dict[str, Callable[..., Baseline]] = {
    kind.name: kind
    for kind in (
        *(Uniform, CentrePrior, SpectralResidual, IttiKoch, GraphBased),
        *(SelfInformation, BayesianNovelty, CodingLength, BooleanMaps, AdaptiveWhitening),
    )
}
"""Every baseline, by the name that commands take; those that need recorded gaze are made by the evaluation."""


WITH_FILTERS = (SelfInformation.name, BayesianNovelty.name, CodingLength.name)
"""Those that may have filters of their authors, see `vidsal.model.baselines.published`."""


def build_baseline(name: str, **filters: Map) -> Baseline:
    """The baseline of a name, with its published settings.

    Args:
        name: one of `BASELINES`.
        filters: those of its authors, for a name in `WITH_FILTERS`: "filters", (n, side, side, 3) float32 of RGB; for
            "sun" also "sigma" and "theta", (n,).

    Raises:
        ConfigError: there is none of that name; the message lists them.

    Example:
        >>> import numpy as np
        >>> density = build_baseline("centre-prior").predict(np.zeros((1, 9, 16, 3), np.uint8))
        >>> density.shape, bool(density[0, 4, 8] > density[0, 0, 0])
        ((1, 9, 16), True)
    """
    make = BASELINES.get(name)
    if make is None:
        raise ConfigError(f"there is no baseline {name!r}; choose from {', '.join(BASELINES)}")
    return make(**filters)
