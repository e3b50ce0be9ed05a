"""Live sources through the whole pipe: what is late is left out and counted, and what is written is new."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench_live
import pytest
from made import make_model
from media import make_video, numbered_picture, read_number
from rtsp_server import RtspServer

from vidsal.decode import DecodeOptions, VideoInfo
from vidsal.decode.contract import LIVE_FRAMES, DecodedFrame, Reader, Request
from vidsal.frames import Picture, SaliencyBatch
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.run import run

WAIT_SECONDS = 120
"""Far longer than anything here takes."""


@pytest.fixture(scope="module")
def model() -> SaliencyModel:
    return make_model()


class Camera(Reader):
    """Shows 200 numbered pictures as fast as they are taken, the rest of them once somebody waits for none."""

    def __init__(self, *, blocked: threading.Event, ended: threading.Event) -> None:
        info = VideoInfo(source="camera", kind="camera", height=48, width=64, live=True)
        super().__init__(info, Request(source="camera", kind="camera", options=DecodeOptions(), size=(36, 48)))
        self.blocked, self.ended = blocked, ended

    def _frames(self) -> Iterator[DecodedFrame]:
        picture, small = numbered_picture(64, 48), numbered_picture(48, 36)
        for number in range(200):
            if number == 1:
                self.blocked.wait(WAIT_SECONDS)

            def whole(number: int = number) -> Any:
                return picture(number)

            yield DecodedFrame(number / 25, lambda number=number: small(number), Picture(rgb=whole))  # type: ignore[misc]
        self.ended.set()

    def _release(self) -> None:
        pass


class Slow:
    """A sink that does not get its first frame written before the camera has shown its last one."""

    path = None

    def __init__(self, *, blocked: threading.Event, ended: threading.Event) -> None:
        self.blocked, self.ended = blocked, ended
        self.written: list[int] = []

    def __enter__(self) -> Slow:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def write(self, batch: SaliencyBatch) -> None:
        self.blocked.set()
        assert self.ended.wait(WAIT_SECONDS)
        self.written += batch.index.tolist()


def test_however_slow_a_sink_is_few_frames_wait_for_it_and_the_newest_come_next(
    monkeypatch: pytest.MonkeyPatch, model: SaliencyModel
) -> None:
    events = {"blocked": threading.Event(), "ended": threading.Event()}
    camera, sink = Camera(**events), Slow(**events)
    monkeypatch.setattr("vidsal.pipe.run.open_video", lambda *_, **__: camera)
    threads = threading.active_count()
    options = RunOptions(output=OutputOptions(video=False, table="none", record=False))
    report = run(0, options=options, model=model, sinks=[sink])
    assert threading.active_count() == threads
    assert report.frames + report.dropped_live == 200
    # One is written, one is ready, of one batch the maps are made, and the last ones wait.
    assert len(sink.written) == report.frames <= 2 + 2 * LIVE_FRAMES
    assert any("of the live source left out" in message for message in report.messages)
    assert 0 < report.mean_delay_seconds <= report.longest_delay_seconds < 2 * WAIT_SECONDS


def test_a_camera_on_the_network_is_read_by_rtsp(model: SaliencyModel, tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []

    class Watching:
        path = None

        def __enter__(self) -> Watching:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def write(self, batch: SaliencyBatch) -> None:
            for picture, seconds in zip(batch.pictures, batch.pts_seconds.tolist(), strict=True):
                seen.append((read_number(picture.rgb()), seconds))

    with RtspServer(height=48, width=64, rate=25, count=250) as server:
        options = RunOptions(output=OutputOptions(output=tmp_path))
        report = run(
            server.address, options=options, model=model, sinks=[Watching()], should_stop=lambda: len(seen) >= 8
        )
        sent = len(server.sent)
    numbers, times = [number for number, _ in seen], [seconds for _, seconds in seen]
    assert report.status == "done" and report.frames == len(seen) >= 8
    assert numbers == sorted(set(numbers)) and times == sorted(set(times)) and times[0] >= 0
    assert report.frames + report.dropped_live <= sent
    assert 0 < report.mean_delay_seconds <= report.longest_delay_seconds
    assert {path.suffix for path in report.files} == {".mp4", ".csv"}


def test_the_benchmark_of_live_sources_reads_its_numbers_again_from_what_a_player_gets(
    model: SaliencyModel, tmp_path: Path
) -> None:
    numbers, shown = [0, 1, 2, 1000, 75_000], bench_live.scene(160, 96)
    clip = make_video(tmp_path / "scene.mp4", frames=5, width=160, height=96, picture=lambda i: shown(numbers[i]))
    shared = [0.0] * (numbers[-1] + 1)
    for number in numbers:
        shared[number] = 1.0
    seen = bench_live.Watching(shared)
    run(clip, options=RunOptions(output=OutputOptions(output=tmp_path / "out")), model=model, sinks=[seen])
    (minute,) = seen.minutes
    assert seen.last == numbers[-1] and len(minute.delays) == len(numbers)
    assert minute.dropped == numbers[-1] + 1 - len(numbers)
