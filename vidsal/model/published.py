"""A picture and a published network in, the map that its authors' code makes of that picture out.

The pipe gives densities at the size of the network's canvas. This gives the authors' own result at the size of the
picture, for comparing numbers with theirs.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from vidsal.errors import CheckpointError
from vidsal.model.checkpoint import SaliencyModel
from vidsal.preprocess import blur_first_axis

__all__ = ["finish_relevance", "published_map"]

_BLUR_PIXELS = 7.0
_WHITE = 255.0


def published_map(model: SaliencyModel, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The map of a single picture as the code of Cornia et al. (2018) writes it, before it is rounded to whole numbers.

    The picture is letter-boxed by the model's preprocessing, refined in `config.steps` steps from the zero state, and
    the network's output is finished by `finish_relevance`.

    Args:
        model: a model with the published head ("sam-resnet", "sam-vgg").
        picture: (height, width, 3) uint8 RGB.

    Returns:
        (height, width) float32 from 0 to 255, the largest value 255; all 0, with a `RuntimeWarning`, where the
        network's output is 0 everywhere (the authors' code divides by zero there).

    Raises:
        CheckpointError: if the model has another head.
        ValueError: if the picture is not (height, width, 3) uint8.
    """
    network = model.attentive
    if network.config.head != "published":
        raise CheckpointError(
            f"{model.card.name} has the head {network.config.head!r}, which has no published map: "
            "give a model of the architecture sam-resnet or sam-vgg, or take the density that predict gives"
        )
    if picture.ndim != 3:
        raise ValueError(f"picture must be (height, width, 3) uint8, got {picture.shape} {picture.dtype}")
    pixels = model.preprocessor(picture[None], device=model.device)
    with torch.inference_mode():
        relevance = network.relevance(pixels)[0]
    return finish_relevance(relevance, *picture.shape[:2]).cpu().numpy()


def finish_relevance(relevance: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The authors' post-processing: from the network's output to the map of a picture.

    Enlarged (`cv2.resize`, bilinear, the scaled side rounded down) until the part without bars covers the picture, the
    rest cut off, blurred by a Gaussian of 7 pixels of the picture (`scipy.ndimage.gaussian_filter`), divided by the
    maximum, times 255. All but the division is linear and works along rows and columns separately, so it is done as
    one matrix an axis; the authors' first division by the maximum cancels out.

    Args:
        relevance: (..., rows, columns) float, at least 0, of any scale, over the letter-boxed canvas, as
            `SaliencyAttentiveModel.relevance` gives it (480x640 for the published canvas).
        height: rows of the upright picture.
        width: columns of the upright picture.

    Returns:
        (..., height, width) float32 on the same device, from 0 to 255, the largest value of each map 255. A map that
        is 0 everywhere stays so, and a `RuntimeWarning` says it.

    Raises:
        ValueError: if `relevance` has fewer than two axes or the picture has no pixels.
    """
    if relevance.ndim < 2 or height < 1 or width < 1:
        raise ValueError(
            f"relevance must be (..., rows, columns) and the picture at least 1x1, got {tuple(relevance.shape)} "
            f"for a picture of {height}x{width}"
        )
    rows, columns = relevance.shape[-2:]
    if height * columns > width * rows:
        covering_height, covering_width = height, columns * height // rows
    else:
        covering_height, covering_width = rows * width // columns, width
    down = _finishing_matrix(rows, covering_height, height, relevance.device)
    across = _finishing_matrix(columns, covering_width, width, relevance.device)
    with torch.autocast(relevance.device.type, enabled=False):
        # Divided first, as the authors do: products of tiny values could vanish.
        largest = relevance.float().amax((-1, -2), keepdim=True)
        finished = down @ (relevance.float() / torch.where(largest > 0, largest, 1.0)) @ across.T
        peak = finished.amax((-1, -2), keepdim=True)
        finished = finished / torch.where(peak > 0, peak, 1.0) * _WHITE
    if not bool((largest > 0).all()):
        warnings.warn("the network's output is 0 everywhere: so is the map", RuntimeWarning, stacklevel=2)
    return finished


@lru_cache(maxsize=16)
def _finishing_matrix(cells: int, covering: int, pixels: int, device: torch.device) -> torch.Tensor:
    """Resizing `cells` to `covering`, cutting `pixels` out of the middle and blurring, as (pixels, cells) float32."""
    start = (covering - pixels) // 2
    # Centres at half-integers on both sides, the edges repeated: bilinear as `cv2.resize` does it.
    position = (np.arange(start, start + pixels) + 0.5) * (cells / covering) - 0.5
    distance = np.abs(position.clip(0, cells - 1)[:, None] - np.arange(cells))
    matrix = torch.from_numpy(blur_first_axis((1 - distance).clip(min=0), sigma=_BLUR_PIXELS))
    # Not an inference tensor, wherever it is made first: it is shared.
    with torch.inference_mode(False):
        return matrix.to(device, torch.float32, copy=True)
