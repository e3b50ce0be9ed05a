"""Pictures in, densities out, without training on gaze: the models that a learnt one has to beat.

`build_baseline` makes one by name. All follow one contract, `Baseline`: the answer depends on nothing but the pixels of
the frame and, for those that remember, of the frames before it (no random numbers, no optional library), and a picture
without any structure gets a density all the same. `--model NAME` takes each of them through the same pipe as a network.
"""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.model.baselines.catalogue import BASELINES, BaselineName, build_baseline
    from vidsal.model.baselines.contract import FLOOR_SHARE, Baseline
    from vidsal.model.baselines.early import (
        CentrePrior,
        GraphBased,
        IttiKoch,
        SpectralResidual,
        Uniform,
        activate,
        closeness_of_nodes,
        concentrate,
        promote,
    )
    from vidsal.model.baselines.rarity import BayesianNovelty, CodingLength, SelfInformation
    from vidsal.model.baselines.surround import BooleanMaps
    from vidsal.model.baselines.whitening import AdaptiveWhitening

__all__ = [
    "BASELINES",
    "FLOOR_SHARE",
    "AdaptiveWhitening",
    "Baseline",
    "BaselineName",
    "BayesianNovelty",
    "BooleanMaps",
    "CentrePrior",
    "CodingLength",
    "GraphBased",
    "IttiKoch",
    "SelfInformation",
    "SpectralResidual",
    "Uniform",
    "activate",
    "build_baseline",
    "closeness_of_nodes",
    "concentrate",
    "promote",
]

__getattr__, __dir__ = lazy(__name__, __all__, "contract", "early", "rarity", "surround", "whitening", "catalogue")
