"""What every layout returns: a `Dataset` of sequences in, `LabelledFrame`s with lazy pictures and labels out.

A layout says where the pictures of a sequence lie (`Pictures`) and where its labels do (`Labels`); walking through
them side by side, windows, flags and the comparison of counts are done here. A still is a sequence of one frame.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from vidsal.data.fixations import SIGMA_SHARE, density_from_fixations, fixation_counts
from vidsal.decode.contract import SizeRequest
from vidsal.errors import DatasetError

__all__ = [
    "FRAME_COUNT_SLACK",
    "ActionAttributes",
    "AttentionCode",
    "Attributes",
    "CategoryAttributes",
    "Dataset",
    "DrivingAttributes",
    "Fixations",
    "ForShown",
    "LabelledFrame",
    "LabelledSequence",
    "Labels",
    "Layout",
    "Marks",
    "NoOptions",
    "Pictures",
    "SequenceFacts",
    "ShotAttributes",
    "Shown",
]

FRAME_COUNT_SLACK = 2
"""Frames by which a video file and labels that are matched by their order may differ: decoders disagree on the last
frames of old AVI files. Frames beyond the labels have none; a larger difference is a `DatasetError`."""

AttentionCode = Literal["i", "k", "u", "e"]
"""DR(eye)VE's word on a subsequence: i inattentive, k attentive and not trivial, u uninteresting, e measuring error."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Fixations:
    """Points where viewers looked on one picture.

    Example:
        >>> seen = Fixations.on_picture(np.array([[1.5, 0.5], [9.0, 9.0]]), height=4, width=6)
        >>> seen.points.tolist(), seen.counts().sum()
        ([[1.5, 0.5]], np.float32(1.0))
    """

    points: npt.NDArray[np.float32]
    """(N, 2) float32, x and y in pixels; the pixel in column c covers c <= x < c + 1. Repeated points count again."""
    height: int
    """Rows of the picture that the points refer to; the stored picture may have another size."""
    width: int
    """Columns of that picture."""
    viewers: npt.NDArray[np.int64] | None = None
    """(N,) int64, who looked, numbered within the picture; None where the data set does not say."""
    names: tuple[str, ...] | None = None
    """Name of each viewer's number, the same person's on every picture; None where numbers of different pictures have
    nothing to do with each other."""
    sigma: float | None = None
    """Standard deviation, in pixels, of the Gaussians that this data set's densities are made of; None where it
    publishes densities of its own."""

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 2:
            raise ValueError(f"points must be (N, 2), got {self.points.shape}")
        if self.viewers is not None and self.viewers.shape != (len(self.points),):
            raise ValueError(f"viewers must be ({len(self.points)},), got {self.viewers.shape}")

    @property
    def people(self) -> tuple[str, ...] | None:
        """(N,) the name of who looked, for each point; None where there are no `names`."""
        if self.viewers is None or self.names is None:
            return None
        return tuple(self.names[viewer] for viewer in self.viewers.tolist())

    @classmethod
    def on_picture(
        cls,
        points: npt.ArrayLike,
        *,
        height: int,
        width: int,
        viewers: npt.ArrayLike | None = None,
        names: tuple[str, ...] | None = None,
        sigma: float | None = None,
    ) -> Fixations:
        """Takes (N, 2) x, y of any kind and leaves out the points outside the picture, NaN among them."""
        where = np.asarray(points, np.float32).reshape(-1, 2)
        x, y = where[:, 0], where[:, 1]
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        who = None if viewers is None else np.asarray(viewers, np.int64).reshape(-1)[inside]
        return cls(where[inside], height, width, who, names, sigma)

    @classmethod
    def from_map(cls, values: npt.NDArray[Any]) -> Fixations:
        """Reads a binary map, (h, w): the centres of all pixels above half of the largest value.

        Half, because some sets write 0 and 1, some 0 and 255, and some a JPEG with ripples around each point.
        """
        rows, columns = np.nonzero(values > values.max(initial=0) / 2)
        points = np.stack([columns, rows], 1).astype(np.float32) + np.float32(0.5)
        return cls(points, values.shape[0], values.shape[1])

    def counts(self, *, height: int | None = None, width: int | None = None) -> npt.NDArray[np.float32]:
        """How many points fall on each pixel of a picture of this size (None: their own): (height, width) float32."""
        height, width = height or self.height, width or self.width
        # In float64: float32 rounds points at the far edges off the picture.
        scale = np.array([width / self.width, height / self.height])
        return fixation_counts(self.points * scale, height=height, width=width)

    @property
    def spread(self) -> float:
        """`sigma`, or 3 % of the longer side, about one degree on the usual screens."""
        return SIGMA_SHARE * max(self.height, self.width) if self.sigma is None else self.sigma

    def density(self) -> npt.NDArray[np.float32] | None:
        """Gaussians of `spread` pixels on all points, (height, width) float32 that sums to 1; None without points."""
        if not len(self.points):
            return None
        return density_from_fixations(self.points, height=self.height, width=self.width, sigma=self.spread)


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """One frame with what is known of where people looked; nothing is read before it is asked for.

    The three callables stay valid after the iteration went on; each call reads anew.
    """

    index: int
    """Ordinal in its sequence, from 0."""
    pts_seconds: float
    """Time since the first frame of the sequence; 0 for stills."""
    name: str
    """The data set's own name of the frame: the file's, or its six-digit ordinal in a video file, from 0."""
    picture: Callable[[], npt.NDArray[np.uint8]] = field(repr=False)
    """Returns a new (h, w, 3) uint8 RGB array, at the size that `LabelledSequence.read` was asked for."""
    density: Callable[[], npt.NDArray[np.float32] | None] = field(repr=False)
    """Returns the recorded density at its own size, (h, w) float32 that sums to 1; None where there is none, or only
    zeros."""
    fixations: Callable[[], Fixations | None] = field(repr=False)
    """Returns the recorded points; None where the data set has none for this frame (no points is not None)."""
    bad: bool = False
    """True where the data set's own lists say that this frame has no usable label."""
    attention: AttentionCode | None = None
    """DR(eye)VE's code of the subsequence; None outside of all."""


@dataclass(frozen=True)
class DrivingAttributes:
    """What DR(eye)VE's design table says of a run."""

    time_of_day: str
    """Morning, Evening or Night."""
    weather: str
    """Sunny, Cloudy or Rainy."""
    landscape: str
    """Downtown, Countryside or Highway."""
    driver: str
    """D1 to D8."""


@dataclass(frozen=True)
class ShotAttributes:
    """Where a shot of Hollywood-2 comes from."""

    clip: str
    """The parent clip, as actioncliptest00001."""
    shot: int
    """Number of the shot in it, from 1."""


@dataclass(frozen=True)
class ActionAttributes:
    """What a sequence of UCF-Sports shows."""

    action: str
    """Name of the action, as Diving-Side."""


@dataclass(frozen=True)
class CategoryAttributes:
    """Which kind of picture a still of CAT2000 is."""

    category: str
    """Name of the category, as Action."""


Attributes = DrivingAttributes | ShotAttributes | ActionAttributes | CategoryAttributes
"""What a data set says of a sequence beyond its name."""


@dataclass(frozen=True, eq=False)
class Shown:
    """One picture on its way into a `LabelledFrame`."""

    ordinal: int
    """Position in its file or folder, from 0."""
    seconds: float
    """Time since the first picture of the file or folder."""
    name: str
    """File name, or six-digit ordinal in a video file."""
    picture: Callable[[], npt.NDArray[np.uint8]] = field(repr=False)
    """As in `LabelledFrame`."""


class Pictures(Protocol):
    """Where the pictures of a sequence lie."""

    def count(self) -> int | None:
        """Number of pictures: of a folder the files, of a video file what its container says (None: nothing)."""
        ...

    def read(self, start: int, stop: int | None, size: SizeRequest) -> Iterator[Shown]:
        """Yields the pictures number `start` up to `stop` (left out; None: the end) in order.

        Raises:
            DatasetError: a file cannot be read.
        """
        ...


class Labels(Generic[T]):
    """Where one kind of label of a sequence lies."""

    def count(self) -> int | None:
        """Number of labels where they are matched to the pictures by their order, one each; else None."""
        return None

    @contextlib.contextmanager
    def follow(self) -> Iterator[Callable[[Shown], Callable[[], T | None]]]:
        """Opens the labels; the function entered takes each picture, in order, and returns what reads its label."""
        yield self.label

    def label(self, shown: Shown) -> Callable[[], T | None]:
        """What reads the label of a picture, where nothing has to be opened."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class ForShown(Labels[T]):
    """Labels that follow from what is shown."""

    load: Callable[[Shown], T | None]
    """Reads the label of a picture."""

    def label(self, shown: Shown) -> Callable[[], T | None]:
        """See `Labels`."""
        return partial(self.load, shown)


@dataclass(frozen=True)
class Marks:
    """What a data set's lists say of single frames, by position in the file or folder, from 0."""

    bad: frozenset[int] = frozenset()
    """Frames without a usable label."""
    attention: Mapping[int, AttentionCode] = field(default_factory=dict)
    """Codes of the frames that lie in an annotated subsequence."""


@dataclass(frozen=True)
class SequenceFacts:
    """What `LabelledSequence.check` found."""

    frames: int | None
    """Frames; None where a container does not say."""
    height: int
    """Rows of the first picture."""
    width: int
    """Columns of the first picture."""
    density: tuple[int, int] | None
    """(rows, columns) of the first frame's density; None where it has none."""
    fixations: int | None
    """Points on the first frame; None where it has no record of points."""
    bad: int
    """Frames that the data set's own lists call unusable."""


def _nothing() -> None:
    return None


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledSequence:
    """A still, or frames that belong together; iterating it reads the frames in order, as often as one likes."""

    name: str
    """The data set's own name; unique in the data set."""
    split: str
    """Split that it belongs to."""
    kind: Literal["video", "still"]
    """still: one frame without a time."""
    rate: Fraction | None = None
    """Nominal frames a second; None for stills and where only the file says. Times come from the files where they have
    some."""
    attributes: Attributes | None = None
    """What the data set says of it."""
    recording: str = ""
    """What it was cut from, as a clip of several shots or a drive of several parts; its own name where it is given
    empty. At sequences of one recording people look alike."""
    first: int = 0
    """Where it begins in its file or folder."""
    length: int | None = None
    """Frames it has at most; None: up to the end of the file or folder."""
    pictures: Pictures = field(repr=False)
    """Where the pictures lie."""
    densities: Labels[npt.NDArray[np.float32]] | None = field(default=None, repr=False)
    """Where the densities lie; None: there are none."""
    points: Labels[Fixations] | None = field(default=None, repr=False)
    """Where the fixations lie; None: there are none."""
    marks: Marks = field(default_factory=Marks, repr=False)
    """What lists say of single frames."""
    may_be_mirrored: bool = True
    """Whether its mirror image could have been filmed too; False of drives, since traffic keeps to one side."""

    def __post_init__(self) -> None:
        if not self.recording:
            object.__setattr__(self, "recording", self.name)

    @property
    def frame_count(self) -> int | None:
        """Number of frames: a folder is listed, a video file's header read; None where that does not say."""
        count = self.pictures.count()
        if count is None:
            return self.length
        rest = max(0, count - self.first)
        return rest if self.length is None else min(rest, self.length)

    def __iter__(self) -> Iterator[LabelledFrame]:
        return self.read()

    def read(self, *, size: SizeRequest = None, start: int = 0, stop: int | None = None) -> Iterator[LabelledFrame]:
        """Reads frames in order.

        Args:
            size: (height, width) of the pictures, or a function that makes it from the stored (height, width); None:
                as stored. Labels keep their own size.
            start: first frame wanted, counted from 0 at the sequence's beginning.
            stop: frame to stop before; None: the end.

        Raises:
            DatasetError: a file is missing or cannot be read, or there are more or fewer labels than pictures. Frames
                that were read before are delivered before.
        """
        if start < 0 or (stop is not None and stop < start):
            raise ValueError(f"start and stop must be 0 <= start <= stop, got {start} and {stop}")
        ends = [end for end in (stop, self.length) if end is not None]
        last = self.first + min(ends) if ends else None
        zero = float(self.first / self.rate) if self.rate else 0.0
        seen: int | None = None
        with ExitStack() as stack:
            density_of = stack.enter_context(self.densities.follow()) if self.densities else None
            fixations_of = stack.enter_context(self.points.follow()) if self.points else None
            for shown in self.pictures.read(self.first + start, last, size):
                seen = shown.ordinal + 1
                yield LabelledFrame(
                    index=shown.ordinal - self.first,
                    pts_seconds=max(0.0, shown.seconds - zero),
                    name=shown.name,
                    picture=shown.picture,
                    density=_nothing if density_of is None else density_of(shown),
                    fixations=_nothing if fixations_of is None else fixations_of(shown),
                    bad=shown.ordinal in self.marks.bad,
                    attention=self.marks.attention.get(shown.ordinal),
                )
        if last is None and seen is not None:
            self._compare(seen)

    def first_frame(self, *, size: SizeRequest = None) -> LabelledFrame:
        """The first frame: of a still the only one. Arguments and errors as `read`.

        Raises:
            DatasetError: the sequence is empty.
        """
        for frame in self.read(size=size, stop=1):
            return frame
        raise DatasetError(f"sequence {self.name} has no frame; copy the data set again")

    def check(self) -> SequenceFacts:
        """Reads the first frame with its labels and compares the numbers of pictures and labels.

        Raises:
            DatasetError: as `read`, or the sequence is empty.
        """
        count = self.pictures.count()
        if count is not None:
            self._compare(count)
        frame = self.first_frame()
        height, width = frame.picture().shape[:2]
        density, fixations = frame.density(), frame.fixations()
        length = math.inf if self.length is None else self.length
        return SequenceFacts(
            frames=self.frame_count,
            height=height,
            width=width,
            density=None if density is None else (density.shape[0], density.shape[1]),
            fixations=None if fixations is None else len(fixations.points),
            bad=sum(0 <= ordinal - self.first < length for ordinal in self.marks.bad),
        )

    def _compare(self, pictures: int) -> None:
        for what, labels in (("densities", self.densities), ("records of fixations", self.points)):
            count = None if labels is None else labels.count()
            if count is not None and abs(count - pictures) > FRAME_COUNT_SLACK:
                raise DatasetError(
                    f"sequence {self.name} has {pictures} pictures but {count} {what} (a difference of at most "
                    f"{FRAME_COUNT_SLACK} is accepted); copy or unpack this sequence again"
                )


@dataclass(frozen=True, eq=False)
class Dataset:
    """The sequences of one data set on disk, sorted by name as people count: shot 2 before shot 10."""

    name: str
    """Key in `DATASETS`."""
    root: Path
    """Folder it lies in."""
    split: str
    """Split that was asked for."""
    sequences: tuple[LabelledSequence, ...] = field(repr=False)
    """At least one."""
    narrowed: str = ""
    """Options that leave sequences out, as driver=D2; the message names them where none is left."""
    published: int | None = None
    """Sequences that the published data set has in this split; None where that is not known. Having fewer is no
    error."""
    remarks: Callable[[Mapping[str, tuple[int, int]]], tuple[str, ...]] = field(default=lambda _: (), repr=False)
    """What its owner should know though it can be used, a sentence each: labels that are lost, sizes that do not fit.
    It takes the upright (rows, columns) of the sequences that can be read, by name; others' files are not opened."""

    def __post_init__(self) -> None:
        if not self.sequences:
            by = f" with {self.narrowed}; choose another split or other options" if self.narrowed else ""
            raise DatasetError(f"{self.root}: no sequence of split {self.split} of {self.name} here{by}")
        names = [sequence.name for sequence in self.sequences]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DatasetError(f"{self.root}: sequence {twice} is there twice; remove one of the copies")

    def __len__(self) -> int:
        return len(self.sequences)

    def __iter__(self) -> Iterator[LabelledSequence]:
        return iter(self.sequences)


@dataclass(frozen=True)
class NoOptions:
    """Nothing can be chosen beyond the split."""


@dataclass(frozen=True)
class Layout:
    """How one data set lies on disk."""

    title: str
    """The data set's name as published, with its home."""
    splits: tuple[str, ...]
    """What `split` may be."""
    open: Callable[[Path, str, Any], Dataset]
    """Reads the folder's structure: root, split (one of `splits`), options."""
    options: type[Any] = NoOptions
    """Frozen dataclass of what can be chosen beyond the split."""
