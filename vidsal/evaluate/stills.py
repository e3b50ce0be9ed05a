"""A model and stills with fixations in, mean scores out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch

from vidsal.data.fixations import Still, density_from_fixations, fixation_counts
from vidsal.metrics import ScoreMeter
from vidsal.model.checkpoint import SaliencyModel

__all__ = ["Predictor", "centre_prior", "mean_density", "model_predictor", "score_predictor", "score_stills"]

Predictor = Callable[[Still], npt.NDArray[np.float32]]
"""A still to a map of any size and scale over the whole picture, (h, w) float32."""


def score_stills(
    model: SaliencyModel, stills: Sequence[Still], *, resolution: Literal["stimulus", "model"] = "stimulus"
) -> dict[str, float]:
    """Score a model on stills, each a single frame from the zero state.

    Args:
        model: the model.
        stills: the pictures.
        resolution: where maps are compared: "stimulus", in the pixels the fixations were recorded in (predictions
            are enlarged bilinearly), or "model", on the part of the model's canvas that shows the picture.

    Returns:
        Mean over the pictures of each metric of `vidsal.metrics.ScoreMeter`.
    """

    def viewport_size(height: int, width: int) -> tuple[int, int]:
        viewport = model.preprocessor.viewport(height, width)
        return viewport.height, viewport.width

    return score_predictor(model_predictor(model), stills, size=viewport_size if resolution == "model" else None)


def score_predictor(
    predict: Predictor,
    stills: Sequence[Still],
    *,
    size: Callable[[int, int], tuple[int, int]] | None = None,
) -> dict[str, float]:
    """Score anything that gives a map for a still.

    Args:
        predict: still to map.
        stills: the pictures.
        size: (rows, columns) to compare at, from those of the stimulus; None compares at the stimulus's own size.
    """
    meter = ScoreMeter()
    for still in stills:
        height, width = size(still.height, still.width) if size else (still.height, still.width)
        scale = np.array([width / still.width, height / still.height], np.float32)
        points = still.points * scale
        density = density_from_fixations(points, height=height, width=width, sigma=still.sigma * float(scale[0]))
        counts = fixation_counts(points, height=height, width=width)
        saliency = predict(still)
        if saliency.shape != (height, width):
            saliency = np.asarray(cv2.resize(saliency, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        meter.update(*(torch.from_numpy(array)[None] for array in (saliency, density, counts)))
    return meter.mean()


def model_predictor(model: SaliencyModel) -> Predictor:
    """The density that a model gives for a still as a single frame from the zero state."""

    def predict(still: Still) -> npt.NDArray[np.float32]:
        picture = still.read()
        pixels = model.preprocessor(picture[None], device=model.device)
        log_density, _ = model(pixels[None])
        log_density = model.preprocessor.to_picture(log_density[0, 0], *picture.shape[:2])
        return log_density.exp().float().cpu().numpy()

    return predict


def centre_prior(sigma_share: float = 0.25) -> Predictor:
    """A fixed Gaussian in the middle of every picture, with `sigma_share` of each side as standard deviation."""

    def predict(still: Still) -> npt.NDArray[np.float32]:
        x = (np.arange(still.width, dtype=np.float32) + 0.5) / still.width - 0.5
        y = (np.arange(still.height, dtype=np.float32) + 0.5) / still.height - 0.5
        return np.exp(-(x[None, :] ** 2 + y[:, None] ** 2) / np.float32(2 * sigma_share**2))

    return predict


def mean_density(training: Sequence[Still], *, height: int = 240, width: int = 320) -> Predictor:
    """The mean of the recorded densities of other pictures: the strongest prediction that ignores the picture."""
    total = np.zeros((height, width), np.float32)
    for still in training:
        scale = np.array([width / still.width, height / still.height], np.float32)
        total += density_from_fixations(
            still.points * scale, height=height, width=width, sigma=still.sigma * float(scale[0])
        )
    return lambda _: total
