"""Which frames the model sees: told by the frames themselves, each of which shows its ordinal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from made import make_model

from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.options import PredictOptions, RecurrenceOptions
from vidsal.pipe.predict import predict
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import ViewerOptions

RAW: Any = {"smooth": SmoothOptions(smoothing="none"), "viewers": ViewerOptions("off")}
COUNT, CUT_AT = 24, 11


@pytest.fixture(scope="module")
def tiny() -> SaliencyModel:
    return make_model()


class Watching:
    """A model that writes down the ordinals of the frames it is shown, and looks at the cell of that ordinal."""

    def __init__(self, inner: SaliencyModel) -> None:
        self.device, self.config = inner.device, inner.config
        self.preprocessor = inner.preprocessor
        self.seen: list[int] = []

    def __call__(self, frames: torch.Tensor, state: object, **_: object) -> tuple[torch.Tensor, object]:
        white = frames[0, :, :, 14].mean(1).argmax(1).tolist()  # (T,) column of the mark in row 14
        self.seen += white
        log_density = torch.full((1, len(white), 48, 64), -20.0)
        log_density[0, torch.arange(len(white)), 30, torch.tensor(white)] = 0.0
        return log_density, state


def numbered(count: int = COUNT, *, cut_at: int | None = CUT_AT) -> FrameBatch:
    """Noise on which a white mark in row 14 stands in the column of the frame's ordinal; a cut changes the noise."""
    random = np.random.default_rng(0)
    scenes = random.integers(0, 120, (2, 6, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    frames = np.stack([scenes[int(cut_at is not None and n >= cut_at)] for n in range(count)])
    frames[np.arange(count), 14, np.arange(count)] = 255
    return FrameBatch(index=np.arange(count), pts_seconds=np.arange(count) / 25, frames=frames, height=48, width=64)


@pytest.mark.parametrize("size", [COUNT, 1, 5])
@pytest.mark.parametrize("every", [1, 2, 3, 4, 5])
def test_the_model_sees_every_nth_frame_counted_from_each_cut_and_no_other(
    tiny: SaliencyModel, every: int, size: int
) -> None:
    clip, model = numbered(), Watching(tiny)
    parts = [clip[begin : begin + size] for begin in range(0, COUNT, size)]
    options = PredictOptions(recurrence=RecurrenceOptions(every=every), **RAW)
    result = SaliencyBatch.join(predict(parts, model, options))  # type: ignore[arg-type]
    assert result.cut.nonzero()[0].tolist() == [CUT_AT]
    keys = [*range(0, CUT_AT, every), *range(CUT_AT, COUNT, every)]
    assert model.seen == keys
    # And the maps of these frames are what it saw in them.
    assert result.density[keys, 30].argmax(1).tolist() == keys
