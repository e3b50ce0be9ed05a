"""Fixations of many pictures in, for each picture the fixations of others out: the negatives of shuffled AUC."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from vidsal.metrics.inputs import FixatedCells

__all__ = ["NegativeForm", "NegativePool"]

NegativeForm = Literal["all", "mit", "dhf1k"]
"""Which other pictures lend their fixations; `NegativePool.draw` says what each means."""


class NegativePool:
    """The fixations of a whole data set, to draw from for each of its pictures.

    Other pictures are those of other videos: within one video people keep looking at the same things, so its own frames
    as negatives would punish a model for being right. For stills each picture is its own video.

    Example:
        >>> here, elsewhere = np.array([[0.5, 0.5]]), np.array([[3.0, 1.0], [3.5, 1.5]])
        >>> pool = NegativePool([here, elsewhere], [(2, 4), (2, 4)], ["a", "b"])
        >>> pool.draw([0], form="all").counts().tolist()
        [[[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0]]]
    """

    def __init__(
        self,
        points: Sequence[npt.NDArray[np.floating]],
        sizes: Sequence[tuple[int, int]],
        videos: Sequence[Hashable],
    ) -> None:
        """Takes in the points.

        Args:
            points: for each picture (n, 2), x and y in its pixels; the pixel in column c covers c <= x < c + 1.
                Points outside the picture are left out.
            sizes: for each picture the rows and columns that its points refer to.
            videos: for each picture what it belongs to.

        Raises:
            ValueError: The three are not of equal length, or points are not (n, 2).
        """
        if not len(points) == len(sizes) == len(videos):
            raise ValueError(
                "points, sizes and videos must have one entry a picture, "
                f"got {len(points)}, {len(sizes)}, {len(videos)}"
            )
        for index, each in enumerate(points):
            if each.ndim != 2 or each.shape[1] != 2:
                raise ValueError(f"points[{index}] must be (n, 2), got {each.shape}")
        limits = np.array(sizes, np.float64).reshape(-1, 2)[:, ::-1]  # width, height
        inside = [
            np.asarray(each, np.float64)[((each >= 0) & (each < limit)).all(1)]
            for each, limit in zip(points, limits, strict=True)
        ]
        counts = np.array([len(each) for each in inside], np.int64)
        self._points = np.concatenate([np.zeros((0, 2)), *inside])
        self._end = np.cumsum(counts)
        self._start = self._end - counts
        self._limits = limits
        self._sizes = list(sizes)
        numbers: dict[Hashable, int] = {}
        self._video = np.array([numbers.setdefault(video, len(numbers)) for video in videos], np.int64)
        self._last: tuple[tuple[int, int, int], npt.NDArray[np.float64]] | None = None

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self._video)

    def draw(
        self,
        indices: Sequence[int],
        *,
        form: NegativeForm,
        height: int | None = None,
        width: int | None = None,
        pictures: int = 10,
        own_video: bool = False,
        seed: int = 0,
    ) -> FixatedCells:
        """The negatives of a batch of pictures.

        Args:
            indices: of the pictures, as the pool was made.
            form: "all": every fixation of every other picture, for `shuffled_auc` (Tübingen). "mit": those of
                `pictures` other videos, one picture of each, all drawn at random (MIT's rule for stills, UNISAL's for
                videos). "dhf1k": those of `pictures` pictures drawn from the list of all, so that long videos lend
                more. The last two are for `shuffled_auc_mit`. Where there are fewer, all are taken.
            height: rows to bring the points to; None means those of the first picture.
            width: columns likewise.
            pictures: how many are drawn.
            own_video: whether pictures of the same video, and the picture itself, may lend too, as in the released
                code of DHF1K.
            seed: of the draw; together with the picture's index it decides what is drawn.

        Returns:
            The cells, on the CPU; none where no other picture has any.

        Raises:
            IndexError: There is no such picture.
            ValueError: The form is unknown, or `pictures` is below 1.
        """
        if form not in ("all", "mit", "dhf1k"):
            raise ValueError(f"form must be all, mit or dhf1k, got {form!r}")
        if pictures < 1:
            raise ValueError(f"pictures must be at least 1, got {pictures}")
        for index in indices:
            if not 0 <= index < len(self):
                raise IndexError(f"picture {index} of {len(self)}")
        rows = height if height is not None else self._sizes[indices[0]][0] if len(indices) else 1
        columns = width if width is not None else self._sizes[indices[0]][1] if len(indices) else 1
        if form == "all":
            points = [self._all_points(index, rows, columns, own_video) for index in indices]
        else:
            points = [
                self._points_of(self._draw(index, form, pictures, own_video, seed), rows, columns) for index in indices
            ]
        return FixatedCells.from_points(points, height=rows, width=columns)

    def _all_points(self, index: int, rows: int, columns: int, own_video: bool) -> npt.NDArray[np.float64]:
        own = -1 if own_video else int(self._video[index])
        # All frames of a video share these: made once for frames that follow each other.
        if self._last is None or self._last[0] != (own, rows, columns):
            self._last = (own, rows, columns), self._points_of(np.flatnonzero(self._video != own), rows, columns)
        return self._last[1]

    def _draw(self, index: int, form: NegativeForm, pictures: int, own_video: bool, seed: int) -> npt.NDArray[np.int64]:
        rng = np.random.default_rng([seed, index])
        lenders = np.flatnonzero((self._end > self._start) & (own_video | (self._video != self._video[index])))
        if form == "dhf1k":
            return rng.permutation(lenders)[:pictures]
        videos = rng.permutation(np.unique(self._video[lenders]))[:pictures]
        return np.array([rng.choice(lenders[self._video[lenders] == video]) for video in videos], np.int64)

    def _points_of(self, lenders: npt.NDArray[np.int64], rows: int, columns: int) -> npt.NDArray[np.float64]:
        """(n, 2), brought to a picture of this size."""
        ranges = [np.arange(self._start[lender], self._end[lender]) for lender in lenders]
        chosen = np.concatenate([np.zeros(0, np.int64), *ranges])
        scale = np.repeat(np.array([columns, rows]) / self._limits[lenders], [len(each) for each in ranges], axis=0)
        # A point at the very edge may round onto it.
        return np.asarray(np.minimum(np.floor(self._points[chosen] * scale), (columns - 1, rows - 1)), np.float64)
