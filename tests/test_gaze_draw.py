"""Recorded gaze over a video: points sit where and when they were recorded; the table says how far viewers agree."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from made import make_checkpoint
from media import make_video

from vidsal.cli import main
from vidsal.decode import DecodeOptions
from vidsal.errors import ConfigError, DatasetError, ExistsError
from vidsal.frames import SaliencyBatch
from vidsal.gaze import Gaze, write_gaze
from vidsal.render import compose
from vidsal.render.gaze import Marked, plate_layers, viewer_layers
from vidsal.render.palette import distinct_color
from vidsal.sinks.options import VideoOptions
from vidsal.viewing.draw import draw_gaze
from vidsal.viewing.options import DrawGazeOptions, GazeDrawingOptions, GazeOutputOptions
from vidsal.viewing.viewers import RecordedViewers, ViewerTracker, evenly_spread, mean_distance

pytest.importorskip("pyarrow", reason="tables of gaze need pyarrow")

WIDTH, HEIGHT = 320, 180
BARE = GazeDrawingOptions(trail_seconds=0, density=False, names=False)
LOSSLESS = VideoOptions(crf=0, preset="ultrafast")


def grey(_: int) -> npt.NDArray[np.uint8]:
    return np.full((HEIGHT, WIDTH, 3), 128, np.uint8)


def samples(ways: dict[str, list[tuple[float, float, float]]], **more: Any) -> Gaze:
    """(seconds, x, y) of participants."""
    rows = [(who, *row) for who, way in ways.items() for row in way]
    who, seconds, x, y = zip(*rows, strict=True)
    return Gaze.of(participant=who, trial="clip", pts_seconds=seconds, x=x, y=y, **more)


def drawn_frames(path: Path) -> Iterator[tuple[float, npt.NDArray[np.uint8]]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24")


def middle_of(picture: npt.NDArray[np.uint8], color: tuple[int, int, int]) -> tuple[float, float] | None:
    """Mean place of the pixels of about a colour, from the picture's edge; None where there are hardly any."""
    near = np.abs(picture.astype(int) - color).max(axis=2) < 60
    rows, columns = np.nonzero(near)
    return None if len(rows) < 4 else (float(columns.mean()) + 0.5, float(rows.mean()) + 0.5)


def test_points_sit_where_and_when_they_were_recorded_at_any_rate_of_frames(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    pts = [0, 40, 50, 200, 230, 500, 520, 900]
    make_video(clip, pts=pts, time_base=Fraction(1, 1000), frames=8, width=WIDTH, height=HEIGHT, picture=grey)
    # One looks at places that rise with time; the other one at one place, but not for a part of the time.
    moving = [(ms / 1000, 20 + 0.3 * ms, 30.5 + 0.1 * ms) for ms in range(-100, 1100, 10)]
    still = [(ms / 1000, 60.25, 150.0) for ms in range(0, 1100, 10) if not 175 <= ms < 400]
    gaze = samples({"a": moving, "b": still})
    options = DrawGazeOptions(drawing=BARE, video=LOSSLESS, output=GazeOutputOptions(output=tmp_path / "out"))
    made = draw_gaze(clip, gaze, options=options)
    assert [path.name for path in made.files] == ["clip.vidsal.gaze.mp4", "clip.vidsal.gaze.csv"]
    frames = list(drawn_frames(made.files[0]))
    assert [round(seconds * 1000) for seconds, _ in frames] == pts
    for (_, picture), ms in zip(frames, pts, strict=True):
        found = middle_of(picture, distinct_color(0))
        assert found is not None
        np.testing.assert_allclose(found, (20 + 0.3 * ms, 30.5 + 0.1 * ms), atol=0.75)
        other = middle_of(picture, distinct_color(1))
        if ms in (200, 230):
            assert other is None
        else:
            assert other is not None
            np.testing.assert_allclose(other, (60.25, 150.0), atol=0.75)
    # The last picture is shown for as long as the others on average; from 1 s on the way leaves the picture.
    assert (made.frames, made.viewers, made.rows) == (8, 2, len(moving) + len(still))
    assert made.before == 10 and made.after == 2 * 7 and made.outside == 3
    assert any("10 lie before the first frame" in message for message in made.messages)


def test_a_part_of_a_video_shows_the_gaze_of_that_part_and_keeps_its_sound(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    make_video(clip, frames=50, rate=25, width=WIDTH, height=HEIGHT, picture=grey, audio_tracks=1)
    gaze = samples({"a": [(frame / 25, 20 + 5 * frame, 90.0) for frame in range(50)]})
    options = DrawGazeOptions(
        drawing=BARE,
        video=LOSSLESS,
        decode=DecodeOptions(start_seconds=1.0, end_seconds=1.4),
        output=GazeOutputOptions(output=tmp_path / "out", table="none"),
    )
    made = draw_gaze(clip, gaze, options=options)
    (path,) = made.files
    found = [middle_of(picture, distinct_color(0)) for _, picture in drawn_frames(path)]
    assert len(found) == 10 and all(found)
    np.testing.assert_allclose([one[0] for one in found if one], 20 + 5 * np.arange(25, 35), atol=0.75)
    assert (made.before, made.after) == (25, 14)
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


def test_points_sit_upright_where_a_video_is_stored_turned(tmp_path: Path) -> None:
    clip = tmp_path / "turned.mp4"
    coded = np.full((WIDTH, HEIGHT, 3), 128, np.uint8)
    make_video(clip, frames=3, width=HEIGHT, height=WIDTH, rotation=90, picture=lambda _: coded)
    gaze = samples({"a": [(frame / 25, 250.0, 40.5) for frame in range(3)]})
    options = DrawGazeOptions(
        viewers=BARE, video=LOSSLESS, output=GazeOutputOptions(output=tmp_path / "out", table="none")
    )
    (path,) = draw_gaze(clip, gaze, options=options).files
    for _, picture in drawn_frames(path):
        assert picture.shape == (HEIGHT, WIDTH, 3)
        found = middle_of(picture, distinct_color(0))
        assert found is not None
        np.testing.assert_allclose(found, (250.0, 40.5), atol=0.75)


def test_a_fixation_is_seen_from_its_start_to_its_end() -> None:
    gaze = samples({"a": [(1.0, 10, 20), (1.5, 30, 40)]}, duration_seconds=0.3, kind="fixations")
    viewers = RecordedViewers(gaze, height=HEIGHT, width=WIDTH)
    seen = viewers.all_at(np.array([0.99, 1.0, 1.29, 1.31, 1.5, 1.79, 1.81]))[0, :, 0]
    np.testing.assert_array_equal(seen, [np.nan, 10, 10, np.nan, 30, 30, np.nan])
    (way,) = viewers.trails(1.6, 1.0)[0]
    np.testing.assert_array_equal(way, [[10, 20, 1.0], [30, 40, 1.5]])
    assert viewers.trails(1.6, 0.2)[0] == []


def test_a_trail_is_the_way_of_the_last_seconds_and_breaks_where_the_eye_was_lost() -> None:
    rows = [(ms / 1000, ms / 10, 50.0) for ms in range(0, 1000, 5) if not 400 <= ms < 600]
    viewers = RecordedViewers(samples({"a": rows}), height=HEIGHT, width=WIDTH)
    before, after = viewers.trails(0.9, 0.8)[0]
    assert before[0, 2] == pytest.approx(0.1, abs=0.02) and before[-1, 2] == pytest.approx(0.395)
    assert after[0, 2] == pytest.approx(0.6, abs=0.02) and after[-1, 2] == pytest.approx(0.9)
    for piece in (before, after):
        np.testing.assert_allclose(piece[:, 0], piece[:, 2] * 100)
        assert len(piece) <= 60 * (piece[-1, 2] - piece[0, 2]) + 2
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    aged = [np.column_stack([piece[:, :2], (0.9 - piece[:, 2]) / 0.8]) for piece in (before, after)]
    mark = Marked(np.array([90.0, 50.0]), aged, "", (255, 255, 255))
    line = compose(black, viewer_layers([mark], height=HEIGHT, width=WIDTH))[50, :, 0]
    assert line[85] > line[65] > line[30] > line[15] > 0 and line[50] == 0 and line[5] == 0


def test_names_and_words_stay_in_the_picture() -> None:
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for x, y in ((0.0, 0.0), (319.9, 179.9), (319.9, 0.0), (-1.0, 90.0), (math.nan, math.nan), (1e9, 5.0)):
        mark = Marked(np.array([x, y]), [], "someone", distinct_color(3))
        compose(black, viewer_layers([mark], height=HEIGHT, width=WIDTH))
    assert plate_layers(["a line that is much too long for so small a picture"], height=20, width=30) == []
    assert compose(black, plate_layers(["12 of 12"], height=HEIGHT, width=WIDTH, share=0.5)).any()


# Agreement.


def test_the_distance_of_viewers_is_the_mean_of_their_pairs_and_its_measure_is_that_of_chance() -> None:
    places = np.array([[0.0, 0.0], [30.0, 40.0], [30.0, 0.0]])
    assert mean_distance(places) == pytest.approx((50 + 30 + 40) / 3)
    assert mean_distance(places[:1]) is None
    rng = np.random.default_rng(0)
    drawn = rng.uniform(0, 1, (2, 200000, 2)) * [320, 180]
    by_chance = np.hypot(*(drawn[0] - drawn[1]).T)
    assert evenly_spread(180, 320) == pytest.approx(by_chance.mean(), abs=4 * by_chance.std() / math.sqrt(200000))


def flat_batch(seconds: list[float], density: npt.NDArray[np.float64] | None = None) -> SaliencyBatch:
    count = len(seconds)
    maps = np.ones((1, 1)) if density is None else density
    log = torch.from_numpy(np.log(np.repeat(maps[None], count, 0))).float()
    return SaliencyBatch(
        index=np.arange(count),
        pts_seconds=np.array(seconds),
        shot=np.zeros(count, np.int64),
        cut=np.zeros(count, bool),
        log_density=log,
        height=HEIGHT,
        width=WIDTH,
    )


def test_the_table_counts_who_looks_and_scores_each_viewer_by_the_others_and_all_by_the_prediction() -> None:
    ways = {
        "a": [(0.0, 40.0, 40.0), (0.1, 40.0, 40.0)],
        "b": [(0.0, 70.0, 80.0), (0.1, 40.0, 40.0)],
        "c": [(0.0, -5.0, 90.0), (0.1, -5.0, 90.0)],
    }
    density = np.full((9, 16), 1.0)
    density[2, 2] = 100.0
    density /= density.sum()
    tracker = ViewerTracker(
        RecordedViewers(samples(ways), height=HEIGHT, width=WIDTH), sigma=10.0, pixels_per_degree=20.0, predicted=True
    )
    first, second, third = tracker.update(flat_batch([0.0, 0.1, 5.0], density))
    assert (first.viewers, first.outside) == (2, 1)
    assert first.distance_px == 50.0 and first.distance_degrees == 2.5
    assert first.distance_share == pytest.approx(50 / evenly_spread(HEIGHT, WIDTH))
    assert second.distance_px == 0.0
    # Another at the same place has the highest value there is, one far away less than the mean.
    assert first.agreement_nss is not None and second.agreement_nss is not None
    assert first.agreement_nss < 0 < 5 < second.agreement_nss
    standard = (density - density.mean()) / density.std()
    assert first.predicted_nss == pytest.approx((standard[2, 2] + standard[4, 3]) / 2, rel=1e-5)
    assert second.predicted_nss == pytest.approx(standard[2, 2], rel=1e-5)
    assert (third.viewers, third.distance_px, third.agreement_nss, third.predicted_nss) == (0, None, None, None)


# The command.


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("draw") / "clip.mp4"
    return make_video(path, frames=12, rate=25, width=WIDTH, height=HEIGHT)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [(frame / 25, 100.0 + frame, 90.0) for frame in range(12)]
    path = tmp_path / "gaze.parquet"
    write_gaze(samples({"ann": rows, "Zoë": [(t, x + 30, y) for t, x, y in rows]}), path)
    return path


def test_the_command_puts_a_prediction_beside_and_says_what_was_renamed(
    clip: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = make_checkpoint(tmp_path / "tiny.safetensors")
    out = tmp_path / "out"
    call = ["gaze", "draw", str(clip), str(table), "--output", str(out), "--preset", "ultrafast"]
    assert main([*call, "--beside", "model", "--model", str(checkpoint), "--json"]) == 0
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert report["viewers"] == 2 and report["frames"] == 12 and "#1 is Zoë" in shown.err
    frames = list(drawn_frames(out / "clip.vidsal.gaze.mp4"))
    assert len(frames) == 12 and frames[0][1].shape == (HEIGHT, 2 * WIDTH, 3)
    with (out / "clip.vidsal.gaze.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and all(row["predicted_nss"] and row["distance_px"] == "30" for row in rows)
    assert main(call) == 3
    assert "exists already" in capsys.readouterr().err
    assert main([*call, "--overwrite", "--participants", "ann", "--table", "none"]) == 0
    assert next(drawn_frames(out / "clip.vidsal.gaze.mp4"))[1].shape == (HEIGHT, WIDTH, 3)


def test_maps_of_an_earlier_run_stand_beside_as_well(clip: Path, table: Path, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "tiny.safetensors")
    run = ["run", str(clip), "--model", str(checkpoint), "--output", str(tmp_path), "--no-video", "--table", "none"]
    assert main([*run, "--maps", "npz", "-q"]) == 0
    options = DrawGazeOptions(
        drawing=GazeDrawingOptions(beside=str(tmp_path / "clip.vidsal.maps.npz")),
        video=VideoOptions(preset="ultrafast"),
        output=GazeOutputOptions(output=tmp_path / "out"),
    )
    made = draw_gaze(clip, table, options=options)
    assert next(drawn_frames(made.files[0]))[1].shape == (HEIGHT, 2 * WIDTH, 3)
    assert not [said for said in made.messages if "was made of" in said]
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes() + bytes(8))
    said = draw_gaze(other, table, options=options).messages
    assert "clip.vidsal.maps.npz says that it was made of clip.mp4, not of other.mp4" in said


def test_what_cannot_be_drawn_is_refused_before_anything_is_written(clip: Path, table: Path, tmp_path: Path) -> None:
    def refused(kind: type[Exception], match: str, gaze: Gaze | Path = table, **viewers: Any) -> None:
        options = DrawGazeOptions(
            drawing=GazeDrawingOptions(**viewers), output=GazeOutputOptions(output=tmp_path / "out")
        )
        with pytest.raises(kind, match=match):
            draw_gaze(clip, gaze, options=options)

    refused(DatasetError, "has no participants.*bob", participants="ann,bob")
    refused(DatasetError, "no row of the gaze lies in what is drawn", samples({"a": [(100.0, 1, 1)]}))
    refused(DatasetError, "no row of the gaze is valid", samples({"a": [(0.0, 1, 1)]}, valid=False))
    facts = {"video": {"name": "other.mp4", "height": 90, "width": 160}}
    refused(DatasetError, "160x90, and .*320x180", samples({"a": [(0.0, 1, 1)]}, facts=facts))
    for wrong in ({"sigma": "2deg"}, {"sigma": "wide"}, {"beside": "other"}):
        with pytest.raises(ConfigError):
            GazeDrawingOptions(**wrong)
    for named in ("out.mp4", "out.csv"):
        with pytest.raises(ConfigError, match="must be a folder"):
            GazeOutputOptions(output=tmp_path / named)
    assert GazeDrawingOptions(sigma="2deg", pixels_per_degree=20).sigma_pixels(height=1, width=1) == 40
    assert GazeDrawingOptions(sigma="15px", pixels_per_degree=20).sigma_pixels(height=1, width=1) == 15
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_gaze_that_was_imported_with_another_video_is_named(clip: Path, tmp_path: Path) -> None:
    facts: dict[str, Any] = {"name": "other.mp4", "height": HEIGHT, "width": WIDTH, "duration_seconds": 0.5}
    options = DrawGazeOptions(video=VideoOptions(preset="ultrafast"), output=GazeOutputOptions(output=tmp_path / "out"))
    one = samples({"a": [(0.0, 1, 1)]}, facts={"video": facts})
    made = draw_gaze(clip, one, options=options)
    assert "the gaze was imported with other.mp4, not with clip.mp4" in made.messages[0]
    long = samples({"a": [(0.0, 1, 1)]}, facts={"video": facts | {"duration_seconds": 60.0}})
    with pytest.raises(DatasetError, match=r"other\.mp4, which lasts 60 s, .*it is gaze on another video"):
        draw_gaze(clip, long, options=options)


def test_a_result_that_is_there_is_kept(clip: Path, table: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.vidsal.gaze.csv").write_text("mine")
    options = DrawGazeOptions(output=GazeOutputOptions(output=tmp_path))
    with pytest.raises(ExistsError):
        draw_gaze(clip, table, options=options)
    assert (tmp_path / "clip.vidsal.gaze.csv").read_text() == "mine"
    assert not (tmp_path / "clip.vidsal.gaze.mp4").exists()
