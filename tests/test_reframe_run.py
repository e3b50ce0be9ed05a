"""`vidsal reframe` from file to file: pixels, sound, times, records, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from made import make_model
from media import make_video, numbered_picture, stream_packets
from test_sinks import times
from test_tracks import make

from vidsal import run
from vidsal.cli import main
from vidsal.decode import DecodeOptions, open_video
from vidsal.errors import ConfigError, DecodeError, EncodeError, ExistsError
from vidsal.frames import SaliencyBatch
from vidsal.pipe.maps import remarks_on_maps
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.reframe import (
    CameraOptions,
    ReframeOptions,
    ReframeOutputOptions,
    ReframeProgress,
    ReframeReport,
    WindowOptions,
    reframe,
)
from vidsal.reframe.sink import cut_out
from vidsal.sinks import MapsSink, VideoOptions
from vidsal.stages import ViewerOptions

RGB = npt.NDArray[np.uint8]
FRAMES, WIDTH, HEIGHT = 24, 96, 54
LOSSLESS = VideoOptions(preset="ultrafast", crf=0, encoder_threads=1)


def grey_picture(i: int) -> RGB:
    """Columns of their own grey level, and a mark that moves: no colour, so that nothing is lost on the way."""
    frame = np.broadcast_to((40 + 2 * np.arange(WIDTH))[None, :, None], (HEIGHT, WIDTH, 3)).astype(np.uint8)
    frame[10 + i % 20 : 14 + i % 20, :, :] = 20
    return frame


def blocks_picture(i: int, cut: int = 10) -> RGB:
    """Blocks of grey with fine stripes; other blocks from the cut on."""
    blocks = np.random.default_rng(i >= cut).integers(30, 200, (6, 8), np.uint8).repeat(9, axis=0).repeat(12, axis=1)
    return np.repeat((blocks + 4 * (np.arange(WIDTH) % 8).astype(np.uint8))[..., None], 3, axis=2)


def maps_of(video: Path, target: Path, centres: list[float]) -> Path:
    """The maps of a video, as `vidsal run --maps` writes them, with a hill at a share of the width in each frame."""
    with open_video(video, size=(2, 2)) as reader, MapsSink(target, reader.info) as sink:
        for batch in reader:
            rows = batch.index.tolist()
            x = (torch.arange(48) + 0.5) / 48
            hills = torch.stack([torch.exp(-(((x - centres[row]) / 0.06) ** 2) / 2) + 0.01 for row in rows])
            made = SaliencyBatch.of(
                batch,
                shot=np.zeros(len(rows), np.int64),
                cut=np.zeros(len(rows), np.bool_),
                log_density=torch.zeros(len(rows), 27, 48),
            )
            sink.write(made.with_density(hills[:, None].expand(-1, 27, -1).contiguous()))
    return target


def options(folder: Path, aspect: str = "9:16", **stages: Any) -> ReframeOptions:
    output = ReframeOutputOptions(output=folder, **stages.pop("output", {}))
    camera = CameraOptions(**stages.pop("camera", {}))
    shape = WindowOptions(aspect=aspect, **stages.pop("shape", {}))
    return ReframeOptions(window=shape, camera=camera, output=output, video=LOSSLESS, **stages)


@dataclasses.dataclass(frozen=True)
class Made:
    """A video and its maps."""

    video: Path
    maps: Path

    def reframe(self, folder: Path, aspect: str = "9:16", **stages: Any) -> ReframeReport:
        return reframe(self.video, options=options(folder, aspect, maps=self.maps, **stages))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One second at 29.97 with sound: two shots, looked at in the left and in the right."""
    folder = tmp_path_factory.mktemp("clip")
    video = make_video(
        folder / "clip.mp4",
        frames=FRAMES,
        width=WIDTH,
        height=HEIGHT,
        rate=Fraction(30000, 1001),
        audio_tracks=2,
        picture=blocks_picture,
        codec_options={"crf": "0"},
    )
    centres = [0.25] * 10 + [0.8] * 14
    return Made(video, maps_of(video, folder / "clip.maps.npz", centres))


@pytest.fixture(scope="module")
def done(clip: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[ReframeReport, Path]:
    folder = tmp_path_factory.mktemp("done")
    wanted = {"keyframes": ("fcpxml", "aftereffects")}
    return clip.reframe(folder, "9:16,1:1", output=wanted), folder


def pictures(path: Path) -> list[RGB]:
    with open_video(path, keep_pictures=True) as reader:
        return [picture.rgb() for batch in reader for picture in batch.pictures]


def rows_of(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_every_aspect_has_its_video_its_path_and_its_keyframes(done: tuple[ReframeReport, Path]) -> None:
    report, folder = done
    names = [
        f"clip.vidsal.{a}{e}" for a in ("9x16", "1x1") for e in (".mp4", ".csv", ".json", ".fcpxml", ".keyframes.txt")
    ]
    assert [path.name for path in report.files] == names
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "clip.vidsal.reframe.json"])
    assert (report.status, report.frames, report.messages) == ("done", FRAMES, ())
    first, second = report.aspects
    assert (first.aspect, first.window, second.aspect, second.window) == ("9:16", (30, 54), "1:1", (54, 54))
    assert (first.shots, first.moving, first.padded) == (2, 0, 0)
    assert first.kept_share > 0.9 > 0.5 > first.centre_share
    assert json.loads(json.dumps(report.as_dict()))["files"][0].endswith("clip.vidsal.9x16.mp4")


def test_the_pixels_are_those_of_the_source_inside_the_window(clip: Made, done: tuple[ReframeReport, Path]) -> None:
    _, folder = done
    source, result = pictures(clip.video), pictures(folder / "clip.vidsal.9x16.mp4")
    rows = rows_of(folder / "clip.vidsal.9x16.csv")
    assert len(source) == len(result) == len(rows) == FRAMES
    # At the cut the window jumps.
    assert rows[9]["x"] < 20 and rows[10]["x"] > 55
    for before, after, row in zip(source, result, rows, strict=True):
        x = int(row["x"])
        assert after.shape == (54, 30, 3) and x == row["x"]
        assert np.abs(after.astype(int) - before[:, x : x + 30]).max() <= 1
        # The judge sees a window that is one column off.
        assert np.abs(after.astype(int) - before[:, x + 1 : x + 31]).max() > 1


def test_kept_shares_are_sums_over_the_maps(clip: Made, done: tuple[ReframeReport, Path]) -> None:
    _, folder = done
    with np.load(clip.maps) as arrays:
        density = np.exp(arrays["log_density"].astype(np.float64))
    density /= density.sum(axis=(1, 2), keepdims=True)
    for name in ("9x16", "1x1"):
        for frame, row in zip(density, rows_of(folder / f"clip.vidsal.{name}.csv"), strict=True):
            large = frame.repeat(2, axis=0).repeat(2, axis=1) / 4  # 96x54
            x, width = int(row["x"]), int(row["width"])
            assert row["kept_share"] == pytest.approx(large[:, x : x + width].sum(), abs=1e-3)


def test_sound_and_times_are_those_of_the_source(clip: Made, done: tuple[ReframeReport, Path]) -> None:
    result = done[1] / "clip.vidsal.9x16.mp4"
    assert times(result) == times(clip.video)
    for index in (1, 2):
        sound = [packet.data for packet in stream_packets(result, index)]
        assert sound == [packet.data for packet in stream_packets(clip.video, index)] and sound
    with av.open(str(result)) as container:
        assert [stream.metadata.get("language") for stream in container.streams.audio] == ["eng", "deu"]
        assert "vidsal_run" in container.metadata


def test_json_and_record_say_how_it_came_about(done: tuple[ReframeReport, Path]) -> None:
    _, folder = done
    path = json.loads((folder / "clip.vidsal.9x16.json").read_text())
    rows = rows_of(folder / "clip.vidsal.9x16.csv")
    assert [frame["x"] for frame in path["frames"]] == [row["x"] for row in rows]
    assert [shot["first_index"] for shot in path["shots"]] == [0, 10]
    assert path["provenance"]["options"]["camera"]["max_speed"] == CameraOptions.max_speed
    record = json.loads((folder / "clip.vidsal.reframe.json").read_text())
    assert record["status"] == "done" and record["model"]["name"] == "the maps of clip.maps.npz"
    assert {one["file"] for one in record["results"]} == {path.name for path in folder.iterdir()} - {
        "clip.vidsal.reframe.json"
    }
    for one in record["results"]:
        assert (folder / one["file"]).stat().st_size == one["bytes"]


def test_results_that_are_there_are_kept_unless_told_otherwise(clip: Made, tmp_path: Path) -> None:
    quick = {"video": False, "keyframes": ()}
    first = clip.reframe(tmp_path, output=quick)
    table = tmp_path / "clip.vidsal.9x16.csv"
    before = table.read_bytes()
    assert [path.name for path in first.files] == ["clip.vidsal.9x16.csv", "clip.vidsal.9x16.json"]
    with pytest.raises(ExistsError, match="exists already"):
        clip.reframe(tmp_path, output=quick)
    again = clip.reframe(tmp_path, output=quick | {"existing": "skip"})
    assert again.status == "skipped" and set(again.files) == set(first.files)
    with pytest.raises(ExistsError, match=r"made otherwise: .*stay"):
        clip.reframe(tmp_path, output=quick | {"existing": "skip"}, camera={"stay": True})
    table.write_text("changed")
    with pytest.raises(ExistsError):
        clip.reframe(tmp_path, output=quick | {"existing": "skip"})
    clip.reframe(tmp_path, output=quick | {"overwrite": True})
    assert table.read_bytes() == before
    # Another aspect goes beside it; what is there stays in the record.
    clip.reframe(tmp_path, "1:1", output=quick)
    assert clip.reframe(tmp_path, output=quick | {"existing": "skip"}).status == "skipped"


def test_a_prediction_gives_what_its_maps_give(clip: Made, tmp_path: Path) -> None:
    model = make_model()
    own = tmp_path / "own"
    steps: list[ReframeProgress] = []
    wanted = options(own, output={"video": False, "keyframes": ()})
    report = reframe(clip.video, options=wanted, model=model, on_progress=steps.append)
    assert report.frames == FRAMES
    assert {step.stage for step in steps} == {"predicting", "cutting"} and steps[-1].frames == FRAMES
    from vidsal.pipe.predict import predict
    from vidsal.stages import ViewerOptions

    maps = tmp_path / "own.npz"
    with open_video(clip.video, size=model.preprocessor.frame_size) as reader, MapsSink(maps) as sink:
        for batch in predict(reader, model, viewers=ViewerOptions("off")):
            sink.write(batch)
    other = tmp_path / "other"
    Made(clip.video, maps).reframe(other, output={"video": False, "keyframes": ()})
    mine, theirs = (rows_of(folder / "clip.vidsal.9x16.csv") for folder in (own, other))
    for one, two in zip(mine, theirs, strict=True):
        assert one["x"] == pytest.approx(two["x"], abs=1) and one["shot"] == two["shot"]
        assert one["kept_share"] == pytest.approx(two["kept_share"], abs=0.01)


def test_a_camera_that_moves_is_cut_between_pixels_within_its_bounds(tmp_path: Path) -> None:
    video = make_video(
        tmp_path / "a.mkv", frames=75, width=WIDTH, height=HEIGHT, picture=grey_picture, codec_options={"crf": "0"}
    )
    centres = np.interp(np.arange(75), [15, 60], [0.2, 0.8]).tolist()
    made = Made(video, maps_of(video, tmp_path / "a.npz", centres))
    report = made.reframe(tmp_path / "out")
    assert report.aspects[0].moving == 1
    rows = rows_of(tmp_path / "out" / "a.vidsal.9x16.csv")
    x, seconds = (np.array([row[name] for row in rows]) for name in ("x", "pts_seconds"))
    assert (x % 1 != 0).any() and x.min() >= 0 and x.max() <= WIDTH - 30
    speed = np.diff(x / WIDTH) / np.diff(seconds)
    # An .csv keeps nine digits.
    assert np.abs(speed).max() <= 0.25 + 1e-5
    result = pictures(tmp_path / "out" / "a.vidsal.9x16.mp4")
    for before, after, place in zip(pictures(video), result, x, strict=True):
        # Levels rise by two a column: the place can be read off. By whole pixels it would be off by one.
        line = np.interp(place + np.arange(2, 28), np.arange(WIDTH), before[40, :, 0])
        off = after[40, 2:28, 0] - line
        assert np.abs(off).max() < 3 and abs(off.mean()) < 0.8


def test_times_of_a_variable_rate_and_of_a_part_are_kept(tmp_path: Path) -> None:
    pts = np.cumsum([0] + [3000, 9000, 4500, 1501] * 6)[:FRAMES].tolist()
    video = make_video(
        tmp_path / "a.mp4", frames=FRAMES, width=WIDTH, height=HEIGHT, pts=pts, picture=numbered_picture(WIDTH, HEIGHT)
    )
    made = Made(video, maps_of(video, tmp_path / "a.npz", [0.5] * FRAMES))
    report = made.reframe(tmp_path / "out", "1:1")
    result = tmp_path / "out" / "a.vidsal.1x1.mp4"
    assert times(result) == times(video) == [Fraction(time, 90000) for time in pts]
    assert any("frames lie at 60 a second: those are counted" in message for message in report.messages)
    again = made.reframe(tmp_path / "out", "1:1", output={"existing": "skip"})
    assert (again.status, again.messages) == ("skipped", report.messages)
    assert [row["pts_seconds"] for row in rows_of(result.with_suffix(".csv"))] == pytest.approx(
        [time / 90000 for time in pts], abs=1e-6
    )
    begin, end = (pts[8] - 300) / 90000, (pts[16] - 300) / 90000
    with pytest.raises(DecodeError, match="maps of other frames"):
        made.reframe(tmp_path / "part", "1:1", decode=DecodeOptions(start_seconds=begin, end_seconds=end))
    part = options(tmp_path / "part", "1:1", decode=DecodeOptions(start_seconds=begin, end_seconds=end))
    reframe(video, options=part, model=make_model())
    kept = tmp_path / "part" / "a.vidsal.1x1.mp4"
    assert [later - times(kept)[0] for later in times(kept)] == [Fraction(time - pts[8], 90000) for time in pts[8:16]]


@pytest.mark.parametrize("rotation", [90, 180])
def test_a_turned_source_is_cut_upright(tmp_path: Path, rotation: int) -> None:
    video = make_video(
        tmp_path / "a.mp4",
        frames=4,
        width=WIDTH,
        height=HEIGHT,
        rotation=rotation,
        picture=numbered_picture(WIDTH, HEIGHT),
        codec_options={"crf": "0"},
    )
    upright = pictures(video)
    made = Made(video, maps_of(video, tmp_path / "a.npz", [0.2] * 4))
    made.reframe(tmp_path / "out", "1:1")
    rows = rows_of(tmp_path / "out" / "a.vidsal.1x1.csv")
    for before, after, row in zip(upright, pictures(tmp_path / "out" / "a.vidsal.1x1.mp4"), rows, strict=True):
        x, y = int(row["x"]), int(row["y"])
        assert after.shape == (54, 54, 3)
        assert np.abs(after.astype(int) - before[y : y + 54, x : x + 54]).max() <= 1


def test_pixels_that_are_not_square_stay_so_unless_a_height_is_given(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", frames=3, width=WIDTH, height=HEIGHT, sample_aspect_ratio=Fraction(4, 3))
    made = Made(video, maps_of(video, tmp_path / "a.npz", [0.2] * 3))
    # Shown as 128x54: 54 of 128, which are 40.5 of 96 columns.
    made.reframe(tmp_path / "out", "1:1")
    made.reframe(tmp_path / "large", "1:1", shape={"height": 108})
    for folder, size, pixel in (("out", (40, 54), Fraction(4, 3)), ("large", (108, 108), Fraction(1))):
        with av.open(str(tmp_path / folder / "a.vidsal.1x1.mp4")) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == size
            assert (stream.sample_aspect_ratio or 1) == pixel


def test_pinned_boxes_that_do_not_fit_are_shown_whole_above_a_blur_or_on_black(clip: Made, tmp_path: Path) -> None:
    pins = tmp_path / "pins.json"
    pins.write_text('{"boxes": [{"x": 20, "y": 0, "width": 60, "height": 10, "last_frame": 9}]}')
    for pad in ("black", "blur"):
        report = clip.reframe(tmp_path / pad, shape={"pin": pins, "pad": pad})
        assert report.aspects[0].padded == 1 and any("padded" in message for message in report.messages)
        result = pictures(tmp_path / pad / "clip.vidsal.9x16.mp4")
        assert {picture.shape for picture in result} == {(54, 30, 3)}
        # 60 columns become 30, so 54 rows become 27, with 13 above and 14 below.
        inside = result[0][16:38].astype(int)
        assert inside.mean() > 60
        if pad == "black":
            assert result[0][:12].max() < 8 and result[0][42:].max() < 8
        else:
            assert 20 < result[0][:12].mean() < inside.mean()
        assert result[12][:12].mean() > 100  # the next shot is not padded
    cut = clip.reframe(tmp_path / "none", shape={"pin": pins, "pad": "none"})
    assert cut.aspects[0].padded == 0 and any("cut off" in message for message in cut.messages)


def test_a_file_that_is_not_there_is_named_before_a_folder_is_made_and_whatever_is_there(
    clip: Made, done: tuple[ReframeReport, Path], tmp_path: Path
) -> None:
    lost, pins = Made(clip.video, tmp_path / "no.npz"), {"pin": tmp_path / "no.json"}
    for folder in (tmp_path / "new", done[1]):
        with pytest.raises(DecodeError, match=r"no\.npz is not there"):
            lost.reframe(folder)
        with pytest.raises(ConfigError, match=r"no\.json cannot be read"):
            clip.reframe(folder, shape=pins)
    assert not list(tmp_path.iterdir())


def test_cut_out_takes_pictures_of_16_bits() -> None:
    picture = np.arange(20 * 40 * 3, dtype=np.uint16).reshape(20, 40, 3) * 20
    where = {"y": 0, "width": 10, "height": 20, "result": (20, 10)}
    assert np.array_equal(cut_out(picture, x=7, **where), picture[:, 7:17])
    between = cut_out(picture, x=7.5, **where)
    assert between.dtype == np.uint16
    assert between[:, 2:8].astype(float) == pytest.approx(
        (picture[:, 9:15] + picture[:, 10:16].astype(float)) / 2, abs=2
    )
    ramp = np.broadcast_to(4 * np.arange(40, dtype=np.uint8)[None, :, None], (20, 40, 3))
    for x in (7.25, 7.5, 7.9):
        off = cut_out(ramp, x=x, **where)[:, 2:8, 0] - 4 * (x + np.arange(2, 8))
        assert np.abs(off).max() <= 0.501
    padded = cut_out(picture, x=0, y=0, width=40, height=20, result=(40, 10), pad="blur")
    assert padded.shape == (40, 10, 3) and padded.dtype == np.uint16


def test_an_end_by_the_user_leaves_partial_videos_and_no_paths(clip: Made, tmp_path: Path) -> None:
    seen: list[ReframeProgress] = []

    def stop_at(stage: str, frames: int) -> ReframeReport:
        seen.clear()
        return reframe(
            clip.video,
            options=options(tmp_path, maps=clip.maps, decode=DecodeOptions(batch_size=4)),
            on_progress=seen.append,
            should_stop=lambda: seen[-1].stage == stage and seen[-1].frames >= frames,
        )

    early = stop_at("predicting", 1)
    assert (early.status, early.files, early.record_file) == ("interrupted", (), None)
    assert list(tmp_path.iterdir()) == []
    late = stop_at("cutting", 8)
    assert late.status == "interrupted" and late.frames == 8 and late.aspects == ()
    assert {path.name for path in late.files} == {"clip.vidsal.9x16.partial.mp4", "clip.vidsal.9x16.partial.csv"}
    assert len(pictures(tmp_path / "clip.vidsal.9x16.partial.mp4")) == 8
    # And the next one begins afresh.
    assert clip.reframe(tmp_path).status == "done"
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_maps_in_a_video_serve_as_those_in_arrays(clip: Made, tmp_path: Path) -> None:
    video = maps_of(clip.video, tmp_path / "a.maps.mkv", [0.25] * 10 + [0.8] * 14)
    for maps, name in ((clip.maps, "arrays"), (video, "video")):
        Made(clip.video, maps).reframe(tmp_path / name, output={"video": False})
    one, other = (rows_of(tmp_path / name / "clip.vidsal.9x16.csv") for name in ("arrays", "video"))
    assert [row["shot"] for row in one] == [row["shot"] for row in other] == [0] * 10 + [1] * 14
    assert [row["x"] for row in one] == pytest.approx([row["x"] for row in other], abs=1)


@pytest.mark.parametrize("ending", ["npz", "mkv"])
@pytest.mark.parametrize(
    ("viewers", "kind", "task", "warned"),
    [
        ("auto", "video", "free-viewing", True),
        ("on", "video", "driving", True),
        ("auto", "video", "driving", False),
        ("auto", "images", "free-viewing", False),
        ("off", "video", "free-viewing", False),
        (None, "video", "free-viewing", False),
    ],
)
def test_maps_that_follow_viewers_are_told_by_their_record(
    tmp_path: Path, ending: str, viewers: str | None, kind: str, task: str, warned: bool
) -> None:
    path = tmp_path / f"a.vidsal.maps.{ending}"
    options = {} if viewers is None else {"viewers": {"viewers": viewers}}
    with MapsSink(path) as sink:
        sink.provenance = json.dumps({"options": options, "input": {"kind": kind}, "model": {"task": task}})
        sink.write(make(np.ones((2, 4, 4)), times=[0.0, 0.04], height=36, width=64))
    assert [("made with viewers on" in said, "--viewers off" in said) for said in remarks_on_maps(path, path)] == (
        [(True, True)] if warned else []
    )
    assert remarks_on_maps(path, path, follow_gaze=True) == []


def test_maps_of_a_run_that_followed_viewers_are_taken_with_a_warning(clip: Made, tmp_path: Path) -> None:
    for viewers, warned in (("auto", 1), ("off", 0)):
        folder = tmp_path / viewers
        output = OutputOptions(output=folder, video=False, table="none", maps="npz")
        run(clip.video, options=RunOptions(output=output, viewers=ViewerOptions(viewers=viewers)), model=make_model())
        maps = folder / "clip.vidsal.maps.npz"
        report = Made(clip.video, maps).reframe(tmp_path / f"{viewers}-cut", output={"video": False})
        assert sum("made with viewers on" in said for said in report.messages) == warned


def test_maps_that_were_made_of_another_video_of_the_same_frames_are_told(clip: Made, tmp_path: Path) -> None:
    # A copy is the same video, and so is another encoding under the same name.
    output = OutputOptions(output=tmp_path / "made", video=False, table="none", maps="npz")
    run(clip.video, options=RunOptions(output=output, viewers=ViewerOptions(viewers="off")), model=make_model())
    maps = tmp_path / "made" / "clip.vidsal.maps.npz"
    copy, other, again = tmp_path / "copy.mp4", tmp_path / "other.mp4", tmp_path / "again" / clip.video.name
    shutil.copyfile(clip.video, copy)
    again.parent.mkdir()
    for path in (other, again):
        path.write_bytes(clip.video.read_bytes() + bytes(8))
    assert [remarks_on_maps(maps, path) for path in (clip.video, copy, again)] == [[], [], []]
    told = f"{maps.name} says that it was made of {clip.video.name}, not of other.mp4"
    assert remarks_on_maps(maps, other) == [told] == remarks_on_maps(maps, other, follow_gaze=True)
    assert told in Made(other, maps).reframe(tmp_path / "out", output={"video": False}).messages


def test_maps_of_another_video_are_refused_and_nothing_is_left(tmp_path: Path, clip: Made) -> None:
    other = make_video(tmp_path / "b.mp4", frames=FRAMES, width=WIDTH, height=HEIGHT, rate=25)
    small = make_video(tmp_path / "c.mp4", frames=FRAMES)
    for video, told in ((other, "maps of other frames"), (small, "96x54, the video has 64x48")):
        with pytest.raises(DecodeError, match=told):
            Made(video, clip.maps).reframe(tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_source_that_is_not_the_same_the_second_time_is_told(
    clip: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidsal.reframe import run as run_module

    shorter = make_video(tmp_path / "b.mp4", frames=9, width=WIDTH, height=HEIGHT, rate=Fraction(30000, 1001))

    def second(path: Path, *, keep_pictures: bool = False, **settings: Any) -> Any:
        return open_video(shorter if keep_pictures else path, keep_pictures=keep_pictures, **settings)

    monkeypatch.setattr(run_module, "open_video", second)
    with pytest.raises(DecodeError, match="was changed while it was read"):
        clip.reframe(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir() if "partial" not in path.name] == []


@pytest.mark.parametrize(
    ("arguments", "told", "status"),
    [
        ([], "no input given", 2),
        (["a.mp4", "--aspect", "0:1"], "--aspect must be width:height", 2),
        (["a.mp4", "--aspect", "16:9"], "--aspect 16:9 is that of the source (96x54): there is nothing to cut", 2),
        (["a.mp4", "--pin", "nothing.json"], "--pin nothing.json cannot be read", 2),
        (["a.png"], "a single picture", 2),
        (["rtsp://host/door"], "read twice", 2),
        (["a.mp4", "--keyframes", "edl"], "--keyframes must be one of fcpxml, aftereffects", 2),
        (["nothing.mp4"], "there is no file or folder nothing.mp4", 1),
    ],
)
def test_wrong_use_is_told_in_a_line(
    arguments: list[str],
    told: str,
    status: int,
    clip: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.mp4").symlink_to(clip.video)
    import cv2

    cv2.imwrite("a.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    try:
        found = main(["reframe", *arguments, "--maps", str(clip.maps)])
    except SystemExit as end:
        found = int(end.code or 0)
    captured = capsys.readouterr()
    assert (found, captured.out) == (status, "")
    assert told in captured.err and "Traceback" not in captured.err
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "a.png"}


def test_the_command_prints_paths_and_what_is_kept(
    clip: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reframe", str(clip.video), "--maps", str(clip.maps), "-o", str(tmp_path), "--preset", "ultrafast"]
    command += ["--table", "jsonl", "--stay", "--aspect", "1:1"]
    assert main(command) == 0
    captured = capsys.readouterr()
    names = [Path(line).name for line in captured.out.splitlines()]
    assert names == [f"clip.vidsal.1x1.{end}" for end in ("mp4", "jsonl", "json", "fcpxml")]
    assert "clip.mp4: 1:1: 54x54, " in captured.err and "of the predicted attention kept" in captured.err
    assert main(command) == 3
    assert "exists already" in capsys.readouterr().err
    assert main([*command, "--existing", "skip", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "skipped"


def test_options_come_from_a_file_and_results_are_known_as_such(
    clip: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from vidsal.pipe.record import is_result

    file = tmp_path / "reframe.yaml"
    file.write_text(f'aspect: "4:5"\nstay: true\nvideo: {{preset: ultrafast}}\nmaps: {clip.maps}\n')
    with pytest.raises(SystemExit):
        main(["reframe", "--config", str(file), "--print-config"])
    printed = capsys.readouterr().out
    assert "aspect: 4:5" in printed.replace("'", "") and "stay: true" in printed
    file.write_text(printed)
    assert main(["reframe", str(clip.video), "--config", str(file), "-o", str(tmp_path), "-q"]) == 0
    made = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in made] == [f"clip.vidsal.4x5.{end}" for end in ("mp4", "csv", "json", "fcpxml")]
    assert all(is_result(path) for path in made[:3])
    file.write_text("aspect: 9:16\n")
    assert main(["reframe", str(clip.video), "--config", str(file)]) in (1, 2)
    assert "aspect must be text, got 556" in capsys.readouterr().err


def test_one_frame_is_a_shot_that_stands(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", frames=1, width=WIDTH, height=HEIGHT)
    report = Made(video, maps_of(video, tmp_path / "a.npz", [0.9])).reframe(tmp_path)
    assert report.frames == 1 and report.aspects[0].kept_share > 0.8
    assert rows_of(tmp_path / "a.vidsal.9x16.csv")[0]["x"] == WIDTH - 30


def test_a_folder_that_cannot_be_written_is_told(clip: Made, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(EncodeError, match="is a file, expected a folder"):
        clip.reframe(tmp_path / "out")
    with pytest.raises(ConfigError, match="is no file"):
        reframe("-", options=options(tmp_path))
