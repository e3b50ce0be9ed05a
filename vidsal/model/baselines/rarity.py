"""Models without weights that look for rare responses of filters learned from natural pictures: AIM, SUN, ICL.

The filters are vidsal's own, learned by `tools/learn_filters.py`: those of the authors may not be handed on.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.model.baselines.contract import (
    FLAT,
    FULL_SIDE,
    Baseline,
    Map,
    as_density,
    even,
    fit,
    floats,
    resized,
)

__all__ = ["BayesianNovelty", "CodingLength", "SelfInformation", "filter_bank", "gain_of_features"]

FILTERS = Path(__file__).parent.parent / "weights" / "filters.npz"
"""Where the learned filters are."""


class SelfInformation(Baseline):
    """How unlikely what a place shows is beside the rest of the same picture: AIM.

    Bruce and Tsotsos, "Saliency, attention, and visual search: an information theoretic approach", Journal of Vision
    2009. The picture, 320 pixels on its longer side, is seen by 21x21 filters learned by independent component
    analysis; each one's responses are stretched to 0..1 and counted in 1,000 bins; what is seen in a place has the
    negative log of the product of its shares as information. That is blurred by 4 pixels, which is the authors' 8 at
    twice the size. The outermost 10 pixels, where no filter fits, get the lowest value.
    """

    name = "aim"
    _SIDE: ClassVar[int] = 320
    _BINS: ClassVar[int] = 1000
    _SIGMA: ClassVar[float] = 4.0

    def __init__(self, filters: Map | None = None) -> None:
        """Make it; None takes vidsal's own filters."""
        self._filters = filter_bank("aim") if filters is None else filters

    def _density(self, frame: npt.NDArray[np.uint8]) -> Map:
        filters = self._filters
        margin = filters.shape[1] // 2
        rows, columns = fit(frame.shape[0], frame.shape[1], self._SIDE)
        picture = resized(floats(frame), rows, columns)
        if min(rows, columns) <= 2 * margin or np.ptp(picture, axis=(0, 1)).max() < FLAT:
            return even(*frame.shape[:2])
        information = np.zeros((rows - 2 * margin, columns - 2 * margin))
        for one in filters:
            response = _response(picture, one)[margin : rows - margin, margin : columns - margin]
            low, high = float(response.min()), float(response.max())
            if high - low < FLAT:
                continue
            bins = np.rint((response - low) * ((self._BINS - 1) / (high - low))).astype(np.int64)
            share = np.bincount(bins.ravel(), minlength=self._BINS) / bins.size
            information -= np.log(share + 1e-6)[bins]
        whole = np.pad(information - information.min(), margin)
        blurred = cv2.GaussianBlur(whole, (0, 0), self._SIGMA, borderType=cv2.BORDER_REPLICATE)
        return as_density(np.asarray(blurred, np.float32), *frame.shape[:2])


class BayesianNovelty(Baseline):
    """How unlikely what a place shows is among natural pictures, this one's other places not looked at: SUN.

    Zhang, Tong, Marks, Shan and Cottrell, "SUN: a Bayesian framework for saliency using natural statistics", Journal
    of Vision 2008, in its first form: differences of Gaussians at four scales (4, 8, 16 and 32 pixels of 640, a ratio
    of 1.6) see intensity, red against green, and blue against yellow; natural responses of each are fitted by
    exp(-|f / sigma|^theta), and the sum of |f / sigma|^theta is the saliency. The second form, with the 362 filters
    that the authors learned, has the higher scores in the paper, and is made where these are given: they see the
    picture, 320 pixels on its longer side, over its standard deviation; where no filter fits, at the border, stands the
    lowest value. The 320 are assumed.

    As it knows what is common in the world and not in this picture, nothing pops out for it among unlike items.
    """

    name = "sun"
    _SIDE: ClassVar[int] = 320

    def __init__(self, filters: Map | None = None, sigma: Map | None = None, theta: Map | None = None) -> None:
        """Make it: in the first form, or with filters and the scale and exponent of each in the second."""
        self._bank = None if filters is None or sigma is None or theta is None else (filters, sigma, theta)

    def _density(self, frame: npt.NDArray[np.uint8]) -> Map:
        if self._bank is not None:
            return self._by_filters(frame, *self._bank)
        rows, columns = fit(frame.shape[0], frame.shape[1], FULL_SIDE)
        picture = resized(floats(frame), rows, columns)
        sigma, theta = filter_bank("sun_sigma"), filter_bank("sun_theta")
        total = np.zeros((rows, columns), np.float32)
        for scale, responses in enumerate(differences(picture)):
            unlikely = np.abs(responses / sigma[scale]) ** theta[scale]
            total += resized(np.asarray(unlikely.sum(axis=2), np.float32), rows, columns)
        return as_density(total, frame.shape[0], frame.shape[1])

    def _by_filters(self, frame: npt.NDArray[np.uint8], filters: Map, sigma: Map, theta: Map) -> Map:
        margin = filters.shape[1] // 2
        rows, columns = fit(frame.shape[0], frame.shape[1], self._SIDE)
        picture = resized(floats(frame), rows, columns)
        spread = float(picture.std(ddof=1, dtype=np.float64))
        if min(rows, columns) <= 2 * margin or spread < FLAT:
            return even(*frame.shape[:2])
        picture = np.asarray(picture / spread, np.float32)
        total = np.zeros((rows - 2 * margin, columns - 2 * margin))
        for one, scale, exponent in zip(filters, sigma, theta, strict=True):
            response = _response(picture, one)[margin : rows - margin, margin : columns - margin]
            total += np.abs(response / scale) ** exponent
        whole = np.pad(total - total.min(), margin)
        return as_density(np.asarray(whole, np.float32), *frame.shape[:2])


def differences(picture: Map) -> list[Map]:
    """The twelve responses that `BayesianNovelty` looks at.

    Args:
        picture: (h, w, 3) float32 RGB in 0..1, 640 pixels on its longer side.

    Returns:
        For each of four scales (h', w', 3), each scale half as fine as the one before.
    """
    r, g, b = np.moveaxis(picture, 2, 0)
    level = np.dstack([r + g + b, r - g, b - (r + g) / 2]).astype(np.float32)
    responses = []
    for scale in range(4):
        if scale:
            level = resized(level, max(1, (level.shape[0] + 1) // 2), max(1, (level.shape[1] + 1) // 2))
        # The paper's Gaussian is exp(-r^2 / sigma^2), whose standard deviation is sigma over the root of 2.
        fine, coarse = (
            cv2.GaussianBlur(level, (0, 0), width / np.sqrt(2), borderType=cv2.BORDER_REFLECT_101)
            for width in (4.0, 4.0 * 1.6)
        )
        responses.append(np.asarray(fine - coarse, np.float32).reshape(*level.shape[:2], 3))
    return responses


class CodingLength(Baseline):
    """What still has something to tell, given how much each feature has told so far: dynamic visual attention, ICL.

    Hou and Zhang, "Dynamic visual attention: searching for coding length increments", NIPS 2008. The picture, 120
    pixels on its longer side, is cut into all its 8x8 patches, which 192 learned filters see. A feature's activity is
    its share of all responses; energy is given to the rare ones, by how much one more response of them would lengthen
    the code; a patch gives its energy to its pixels. The map is squared and blurred, as in the authors' demonstration.

    On video, activity is a mean over the frames so far that forgets by a factor of e in 8 frames: what goes on for
    long ceases to be rare. The paper says that it forgets exponentially and not how fast: the 8 are assumed. A cut
    forgets all.
    """

    name = "icl"
    memory_size = 192
    _SIDE: ClassVar[int] = 120
    _FRAMES: ClassVar[float] = 8.0
    _SIGMA: ClassVar[float] = 4.0

    def __init__(self, filters: Map | None = None) -> None:
        """Make it; None takes vidsal's own filters."""
        self._filters = filter_bank("icl") if filters is None else filters

    def _density(self, frame: npt.NDArray[np.uint8]) -> Map:
        return self.watch(frame)[0]

    def watch(self, frame: npt.NDArray[np.uint8], memory: Map | None = None) -> tuple[Map, Map]:
        """See `Baseline.watch`; the memory is the decayed sum of the activity of each feature."""
        filters = self._filters
        patch = filters.shape[1]
        before = np.zeros(len(filters), np.float32) if memory is None else memory
        rows, columns = fit(frame.shape[0], frame.shape[1], self._SIDE)
        picture = resized(floats(frame), rows, columns)
        height, width = rows - patch + 1, columns - patch + 1
        if min(height, width) < 1 or np.ptp(picture, axis=(0, 1)).max() < FLAT:
            return even(*frame.shape[:2]), before
        windows = np.lib.stride_tricks.sliding_window_view(picture, (patch, patch), axis=(0, 1))
        # (height, width, 3, 8, 8) to (places, 192), the filters' order.
        seen = np.abs(
            windows.transpose(0, 1, 3, 4, 2).reshape(height * width, -1) @ filters.reshape(len(filters), -1).T
        )
        told = np.asarray(np.exp(-1 / self._FRAMES) * before + seen.mean(axis=0), np.float32)
        energy = (seen @ gain_of_features(told / told.sum())).reshape(height, width)
        shared = np.zeros((rows, columns), np.float32)
        shared[:height, :width] = energy
        # Each pixel sums the energies of the patches that it is in.
        shared = cv2.boxFilter(
            shared, -1, (patch, patch), anchor=(patch - 1, patch - 1), normalize=False, borderType=cv2.BORDER_CONSTANT
        )
        blurred = cv2.GaussianBlur(shared**2, (0, 0), self._SIGMA, borderType=cv2.BORDER_REPLICATE)
        return as_density(np.asarray(blurred, np.float32), *frame.shape[:2]), told


def gain_of_features(activity: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The share of the energy that each feature gets.

    With H the entropy of the activities p in bits, the gain of feature i is -H - p_i - log2 p_i - p_i log2 p_i: the
    derivative of the entropy by its activity, up to a factor. Features with a negative gain get nothing.

    Args:
        activity: (features,), positive, sums to 1.

    Returns:
        (features,) float64, sums to 1; even shares where no feature is rarer than the others.
    """
    p = np.maximum(activity.astype(np.float64), 1e-12)
    entropy = -(p * np.log2(p)).sum()
    gain = np.maximum(-entropy - p - np.log2(p) - p * np.log2(p), 0)
    if gain.sum() <= 0:
        return np.full(p.shape, 1 / p.size)
    result: npt.NDArray[np.float64] = gain / gain.sum()
    return result


@lru_cache(maxsize=8)
def filter_bank(name: str) -> Map:
    """Filters that `tools/learn_filters.py` has learned.

    Args:
        name: "aim", (25, 21, 21, 3); "icl", (192, 8, 8, 3), of RGB in 0..1; "sun_sigma" and "sun_theta", (4, 3), the
            scales and exponents of the responses of `differences`.

    Returns:
        float32, read-only.
    """
    with np.load(FILTERS, allow_pickle=False) as file:
        bank = np.asarray(file[name], np.float32)
    bank.flags.writeable = False
    return bank


def _response(picture: Map, one: Map) -> Map:
    """The correlation of a picture with a filter of all its colours; (h, w)."""
    total: Map = np.zeros(picture.shape[:2], np.float32)
    for channel in range(3):
        total += cv2.filter2D(np.ascontiguousarray(picture[:, :, channel]), cv2.CV_32F, one[:, :, channel])
    return total
