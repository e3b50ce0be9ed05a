"""Frames in, densities out: `predict`, and `VideoPredictor`, which can be fed and asked step by step."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.model.checkpoint import SaliencyModel, load_model
from vidsal.model.ensemble import Ensemble, EnsembleState
from vidsal.model.recurrent import SAMState, Unroll
from vidsal.model.state import VideoState
from vidsal.pipe.between import Between
from vidsal.pipe.downloads import Downloads
from vidsal.pipe.options import PredictOptions, RecurrenceOptions, StageOptions
from vidsal.shots import CutDetector
from vidsal.viewers import make_viewers

__all__ = ["Prepared", "Seen", "StageClock", "VideoPredictor", "predict", "run_model"]


class StageClock:
    """Adds up the seconds that each stage was at work.

    Args:
        timer: the clock, in seconds; None: `time.perf_counter`. `time.process_time` counts those of the processor.
    """

    def __init__(self, timer: Callable[[], float] | None = None) -> None:
        self.timer = timer or time.perf_counter
        self.seconds: dict[str, float] = {}
        self.seen_frames = 0
        """Frames that a model saw; the maps of others were interpolated in time."""

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time spent inside towards `stage`."""
        begin = self.timer()
        try:
            yield
        finally:
            self.add(stage, self.timer() - begin)

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds towards `stage`."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


class VideoPredictor:
    """Frames of one video in, in order and in any batches; steadied densities out, each frame exactly once.

    Holds back the frames between two that the model sees (`RecurrenceOptions.every`), what a smoother that looks ahead
    asks for and, with a model on CUDA, one batch: it is returned when the next one has been queued, so that neither
    side waits for the other.

    `update` is `prepare`, `run_model` and `finish` in one; where several videos share a model, `vidsal.pipe.many`
    calls the three by themselves.

    Example:
        >>> predictor = VideoPredictor(load_model("sam-lite", device="cpu"))
        >>> batch = FrameBatch(
        ...     index=np.arange(3), pts_seconds=np.array([0.0, 0.04, 0.08]),
        ...     frames=np.zeros((3, 198, 352, 3), np.uint8), height=720, width=1280,
        ... )
        >>> predictor.update(batch)
        [SaliencyBatch(index=0..2, pts_seconds=0.000..0.080, log_density=(3, 198, 352), picture=720x1280)]
    """

    def __init__(
        self,
        model: SaliencyModel,
        options: PredictOptions | None = None,
        *,
        clock: StageClock | None = None,
        **stages: Unpack[StageOptions],
    ) -> None:
        """Begin a video.

        Args:
            model: the loaded model.
            options: how; None takes the defaults.
            clock: adds up the seconds a stage.
            stages: recurrence, cuts, smooth or viewers, in place of those of `options`.

        Raises:
            ConfigError: more refinement steps are asked for than the model allows, see `RecurrenceOptions.steps`.
        """
        self.model = model
        options = (options or PredictOptions()).but(**stages)
        self.recurrence = options.recurrence
        self.clock = clock or StageClock()
        self.recurrence.steps_of(model.config.steps)
        self._cuts = CutDetector(options.cuts)
        self._smoother = options.smooth.make()
        self._automatic = options.viewers.viewers == "auto"
        self._viewers = make_viewers(options.viewers, driving=self._automatic and model.task == "driving")
        self._between = Between()
        self._downloads = Downloads(model.device)
        self.reset()

    def reset(self) -> None:
        """Forget the video."""
        self._cuts.reset()
        self._between.reset()
        self._smoother.reset()
        if self._viewers is not None:
            self._viewers.reset()
        self._stills = False
        self._downloads.reset()
        self._state: VideoState | None = None
        self._shot = 0
        self._size: tuple[int, ...] = ()
        self._since_key = 0  # frames from the last one that the model saw to the next of all; 0 before the first
        self._key_seconds = 0.0

    def update(self, batch: FrameBatch) -> list[SaliencyBatch]:
        """Take the next frames; returns what is ready, in order, on the CPU."""
        prepared = self.prepare(batch)
        (seen,) = run_model(self.model, [prepared], recurrence=self.recurrence, clocks=[self.clock])
        return self.finish(prepared, seen)

    def flush(self) -> list[SaliencyBatch]:
        """Return what was held back; call it once, at the end."""
        smoothed = [steady for held in self._between.flush() for steady in self._smoother.update(held)]
        watched = self._watched(smoothed + self._smoother.flush())
        if self._viewers is not None:
            watched += self._viewers.flush()
        return self._downloads.update(watched) + self._downloads.flush()

    def _watched(self, batches: list[SaliencyBatch]) -> list[SaliencyBatch]:
        """Steadied densities as viewers of the video follow them."""
        if self._viewers is None or (self._stills and self._automatic):
            return batches
        return [followed for batch in batches for followed in self._viewers.update(batch)]

    def prepare(self, batch: FrameBatch) -> Prepared:
        """Find out what the model has to see of the next frames; `finish` has to follow before the next `prepare`."""
        with self.clock("cuts"):
            cut = self._cuts.update(batch.frames, batch.pts_seconds)
        shot = self._shot + np.cumsum(cut, dtype=np.int64)
        self._shot = int(shot[-1])
        keys = self._choose_keys(batch, cut)
        self.clock.seen_frames += len(keys)
        carries = self.recurrence.state == "carry"
        fresh = [bool(cut[row]) or not carries for row in keys]
        if fresh and self._state is None:
            fresh[0] = True
        return Prepared(batch, shot, cut, tuple(keys), tuple(fresh), self._state)

    def finish(self, prepared: Prepared, seen: Seen | None) -> list[SaliencyBatch]:
        """Take what the model saw in the frames last prepared; returns what is ready, in order, on the CPU.

        Args:
            prepared: what `prepare` returned.
            seen: what `run_model` made of it; None where it has no keys.
        """
        if seen is not None:
            self._state = seen.state
        self._stills = prepared.batch.stills
        with self.clock("smooth"):
            self._smoother.watch(prepared.batch)
            smoothed: list[SaliencyBatch] = []
            filled = self._between.update(
                prepared.batch,
                shot=prepared.shot,
                cut=prepared.cut,
                keys=prepared.keys,
                log_density=None if seen is None else seen.log_density,
            )
            for batch in filled:
                smoothed += self._smoother.update(batch)
            smoothed = self._watched(smoothed)
        # Where the copy of the batch before is waited for, it is the model that it waits for.
        with self.clock("model"):
            return self._downloads.update(smoothed)

    def _choose_keys(self, batch: FrameBatch, cut: npt.NDArray[np.bool_]) -> list[int]:
        """Which frames of the batch the model sees, counted anew from each cut; see `RecurrenceOptions.every`."""
        recurrence = self.recurrence
        if recurrence.every is None and (batch.live or batch.stills or self.model.takes_neighbours):
            recurrence = recurrence.on_all_frames
        size = batch.frames.shape[1:3]
        if size != self._size:  # maps of two sizes have nothing between them
            self._size, self._since_key = size, 0
        keys = []
        for row, (is_cut, seconds) in enumerate(zip(cut.tolist(), batch.pts_seconds.tolist(), strict=True)):
            since = self._since_key
            if is_cut or since == 0 or recurrence.is_due(since, seconds - self._key_seconds):
                keys.append(row)
                self._since_key, self._key_seconds = 0, seconds
            self._since_key += 1
        return keys


@dataclass(frozen=True, eq=False)
class Prepared:
    """Consecutive frames of one video, with what the model has to see of them."""

    batch: FrameBatch
    """The frames."""
    shot: npt.NDArray[np.int64]
    """(B,), as in `SaliencyBatch`."""
    cut: npt.NDArray[np.bool_]
    """(B,), as in `SaliencyBatch`."""
    keys: tuple[int, ...]
    """Rows of the frames that the model has to see, rising; may be empty."""
    fresh: tuple[bool, ...]
    """For each key: does it start from the zero state?"""
    state: VideoState | None
    """What the model remembers of the video so far (one row); None at its start."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What the model saw in the keys of a `Prepared`."""

    log_density: torch.Tensor
    """(keys, h, w) float32 over the picture, on the model's device."""
    state: VideoState
    """What the model remembers now (one row)."""


def run_model(
    model: SaliencyModel, pieces: Sequence[Prepared], *, recurrence: RecurrenceOptions, clocks: Sequence[StageClock]
) -> list[Seen | None]:
    """One call of the model for the next frames of several videos; what each gets does not depend on the others.

    On CUDA nothing waits for the device.

    Args:
        model: the model.
        pieces: the next frames of each video; pictures may differ in size and number.
        recurrence: the steps, the same for all.
        clocks: one a video: gets its share, by frames, of the seconds spent.

    Returns:
        What the model saw, one a piece; None for pieces without keys.
    """
    if isinstance(model, Ensemble):
        return _run_members(model, pieces, recurrence, clocks)
    results: list[Seen | None] = [None] * len(pieces)
    # One call for all whose canvases are alike. Frames of live sources go through the model one by one, others in
    # groups: which, must not depend on both.
    groups: dict[tuple[int, int, bool], list[int]] = {}
    for place, piece in enumerate(pieces):
        if piece.keys:
            view = model.preprocessor.viewport(*piece.batch.frames.shape[1:3])
            groups.setdefault((view.canvas_height, view.canvas_width, piece.batch.live), []).append(place)
    for (*canvas, _), rows in groups.items():
        alike = [_remembering(canvas, pieces[row], model) for row in rows]
        seen = _run_alike(model, alike, recurrence, [clocks[row] for row in rows])
        for row, one in zip(rows, seen, strict=True):
            results[row] = one
    return results


def _remembering(canvas: Sequence[int], piece: Prepared, model: SaliencyModel) -> Prepared:
    """The frames with what is remembered; without, where that is of another canvas, as after a change of size."""
    if not isinstance(piece.state, SAMState):
        return piece
    stride = model.attentive.backbone.stride
    if list(piece.state.hidden.shape[-2:]) == [side // stride for side in canvas]:
        return piece
    return dataclasses.replace(piece, state=None, fresh=(True, *piece.fresh[1:]))


def _run_members(
    ensemble: Ensemble, pieces: Sequence[Prepared], recurrence: RecurrenceOptions, clocks: Sequence[StageClock]
) -> list[Seen | None]:
    """As `run_model`, by each member from its own state; those that share a model go through it side by side."""
    sharing: dict[int, list[int]] = {}
    for place, member in enumerate(ensemble.members):
        sharing.setdefault(id(member.model), []).append(place)
    seen: dict[int, list[Seen | None]] = {}
    for places in sharing.values():
        shown = [_as_shown(piece, ensemble, place) for place in places for piece in pieces]
        model = ensemble.members[places[0]].model
        found = run_model(model, shown, recurrence=recurrence, clocks=[*clocks] * len(places))
        for turn, place in enumerate(places):
            seen[place] = found[turn * len(pieces) : (turn + 1) * len(pieces)]
    results: list[Seen | None] = []
    for row, clock in enumerate(clocks):
        # All members have the keys of a piece to see, or none has.
        own = [one for place in range(len(ensemble.members)) if (one := seen[place][row]) is not None]
        if not own:
            results.append(None)
            continue
        with clock("model"):
            log_density = ensemble.combined([one.log_density for one in own])
        results.append(Seen(log_density, EnsembleState(tuple(one.state for one in own))))
    return results


def _as_shown(piece: Prepared, ensemble: Ensemble, place: int) -> Prepared:
    """The frames as one member sees them, with what it remembers."""
    if isinstance(piece.state, EnsembleState):
        piece = dataclasses.replace(piece, state=piece.state.members[place])
    if ensemble.members[place].mirrored:
        frames = np.ascontiguousarray(piece.batch.frames[:, :, ::-1])
        piece = dataclasses.replace(piece, batch=dataclasses.replace(piece.batch, frames=frames))
    return piece


def _run_alike(
    model: SaliencyModel, shown: Sequence[Prepared], recurrence: RecurrenceOptions, clocks: Sequence[StageClock]
) -> list[Seen]:
    """As `run_model`, of pieces with keys and one size of canvas, all live or none."""
    shared = StageClock(clocks[0].timer)
    with shared("preprocess"):
        pixels = _pixels(model, shown)
    with shared("model"):
        lengths = [len(piece.keys) for piece in shown]
        fresh_steps, carry_steps = recurrence.steps_of(model.config.steps)
        unroll = Unroll.of(
            [[*piece.fresh, *([False] * (pixels.shape[1] - len(piece.fresh)))] for piece in shown],
            fresh_steps=fresh_steps,
            carry_steps=carry_steps,
            lengths=lengths,
        )
        before = _joined_states([piece.state for piece in shown])
        log_density, state = model(pixels, before, unroll=unroll, one_by_one=shown[0].batch.live)
        results = []
        for place, piece in enumerate(shown):
            part = log_density[place, : lengths[place]]
            part = model.preprocessor.to_picture(part, piece.batch.height, piece.batch.width)
            results.append(Seen(part, state if len(shown) == 1 else state.row(place)))
    for clock, length in zip(clocks, lengths, strict=True):
        for stage, seconds in shared.seconds.items():
            clock.add(stage, seconds * length / sum(lengths))
    return results


def _pixels(model: SaliencyModel, pieces: Sequence[Prepared]) -> torch.Tensor:
    """The keys as model input, (B, T, 3, H, W), each video's filled up with zeros to the longest."""
    rows = [model.preprocessor(piece.batch.frames[list(piece.keys)], device=model.device) for piece in pieces]
    longest = max(map(len, rows))
    filled = [row if len(row) == longest else F.pad(row, (0, 0, 0, 0, 0, 0, 0, longest - len(row))) for row in rows]
    return filled[0][None] if len(filled) == 1 else torch.stack(filled)


def _joined_states(states: Sequence[VideoState | None]) -> VideoState | None:
    """One state of all videos; zeros for those that begin, which are never read."""
    known = next((state for state in states if state is not None), None)
    if known is None or len(states) == 1:
        return known
    zeros = known.map(torch.zeros_like)
    return type(known).join([zeros if state is None else state for state in states])


def predict(
    frames: Iterable[FrameBatch],
    model: SaliencyModel | str | Path = "sam-lite",
    options: PredictOptions | None = None,
    *,
    clock: StageClock | None = None,
    **stages: Unpack[StageOptions],
) -> Iterator[SaliencyBatch]:
    """Predict densities of one video, frame batch by frame batch.

    Args:
        frames: consecutive frames, as `open_video` gives them. Frames of any size are taken; the reader is quickest
            when it is asked for `model.preprocessor.frame_size`.
        model: a loaded model, or what `load_model` takes.
        options: how; None takes the defaults.
        clock: adds up the seconds a stage.
        stages: `recurrence` (what the model remembers), `cuts` (how cuts are found), `smooth` (how densities are
            steadied in time) or `viewers` (what viewers do that pictures do not say), in place of those of `options`;
            None takes these.

    Yields:
        The frames' densities, every frame once, in order, on the CPU whatever the model's device. Batches may be
        grouped differently from those that came in.

    Raises:
        DecodeError: from the reader, where it stands in the video.
        CheckpointError: if the model cannot be loaded.
        ConfigError: more refinement steps are asked for than the model allows, see `RecurrenceOptions.steps`.

    Example:
        >>> clip = [FrameBatch(
        ...     index=np.arange(3), pts_seconds=np.arange(3) / 25,
        ...     frames=np.zeros((3, 240, 320, 3), np.uint8), height=480, width=640,
        ... )]
        >>> [batch.density.shape for batch in predict(clip, "sam-lite")]
        [torch.Size([3, 240, 320])]
    """
    loaded = load_model(model) if isinstance(model, (str, Path)) else model
    predictor = VideoPredictor(loaded, options, clock=clock, **stages)
    for batch in frames:
        yield from predictor.update(batch)
    yield from predictor.flush()
