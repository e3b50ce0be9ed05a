"""A sequence of a data set in, a map for each frame that is scored out: from a model, or from files made elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from vidsal.data.layouts import LabelledFrame, LabelledSequence
from vidsal.data.layouts.files import is_coloured, list_files, picture_size, read_density
from vidsal.data.layouts.videos import VideoPictures, tiny
from vidsal.decode.local import open_file
from vidsal.errors import DatasetError, DecodeError
from vidsal.frames import FrameBatch
from vidsal.model.checkpoint import SaliencyModel
from vidsal.model.ensemble import Ensemble
from vidsal.pipe.options import PredictOptions
from vidsal.pipe.predict import predict
from vidsal.prefetch import prefetch

__all__ = ["FolderSource", "ModelSource", "Scored", "Source"]

_Map = npt.NDArray[np.float32]

Scored = tuple[LabelledFrame, _Map]
"""A frame with its labels, and the map to score: (h, w) float32 of any scale over the whole picture."""


class Source(Protocol):
    """Where the maps come from that are scored."""

    @property
    def facts(self) -> dict[str, Any]:
        """What a result has to say of it, as values that JSON holds."""
        ...

    @property
    def resized(self) -> bool:
        """Whether its maps are a model's own, which are enlarged under every protocol."""
        ...

    def maps(self, sequence: LabelledSequence, wanted: Sequence[int]) -> Iterator[Scored]:
        """Yields the wanted frames of a sequence, in order, with their maps.

        Args:
            sequence: the sequence.
            wanted: ordinals, rising.

        Raises:
            DatasetError: a picture or a map is missing or cannot be read.
        """
        ...


@dataclass(frozen=True, eq=False)
class ModelSource:
    """A model that sees every frame of a sequence in order, through the same pipe as `vidsal run`."""

    model: SaliencyModel
    """The model."""
    sha256: str = ""
    """Of its checkpoint file."""
    options: PredictOptions = dataclasses.field(default_factory=PredictOptions)
    """How its densities come about."""
    batch_size: int = 8
    """Frames that go through the model at a time; the maps do not depend on it."""
    stride: int = 1
    """Every so many frames one is shown to the model, as if there were no others between."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", self.options.scored)

    @property
    def causal(self) -> bool:
        """Whether a map depends on its own and earlier frames only."""
        return not self.options.looks_ahead

    @property
    def resized(self) -> bool:
        """True."""
        return True

    @property
    def facts(self) -> dict[str, Any]:
        """Name, sha256, precision, device, steps, whether it is causal, and the options of the pipe."""
        return {
            "kind": "model",
            "name": self.model.card.name,
            "sha256": self.sha256,
            "precision": self.model.precision,
            **({"ensemble": self.model.facts} if isinstance(self.model, Ensemble) else {}),
            "device": self.model.device.type,
            "steps": list(self.options.recurrence.steps_of(self.model.config.steps)),
            "causal": self.causal,
            "options": dataclasses.asdict(self.options),
        }

    def maps(self, sequence: LabelledSequence, wanted: Sequence[int]) -> Iterator[Scored]:
        """See `Source`; frames before and between the wanted ones are seen too, those after them where they matter.

        Where pictures change their size, another recording begins: the model starts afresh.
        """
        if not len(wanted):
            return
        stop = int(wanted[-1]) + 1 if self.causal else None
        left = wanted if isinstance(wanted, range) else frozenset(map(int, wanted))
        waiting: deque[LabelledFrame] = deque()

        with prefetch(self._batches(sequence, stop), name="vidsal-decode") as batches:

            def frames(recording: Iterator[tuple[FrameBatch, list[LabelledFrame]]]) -> Iterator[FrameBatch]:
                for batch, labelled in recording:
                    waiting.extend(labelled)
                    yield batch

            for _, recording in itertools.groupby(batches, key=lambda each: (each[0].height, each[0].width)):
                # `predict` makes a generator: closing it releases the reader.
                results: Any = predict(frames(recording), self.model, self.options)
                with contextlib.closing(results):
                    for result in results:
                        for density in result.density.numpy():
                            frame = waiting.popleft()
                            if frame.index in left:
                                yield frame, density

    def _batches(
        self, sequence: LabelledSequence, stop: int | None
    ) -> Iterator[tuple[FrameBatch, list[LabelledFrame]]]:
        shown = (0, 0)

        def size(height: int, width: int) -> tuple[int, int]:
            nonlocal shown
            shown = height, width
            return self.model.preprocessor.frame_size(height, width)

        frames: list[LabelledFrame] = []
        pictures: list[npt.NDArray[np.uint8]] = []
        before, stills = shown, sequence.kind == "still"
        for frame in itertools.islice(sequence.read(size=size, stop=stop), 0, None, self.stride):
            picture = frame.picture()
            if frames and (len(frames) == self.batch_size or shown != before):
                yield _batch(frames, pictures, before, stills=stills), frames
                frames, pictures = [], []
            before = shown
            frames.append(frame)
            pictures.append(picture)
        if frames:
            yield _batch(frames, pictures, before, stills=stills), frames


def _batch(
    frames: Sequence[LabelledFrame],
    pictures: Sequence[npt.NDArray[np.uint8]],
    shown: tuple[int, int],
    *,
    stills: bool,
) -> FrameBatch:
    return FrameBatch(
        index=np.array([frame.index for frame in frames], np.int64),
        pts_seconds=np.array([frame.pts_seconds for frame in frames], np.float64),
        frames=np.stack(pictures),
        height=shown[0],
        width=shown[1],
        stills=stills,
    )


_VIDEO_SUFFIXES = (".mkv", ".mp4", ".avi", ".mov", ".webm")
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_ARRAY_ENDINGS = (".vidsal.maps.npz", ".npz")
_VIDEO_ENDINGS = (".vidsal.maps.mkv", *_VIDEO_SUFFIXES)
_ARRAYS = ("density", "saliency", "maps", "map", "arr_0")


@dataclass(frozen=True, eq=False)
class FolderSource:
    """Maps that another program made, in a folder.

    For a sequence named NAME the folder holds one of

    - `NAME/`, a folder with a picture for each frame, matched by the frames' names where it has those of all frames,
      else by their order where there are as many; or for some frames, whose names are not bare numbers;
    - `NAME.mkv` (.mp4, .avi, .mov, .webm, or `NAME.vidsal.maps.mkv`), a frame for each frame, in order;
    - `NAME.npz` (or `NAME.vidsal.maps.npz`): `density`, `saliency`, `maps` or `map` (N, h, w), or `log_density`, with
      the ordinals in `index` (then of some frames only, if need be) or in order;
    - a picture for each frame beside those of other sequences, by the frame's name, where that is unique.

    NAME may stand without the ending of a file, without the folders of a still but for the last, and without the
    brackets of a part of a run (`01[3500:4000]`): then maps are those of the whole run. Pictures are read at their full
    depth. They are grey, be it in three channels: coloured ones are refused.
    """

    root: Path
    """The folder."""

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise DatasetError(f"{self.root}: no such folder; expected maps, one folder, video or .npz for a sequence")

    @property
    def resized(self) -> bool:
        """False."""
        return False

    @property
    def facts(self) -> dict[str, Any]:
        """The folder's name."""
        # How maps were made cannot be seen from them.
        return {"kind": "maps", "name": self.root.resolve().name, "causal": None}

    def places(self, sequence: LabelledSequence) -> tuple[Path, ...]:
        """Files, and folders of files, that the maps of a sequence may be read from; of the pictures that lie beside
        those of other sequences all.

        Raises:
            DatasetError: the folder cannot be listed.
        """
        still = sequence.kind == "still"
        endings = ("", *_ARRAY_ENDINGS, *_VIDEO_ENDINGS, *(_PICTURE_SUFFIXES if still else ()))
        names = _names(sequence)
        of_name = {
            name: [path for ending in endings if (path := self.root / f"{name}{ending}").exists()] for name, _ in names
        }
        found = [path for paths in of_name.values() for path in paths]
        if not still and "/" not in sequence.name and not of_name[sequence.name]:
            found += list_files(self.root, suffixes=_PICTURE_SUFFIXES)
        return tuple(found)

    def maps(self, sequence: LabelledSequence, wanted: Sequence[int]) -> Iterator[Scored]:
        """See `Source`.

        Which map belongs to which frame never depends on the frames that are wanted: names are compared with those of
        all frames. Maps of frames that are not wanted may be left out where names leave no doubt: frames' names
        that are not bare numbers, and the ordinals of an .npz with `index`.

        Raises:
            DatasetError: as `Source`; there are more or fewer maps than frames where they are matched by their order.
        """
        if not len(wanted):
            return
        frames = list(sequence.read(size=tiny))
        left = {int(ordinal) for ordinal in wanted}
        chosen = [frame for frame in frames if frame.index in left]
        for name, part in _names(sequence):
            made = self._find(name, sequence, frames, chosen, part=part)
            if made is not None:
                yield from zip(chosen, made, strict=True)
                return
        raise DatasetError(
            f"{self.root} holds no maps for sequence {sequence.name}; expected {sequence.name}/ with a picture a "
            f"frame, {sequence.name}.mkv (.mp4, .avi, .mov, .webm), {sequence.name}.npz, or pictures named "
            f"like the frames"
        )

    def _find(
        self,
        name: str,
        sequence: LabelledSequence,
        frames: list[LabelledFrame],
        chosen: list[LabelledFrame],
        *,
        part: bool,
    ) -> Iterator[_Map] | None:
        """What reads the maps of the chosen frames; None without maps of this name. `part`: they are of a whole run."""
        ordinals = [frame.index + (sequence.first if part else 0) for frame in chosen]
        stems = partial(_stems_of_run, sequence) if part else lambda _: _stems_of(frames)
        folder = self.root / name
        if folder.is_dir():
            return _read_pictures(self._by_name(folder, ordinals, stems))
        for suffix in _ARRAY_ENDINGS:
            if (path := self.root / f"{name}{suffix}").is_file():
                return _read_arrays(path, ordinals, stems)
        for suffix in _VIDEO_ENDINGS:
            if (path := self.root / f"{name}{suffix}").is_file():
                # Of a whole run only a part is decoded.
                return _read_video(path, ordinals, None if part else len(frames))
        if sequence.kind == "still" and (file := _picture(self.root, name)) is not None:
            return _read_pictures([file])
        # Names that are only numbers come again in every sequence, and those of pictures may in every folder.
        plain = sequence.kind == "still" or not any(Path(frame.name).stem.isdecimal() for frame in chosen)
        if plain and "/" not in sequence.name:
            # All of them: maps that are numbered otherwise may fit a few frames and be those of others.
            files = [_picture(self.root, stem) for stem in _stems_of(frames)]
            if any(files):
                missing = [frame.name for frame, file in zip(frames, files, strict=True) if file is None]
                if missing:
                    raise DatasetError(
                        f"{self.root}: {len(missing)} of the {len(frames)} frames of sequence {sequence.name} have no "
                        f"map, the first is {missing[0]}; make it, or remove the others"
                    )
                wanted = {frame.index for frame in chosen}
                return _read_pictures(
                    [file for file, frame in zip(files, frames, strict=True) if file and frame.index in wanted]
                )
        return None

    def _by_name(self, folder: Path, ordinals: list[int], stems_for: _Stems) -> list[Path]:
        files = list_files(folder, suffixes=_PICTURE_SUFFIXES)
        by_stem = {file.stem: file for file in files}
        if len(by_stem) < len(files):
            raise DatasetError(f"{folder}: two maps have the same name but for their ending; remove one")
        stems = stems_for(len(files))
        missing = next((stem for stem in stems if stem not in by_stem), None)
        # The header of a video may state fewer frames than it has.
        there = max(ordinals, default=0) < len(stems)
        # Maps that are numbered from 1 where the frames are from 0 have names that fit and mean others.
        told = not all(stem.isdecimal() for stem in stems) and by_stem.keys() <= set(stems)
        if there and (missing is None or (told and all(stems[ordinal] in by_stem for ordinal in ordinals))):
            return [by_stem[stems[ordinal]] for ordinal in ordinals]
        if len(files) == len(stems) and there:
            return [files[ordinal] for ordinal in ordinals]
        raise DatasetError(
            f"{folder}: {len(files)} maps for {len(stems)} frames, and none is named like frame "
            f"{missing or ordinals[-1]}; name maps like the frames, or make one for each frame"
        )


_Stems = Callable[[int], list[str]]
"""Names of all frames that maps are of, without endings; takes how many maps there are."""


def _stems_of(frames: Iterable[LabelledFrame]) -> list[str]:
    return [Path(frame.name).stem for frame in frames]


def _stems_of_run(sequence: LabelledSequence, maps: int) -> list[str]:
    """The names of all frames of the run that a sequence is a part of."""
    run = dataclasses.replace(sequence, first=0, length=None, densities=None, points=None)
    # The frames of a video have six-digit ordinals for names; it is gone through where its header does not say as many.
    if isinstance(run.pictures, VideoPictures) and run.frame_count == maps:
        return [f"{ordinal:06d}" for ordinal in range(maps)]
    return _stems_of(run.read(size=tiny))


def _names(sequence: LabelledSequence) -> list[tuple[str, bool]]:
    """Names that the maps of a sequence may have; True: these are of the whole run that it is a part of."""
    names = [(sequence.name, False)]
    whole = re.sub(r"\[\d*:\d*\]$", "", sequence.name)
    if whole != sequence.name:
        names.append((whole, True))
    if sequence.kind == "still":
        # trainSet/Action/001.jpg is also Action/001, but never 001: every folder has one.
        parts = Path(sequence.name).with_suffix("").parts
        names += [("/".join(parts[drop:]), False) for drop in range(max(1, len(parts) - 1))]
    elif Path(sequence.name).suffix:
        names.append((str(Path(sequence.name).with_suffix("")), False))
    return names


def _picture(folder: Path, stem: str) -> Path | None:
    return next((path for suffix in _PICTURE_SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()), None)


def _read_pictures(files: Sequence[Path]) -> Iterator[_Map]:
    for file in files:
        values = read_density(file, grey_only=True)
        # All zeros are a prediction too: as bad as the metric allows.
        yield np.zeros(picture_size(file), np.float32) if values is None else values


def _read_arrays(path: Path, ordinals: Sequence[int], stems_for: _Stems) -> Iterator[_Map]:
    try:
        # Opened here: of a damaged file NumPy would leave it open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            index = archive.get("index")
            name = next((name for name in ("log_density", *_ARRAYS) if name in archive), None)
            if name is None:
                raise DatasetError(
                    f"{path} holds {', '.join(archive.files) or 'nothing'}; expected log_density, density, saliency, "
                    f"maps or map"
                )
            values = archive[name]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise DatasetError(f"{path} cannot be read as .npz ({error}); make it again") from error
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or (index is not None and index.shape != (len(values),)):
        raise DatasetError(f"{path}: {name} must be (N, h, w) with N ordinals in index, got {values.shape}")
    if index is None and len(values) != (count := len(stems_for(len(values)))):
        raise DatasetError(f"{path}: {len(values)} maps for {count} frames; make one for each, or name them in index")
    places = {int(ordinal): row for row, ordinal in enumerate(np.arange(len(values)) if index is None else index)}
    missing = [ordinal for ordinal in ordinals if ordinal not in places]
    if missing:
        raise DatasetError(
            f"{path}: {len(missing)} of {len(ordinals)} frames that are scored have no map, the first is {missing[0]}"
        )
    for ordinal in ordinals:
        one = np.asarray(values[places[ordinal]], np.float32)
        yield np.exp(one) if name == "log_density" else one


def _read_video(path: Path, ordinals: Sequence[int], exact: int | None) -> Iterator[_Map]:
    """The frames of a video of maps, at its own depth; grey is taken as it is coded, coloured ones are refused."""
    left, seen = deque(ordinals), 0
    try:
        with open_file(path) as container:
            if not container.streams.video:
                raise DatasetError(f"{path} holds no video stream; expected a video of maps")
            for seen, frame in enumerate(container.decode(video=0), 1):
                if left and left[0] == seen - 1:
                    left.popleft()
                    # A few pixels are enough; a grey format has no colour to look for.
                    if len(frame.format.components) > 1 and is_coloured(frame.to_ndarray(format="rgb24")[::4, ::4]):
                        raise DatasetError(
                            f"{path}: map {seen - 1} is a coloured picture; expected are grey maps: write them before "
                            "a colour map is applied"
                        )
                    yield frame.to_ndarray(format="gray16le").astype(np.float32)
                elif not left and exact is None:
                    return
    except DecodeError as error:
        raise DatasetError(f"{path} names other files; give the video of the maps itself") from error
    except (FFmpegError, OSError) as error:
        raise DatasetError(f"{path} cannot be read beyond map {seen}: {error}; make it again") from error
    if left or (exact is not None and seen != exact):
        frames = f"{exact} frames" if exact is not None else f"frames up to {ordinals[-1]}"
        raise DatasetError(f"{path}: {seen} maps for {frames}; make one for each frame")
