"""The usual changes, each made from outside in a few lines: what docs/architecture.md promises for them holds."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import make_model
from media import make_video

import vidsal
from vidsal.frames import SaliencyBatch
from vidsal.model.checkpoint import SaliencyModel
from vidsal.sinks import FileSink, TableSink
from vidsal.smooth.contract import ShotFollower, Smoother

ONLY_MINE = vidsal.RunOptions(output=vidsal.OutputOptions(video=False, table=None))


@pytest.fixture(scope="module")
def model() -> SaliencyModel:
    return make_model()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", frames=12)


# A column of the table.


@dataclasses.dataclass(frozen=True)
class Halves:
    """How the density is shared between left and right."""

    left_share: float
    leans_left: bool
    columns_seen: int


class HalvesTracker:
    row = Halves

    def update(self, batch: SaliencyBatch) -> list[Any]:
        width = batch.density.shape[2]
        left = batch.density[:, :, : width // 2].sum(dim=(1, 2)).tolist()
        return [Halves(share, share > 0.5, width) for share in left]


def test_a_column_is_a_field_of_a_dataclass(clip: Path, model: SaliencyModel, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    sink = TableSink(tmp_path / "halves.parquet", further=[HalvesTracker()])
    vidsal.run(clip, model=model, options=ONLY_MINE, sinks=[sink])

    table = parquet.read_table(str(sink.path))
    assert [str(kind) for kind in table.schema.types[-3:]] == ["double", "bool", "int64"]
    with vidsal.open_video(clip, size=model.preprocessor.frame_size) as frames:
        maps = np.concatenate([batch.density.numpy() for batch in vidsal.predict(frames, model)])
    wanted = maps[:, :, : maps.shape[2] // 2].sum(axis=(1, 2))
    assert table["left_share"].to_pylist() == pytest.approx(wanted.tolist(), rel=1e-5)
    assert table["leans_left"].to_pylist() == (wanted > 0.5).tolist()
    assert table["index"].to_pylist() == list(range(12))


# A sink.


class ScanpathSink(FileSink):
    """The times and the cells of the maxima, as other programs plot them."""

    suffixes = (".scan",)
    stage = "scanpath"

    def _write(self, batch: SaliencyBatch) -> None:
        cells = batch.density.flatten(1).argmax(dim=1).tolist()
        with self._telling(), self.partial_path.open("a", newline="") as file:
            csv.writer(file).writerows(zip(batch.pts_seconds.tolist(), cells, strict=True))
        self._frames += len(batch)

    def _close(self, *, complete: bool) -> None:
        pass


class Listening:
    """All that the pipe asks of a sink: a path, being entered and left, and one verb."""

    path = Path("nowhere")

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __enter__(self) -> Listening:
        self.heard.append("begin")
        return self

    def write(self, batch: SaliencyBatch) -> None:
        self.heard += [f"frame {index}" for index in batch.index]

    def __exit__(self, *_: object) -> None:
        self.heard.append("end")


def test_a_sink_is_a_subclass_with_two_methods_and_keeps_the_promises_of_all(
    clip: Path, model: SaliencyModel, tmp_path: Path
) -> None:
    sink, listening = ScanpathSink(tmp_path / "peaks.scan"), Listening()
    vidsal.run(clip, model=model, options=ONLY_MINE, sinks=[sink, listening])

    with vidsal.open_video(clip, size=model.preprocessor.frame_size) as frames:
        batches = list(vidsal.predict(frames, model))
    wanted = [
        [str(seconds), str(int(one.argmax()))]
        for batch in batches
        for seconds, one in zip(batch.pts_seconds.tolist(), batch.density, strict=True)
    ]
    with sink.path.open(newline="") as file:
        assert list(csv.reader(file)) == wanted
    assert listening.heard == ["begin", *(f"frame {index}" for index in range(12)), "end"]

    # Stopped after the first batch, whose last frame waits for the next that the model sees, it keeps what it has under
    # the partial name, as the package's own sinks do.
    again = ScanpathSink(tmp_path / "again.scan")
    again.partial_path.write_text("left by a run that was killed")
    vidsal.run(clip, model=model, options=ONLY_MINE, sinks=[again], should_stop=lambda: True)
    assert not again.path.exists()
    with again.partial_path.open(newline="") as file:
        assert list(csv.reader(file)) == wanted[:7]


# A smoothing.


class Slowest(Smoother):
    """The mean of all densities of the shot so far: it follows nothing."""

    def __init__(self) -> None:
        super().__init__(time_constant_seconds=math.inf)
        self.reset()

    def reset(self) -> None:
        self._shots, self._seen = ShotFollower(), list[torch.Tensor]()

    def update(self, batch: SaliencyBatch) -> list[SaliencyBatch]:
        means = []
        for frame, _, begins in self._shots.follow(batch):
            self._seen = [*([] if begins else self._seen), frame.density[0]]
            means.append(torch.stack(self._seen).mean(0))
        return [batch.with_density(torch.stack(means))]


class SlowestOptions(vidsal.SmoothOptions):
    def make(self) -> Smoother:
        return Slowest()


def test_a_smoothing_is_a_class_with_one_method_and_options_that_make_it(clip: Path, model: SaliencyModel) -> None:
    maps = {}
    for name, options in {"raw": vidsal.SmoothOptions(smoothing="none"), "mine": SlowestOptions()}.items():
        with vidsal.open_video(clip, size=model.preprocessor.frame_size) as frames:
            cuts, viewers = vidsal.CutOptions(detect_cuts=False), vidsal.ViewerOptions("off")
            batches = vidsal.predict(frames, model, smooth=options, cuts=cuts, viewers=viewers)
            maps[name] = SaliencyBatch.join(batches).density.double()
    counts = torch.arange(1, 13).reshape(-1, 1, 1)
    torch.testing.assert_close(maps["mine"], maps["raw"].cumsum(0) / counts, atol=1e-8, rtol=1e-4)
    assert (maps["mine"] - maps["raw"]).abs().max() > 1e-6
