"""The sentences the pipe obeys."""

from __future__ import annotations

import csv
import dataclasses
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import CANVAS, TINY, make_model, make_network
from media import make_video, stream_packets

from vidsal.decode import DecodeOptions, open_video
from vidsal.errors import ConfigError, DecodeError, EncodeError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.model.checkpoint import ModelCard, SaliencyModel
from vidsal.model.sam import Unroll
from vidsal.pipe.many import StreamBatch, predict_streams
from vidsal.pipe.options import OutputOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.predict import VideoPredictor, predict
from vidsal.pipe.run import Progress, run
from vidsal.shots import CutOptions
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import ViewerOptions


def raw(**recurrence: Any) -> dict[str, Any]:
    """Stages that give each map as the model gives it; unless told otherwise, it sees every frame."""
    return {
        "recurrence": RecurrenceOptions(**{"every": 1, **recurrence}),
        "smooth": SmoothOptions(smoothing="none"),
        "viewers": ViewerOptions("off"),
    }


RAW = raw()
NO_CUTS = CutOptions(detect_cuts=False)


@pytest.fixture(scope="module")
def model() -> SaliencyModel:
    return make_model()


def made_frames(count: int, *, rate: float = 25, cut_at: int | None = None) -> FrameBatch:
    """A bright square that wanders over noise; with a cut the picture turns into another one."""
    random = np.random.default_rng(0)
    backgrounds = random.integers(0, 120, (2, 6, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    frames = np.stack([backgrounds[int(cut_at is not None and n >= cut_at)].copy() for n in range(count)])
    for n, frame in enumerate(frames):
        frame[10:18, n % 40 : n % 40 + 8] = 250
    return FrameBatch(index=np.arange(count), pts_seconds=np.arange(count) / rate, frames=frames, height=480, width=640)


def parts(batch: FrameBatch, sizes: list[int]) -> Iterator[FrameBatch]:
    begin = 0
    for size in sizes:
        yield batch[begin : begin + size]
        begin += size


joined = SaliencyBatch.join


SETTINGS = {
    "default": {},
    "trailing": {"smooth": SmoothOptions(smoothing="exponential")},
    "raw": RAW,
    "reset": raw(state="reset", steps=2),
    "every third": {"recurrence": RecurrenceOptions(every=3)},
    "looking ahead": {"smooth": SmoothOptions(smoothing="gaussian", time_constant_seconds=0.08)},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("sizes", [[1] * 24, [7, 1, 9, 7], [11, 13]])
def test_maps_depend_neither_on_the_batch_size_nor_on_the_cutting_into_calls(
    model: SaliencyModel, name: str, sizes: list[int]
) -> None:
    clip = made_frames(24, cut_at=11)
    whole = joined(predict([clip], model, **SETTINGS[name]))  # type: ignore[arg-type]
    again = joined(predict(parts(clip, sizes), model, **SETTINGS[name]))  # type: ignore[arg-type]
    for one in (whole, again):
        assert one.index.tolist() == list(range(24))
        assert one.cut.tolist() == [n == 11 for n in range(24)] and one.shot.tolist() == [0] * 11 + [1] * 13
    torch.testing.assert_close(again.density, whole.density, atol=2e-6, rtol=1e-3)
    torch.testing.assert_close(whole.density.sum((1, 2)), torch.ones(24))


@pytest.fixture(scope="module")
def in_bfloat16() -> SaliencyModel:
    return SaliencyModel(make_network(), preprocess=CANVAS, card=ModelCard(name="tiny"), precision="bf16")


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("sizes", [[1] * 12, [7, 1, 4], [11, 1]])
def test_in_bfloat16_maps_are_the_same_to_the_last_bit_however_frames_are_grouped(
    in_bfloat16: SaliencyModel, sizes: list[int], live: bool
) -> None:
    clip = dataclasses.replace(made_frames(12, cut_at=5), live=live)
    whole = joined(predict([clip], in_bfloat16))
    assert torch.equal(joined(predict(parts(clip, sizes), in_bfloat16)).log_density, whole.log_density)


def test_a_live_source_beside_files_is_shown_to_the_model_by_itself(in_bfloat16: SaliencyModel) -> None:
    clips = [dataclasses.replace(made_frames(9), live=live) for live in (False, True, False)]
    alone = [joined(predict([clip], in_bfloat16, **RAW)).density for clip in clips]
    called: list[tuple[int, bool]] = []
    whole = in_bfloat16.network.forward

    def noted(frames: torch.Tensor, *args: Any, **given: Any) -> Any:
        called.append((len(frames), given["one_by_one"]))
        return whole(frames, *args, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_bfloat16.network, "forward", noted)
        results = list(predict_streams([[clip] for clip in clips], in_bfloat16, **RAW))
    assert sorted(called) == [(1, True), (2, False)]
    maps = {result.stream: result.batch.density for result in results if isinstance(result, StreamBatch)}
    for number, expected in enumerate(alone):
        assert torch.equal(maps[number], expected)


def test_a_dropped_state_shows(model: SaliencyModel) -> None:
    clip = made_frames(12)
    whole = joined(predict([clip], model, **RAW, cuts=NO_CUTS)).density
    halves = [joined(predict([half], model, **RAW, cuts=NO_CUTS)).density for half in parts(clip, [6, 6])]
    torch.testing.assert_close(halves[0], whole[:6], atol=2e-6, rtol=1e-3)
    assert ((halves[1] - whole[6:]).abs().sum((1, 2)) > 0.01).any()


def test_a_cut_starts_afresh_and_a_missed_cut_does_not(model: SaliencyModel) -> None:
    clip = made_frames(16, cut_at=8)
    second = joined(predict(list(parts(clip, [8, 8]))[1:], model, **RAW)).density
    found = joined(predict([clip], model, **RAW)).density[8:]
    missed = joined(predict([clip], model, **RAW, cuts=NO_CUTS)).density[8:]
    torch.testing.assert_close(found, second, atol=2e-6, rtol=1e-3)
    assert (missed[0] - second[0]).abs().sum() > 0.01


def test_reset_gives_every_frame_the_map_of_the_picture_alone(model: SaliencyModel) -> None:
    clip = made_frames(5)
    together = joined(predict([clip], model, **raw(state="reset"))).density
    for n, single in enumerate(parts(clip, [1] * 5)):
        alone = joined(predict([single], model, **RAW)).density
        torch.testing.assert_close(together[n : n + 1], alone, atol=2e-6, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "first", "later"),
    [
        ({}, (True, 3), (False, 1)),
        ({"state": "carry", "steps": 2}, (True, 3), (False, 2)),
        ({"state": "carry", "steps": 3}, (True, 3), (False, 3)),
        ({"state": "reset"}, (True, 3), (True, 3)),
        ({"state": "reset", "steps": 1}, (True, 1), (True, 1)),
        ({"state": "reset", "steps": 5}, (True, 5), (True, 5)),
    ],
)
def test_carry_takes_k_steps_a_frame_and_all_after_a_cut_and_reset_takes_its_own_from_zero(
    options: dict[str, Any], first: tuple[bool, int], later: tuple[bool, int]
) -> None:
    """Frame by frame through the network as it is defined, with the steps written out."""
    config = dataclasses.replace(TINY, steps=3)
    card = ModelCard(name="tiny")
    piped = SaliencyModel(make_network(config=config), preprocess=CANVAS, card=card)
    network, state = make_network(config=config), None
    clip = made_frames(8, cut_at=5)
    maps = joined(predict(parts(clip, [3, 5]), piped, **raw(**options))).density
    for t, frame in enumerate(piped.preprocessor(clip.frames)):
        fresh, steps = first if t in (0, 5) else later
        unroll = Unroll.of([[fresh]], fresh_steps=steps, carry_steps=steps)
        with torch.inference_mode():
            wanted, state = network(frame[None, None], state, unroll=unroll)
        torch.testing.assert_close(maps[t], wanted[0, 0].exp(), atol=2e-6, rtol=1e-3)


def test_numbers_of_steps_give_maps_that_differ() -> None:
    """Beside the test above, which could not tell them apart otherwise."""
    piped = SaliencyModel(
        make_network(config=dataclasses.replace(TINY, steps=3)), preprocess=CANVAS, card=ModelCard(name="tiny")
    )
    clip = made_frames(4)
    choices = [raw(state=state, steps=steps) for state in ("carry", "reset") for steps in (1, 2, 3)]
    last = [joined(predict([clip], piped, **options)).density[-1] for options in choices]
    for i, one in enumerate(last):
        assert all((one - other).abs().sum() > 1e-3 for other in last[:i])


def test_carry_refuses_more_steps_than_the_models_own_and_reset_takes_any(model: SaliencyModel, tmp_path: Path) -> None:
    too_many = RecurrenceOptions(steps=3)
    with pytest.raises(ConfigError, match=r"^steps is 3; with state=carry it must be from 1 to 2, .* state=reset"):
        list(predict([made_frames(1)], model, recurrence=too_many))
    source = make_video(tmp_path / "in.mp4", frames=3)
    with pytest.raises(ConfigError, match="steps is 3"):
        run(source, model=model, options=RunOptions(recurrence=too_many))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
    assert list(predict([made_frames(1)], model, recurrence=RecurrenceOptions(state="reset", steps=9)))


def test_maps_between_two_keys_are_interpolated_in_time_and_held_before_a_cut(model: SaliencyModel) -> None:
    clip = made_frames(9, cut_at=6)
    # Uneven times: interpolation goes by the clock, not by the count.
    clip = dataclasses.replace(clip, pts_seconds=np.array([0, 0.01, 0.03, 0.04, 0.05, 0.06, 0.1, 0.14, 0.18]))
    maps = joined(predict([clip], model, **raw(every=3))).density
    keys = list(parts(clip, [1] * 9))
    expected = joined(predict([keys[0], keys[3]], model, **RAW, cuts=NO_CUTS)).density
    torch.testing.assert_close(maps[[0, 3]], expected, atol=2e-6, rtol=1e-3)
    torch.testing.assert_close(maps[1], 0.75 * maps[0] + 0.25 * maps[3], atol=2e-6, rtol=1e-3)
    torch.testing.assert_close(maps[2], 0.25 * maps[0] + 0.75 * maps[3], atol=2e-6, rtol=1e-3)
    torch.testing.assert_close(maps[4], maps[3], atol=2e-6, rtol=1e-3)
    torch.testing.assert_close(maps[5], maps[3], atol=2e-6, rtol=1e-3)
    assert (maps[6] - maps[3]).abs().sum() > 0.01


@pytest.mark.parametrize(("rate", "every"), [(25, 2), (50, 4)])
def test_unless_told_otherwise_the_model_sees_every_second_frame_at_25_a_second_and_every_fourth_at_50(
    model: SaliencyModel, rate: float, every: int
) -> None:
    clip = made_frames(24, rate=rate, cut_at=11)
    untold, told, each = (
        joined(predict([clip], model, recurrence=RecurrenceOptions(every=given))).log_density
        for given in (None, every, 1)
    )
    assert torch.equal(untold, told)
    assert (untold.exp() - each.exp()).abs().sum((1, 2)).max() > 0.01


def test_smoothing_at_25_and_50_frames_a_second_agrees_at_the_same_instants(model: SaliencyModel) -> None:
    fast = made_frames(40, rate=50)
    fast.frames[1::2] = fast.frames[::2]
    slow = dataclasses.replace(fast, index=np.arange(20), pts_seconds=fast.pts_seconds[::2], frames=fast.frames[::2])
    every_frame = RecurrenceOptions(state="reset", every=1)
    a = joined(predict([fast], model, recurrence=every_frame, cuts=NO_CUTS)).density[::2]
    b = joined(predict([slow], model, recurrence=every_frame, cuts=NO_CUTS)).density
    unsteadied = joined(predict([slow], model, **raw(state="reset"), cuts=NO_CUTS)).density
    difference = (a - b).abs().sum((1, 2)).mean()
    assert difference < 0.25 * (unsteadied - b).abs().sum((1, 2)).mean()


def test_a_predictor_that_was_reset_is_as_new(model: SaliencyModel) -> None:
    clip = made_frames(6, cut_at=3)
    predictor = VideoPredictor(model)
    first = joined(predictor.update(clip) + predictor.flush())
    predictor.reset()
    second = joined(predictor.update(clip) + predictor.flush())
    assert first.cut.tolist() == second.cut.tolist() and first.shot.tolist() == second.shot.tolist()
    assert torch.equal(first.log_density, second.log_density)


def test_an_error_of_the_reader_reaches_the_caller(model: SaliencyModel) -> None:
    def broken() -> Iterator[FrameBatch]:
        yield made_frames(3)
        raise DecodeError("broken at frame 3")

    with pytest.raises(DecodeError, match="frame 3"):
        list(predict(broken(), model))


@pytest.mark.parametrize("bad", [{"state": "keep"}, {"steps": 0}, {"every": 0}])
def test_options_out_of_range_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        RecurrenceOptions(**bad)  # type: ignore[arg-type]


def options(**output: object) -> RunOptions:
    return RunOptions(output=OutputOptions(**output))  # type: ignore[arg-type]


def test_a_run_writes_every_frame_once_with_its_own_time_and_the_sound(model: SaliencyModel, tmp_path: Path) -> None:
    times = [0, 3000, 6100, 12000, 12900, 20000, 30000, 30500, 40000, 41000]
    source = make_video(tmp_path / "in.mp4", frames=10, width=96, height=64, pts=times, audio_tracks=2)
    seen: list[Progress] = []
    report = run(source, model=model, on_progress=seen.append)
    target = tmp_path / "in.vidsal.mp4"
    assert report.files == (target, tmp_path / "in.vidsal.csv")
    assert report.frames == seen[-1].frames == 10 and not report.interrupted
    with open_video(source) as a, open_video(target) as b:
        original, written = ([t for batch in r for t in batch.pts_seconds] for r in (a, b))
    assert written == pytest.approx(original, abs=1e-9)
    for stream in (1, 2):
        assert [p.data for p in stream_packets(target, stream)] == [p.data for p in stream_packets(source, stream)]
    with report.files[1].open() as table:
        rows = list(csv.DictReader(table))
    assert [int(row["index"]) for row in rows] == list(range(10))
    assert [float(row["pts_seconds"]) for row in rows] == pytest.approx(original, abs=1e-6)
    assert {"decode", "model", "video", "table"} <= set(report.stage_frames_per_second)
    assert report.as_dict()["options"]["recurrence"]["state"] == "carry"


def test_the_table_says_where_the_heat_is(tmp_path: Path) -> None:
    """The peak's pixel in the table, the hottest pixel of the video and the density agree on one corner."""

    class Corner:
        """A model that always looks at the top right."""

        def __init__(self, inner: SaliencyModel) -> None:
            self.device, self.config = inner.device, inner.config
            self.card, self.preprocessor, self.task = inner.card, inner.preprocessor, inner.task
            self.precision, self.notes, self.sha256 = inner.precision, inner.notes, inner.sha256
            self.takes_neighbours = False

        def __call__(self, frames: torch.Tensor, state: object, **_: object) -> tuple[torch.Tensor, object]:
            log_density = torch.full((1, frames.shape[1], 48, 64), -20.0)
            log_density[:, :, 10, 55] = 0.0
            return log_density, state

    source = make_video(
        tmp_path / "in.mp4", frames=3, width=256, height=144, picture=lambda _: np.full((144, 256, 3), 90, np.uint8)
    )
    run(source, model=Corner(make_model()), options=RunOptions(viewers=ViewerOptions("off")))  # type: ignore[arg-type]
    with (tmp_path / "in.vidsal.csv").open() as table:
        row = next(csv.DictReader(table))
    # The picture lies on canvas rows 6 to 41, every cell is 4 pixels: column 55, row 10 - 6 = 4.
    assert float(row["peak_x"]) == pytest.approx(55.5 * 4 - 0.5, abs=1)
    assert float(row["peak_y"]) == pytest.approx(4.5 * 4 - 0.5, abs=1)
    with open_video(tmp_path / "in.vidsal.mp4") as reader:
        frame = next(iter(reader)).frames[0].astype(int)
    changed = np.abs(frame - 90).sum(2)
    y, x = np.unravel_index(changed.argmax(), changed.shape)
    assert abs(x - 221) <= 5 and abs(y - 17) <= 5
    assert changed[80:, :150].max() < 12


def test_results_that_are_there_are_refused_before_anything_is_decoded(model: SaliencyModel, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=3)
    (tmp_path / "in.vidsal.csv").write_text("mine")
    with pytest.raises(EncodeError, match=r"in\.vidsal\.csv"):
        run(source, model=model)
    assert (tmp_path / "in.vidsal.csv").read_text() == "mine" and not (tmp_path / "in.vidsal.mp4").exists()
    run(source, model=model, options=options(overwrite=True))
    assert (tmp_path / "in.vidsal.csv").read_text() != "mine"


class Failing:
    """A sink that fails at its second batch."""

    path = partial_path = Path("nowhere")

    def __init__(self) -> None:
        self.batches, self.left = 0, False

    def __enter__(self) -> Failing:
        return self

    def __exit__(self, *_: object) -> None:
        self.left = True

    def write(self, batch: SaliencyBatch) -> None:
        self.batches += 1
        if self.batches == 2:
            raise EncodeError("no more room")


def test_a_failing_sink_stops_the_run_closes_the_others_and_leaves_no_thread(
    model: SaliencyModel, tmp_path: Path
) -> None:
    source = make_video(tmp_path / "in.mp4", frames=60)
    before, sink = threading.active_count(), Failing()
    with pytest.raises(EncodeError, match="no more room"):
        run(source, model=model, sinks=[sink])  # type: ignore[list-item]
    assert sink.left and sink.batches == 2 and threading.active_count() == before
    assert not (tmp_path / "in.vidsal.mp4").exists() and not (tmp_path / "in.vidsal.csv").exists()


def test_a_run_that_is_stopped_keeps_what_it_wrote_under_partial_names(model: SaliencyModel, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=60)
    report = run(source, model=model, should_stop=lambda: True)
    # The eighth frame waits for the ninth, which the model sees next.
    assert report.interrupted and report.frames == 7
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "in.vidsal.partial.csv", "in.vidsal.partial.mp4"]
    assert set(report.files) == {tmp_path / "in.vidsal.partial.csv", tmp_path / "in.vidsal.partial.mp4"}
    with open_video(tmp_path / "in.vidsal.partial.mp4") as reader:
        assert sum(len(batch) for batch in reader) == 7
    assert run(source, model=model).frames == 60
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "in.mp4",
        "in.vidsal.csv",
        "in.vidsal.json",
        "in.vidsal.mp4",
    ]


@pytest.mark.parametrize("kind", ["npz", "mkv"])
def test_the_raw_maps_are_the_densities(model: SaliencyModel, tmp_path: Path, kind: str) -> None:
    source = make_video(tmp_path / "in.mp4", frames=5, width=128, height=96)
    run(source, model=model, options=options(maps=kind, video=False, table="none", output=tmp_path / "new"))
    path = tmp_path / "new" / f"in.vidsal.maps.{kind}"
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["in.vidsal.json", path.name]
    with open_video(source, size=model.preprocessor.frame_size) as reader:
        wanted = torch.cat([batch.density for batch in predict(reader, model)]).numpy()
    if kind == "npz":
        with np.load(path) as arrays:
            got = np.exp(arrays["log_density"].astype(np.float32))
    else:
        import av

        with av.open(str(path)) as container:
            planes = [f.to_ndarray(format="gray16le") for f in container.decode(video=0)]
        got = np.stack(planes) / 65535 * 256 / planes[0].size
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < 0.01 * wanted.max()


def test_a_part_of_a_video_is_its_frames_of_that_time(model: SaliencyModel, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=50, audio_tracks=1)
    part = RunOptions(decode=DecodeOptions(start_seconds=0.4, end_seconds=1.0))
    assert run(source, model=model, options=part).frames == 15
    with (tmp_path / "in.vidsal.csv").open() as table:
        times = [float(row["pts_seconds"]) for row in csv.DictReader(table)]
    assert times == pytest.approx([0.4 + n / 25 for n in range(15)], abs=1e-6)


def test_a_picture_and_a_folder_of_pictures_run(model: SaliencyModel, tmp_path: Path) -> None:
    import cv2

    folder = tmp_path / "stills"
    folder.mkdir()
    for n in range(3):
        cv2.imwrite(str(folder / f"{n}.png"), np.random.default_rng(n).integers(0, 255, (60, 80, 3), np.uint8))
    report = run(folder, model=model)
    assert report.frames == 3 and report.files[0] == tmp_path / "stills.vidsal.mp4"
    report = run(folder / "0.png", model=model)
    assert report.files == (folder / "0.vidsal.png", folder / "0.vidsal.csv")
    assert cv2.imread(str(report.files[0])).shape == (60, 80, 3)


def test_nothing_to_write_and_unknown_formats_are_refused(model: SaliencyModel, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=3)
    for wrong, says in (
        ({"video": False, "table": "none"}, "nothing to write"),
        ({"table": "xlsx"}, "table must be csv"),
        ({"maps": "png"}, "maps must be mkv"),
    ):
        with pytest.raises(ConfigError, match=says):
            run(source, model=model, options=options(**wrong))
    with pytest.raises(EncodeError, match="is the source itself"):
        run(source, model=model, options=options(output=source))
    (tmp_path / "notes").touch()
    with pytest.raises(EncodeError, match="is a file"):
        run(source, model=model, options=options(output=tmp_path / "notes"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "notes"]


def test_rates_are_never_counted(tmp_path: Path, model: SaliencyModel) -> None:
    """29.97 frames a second stay exactly that."""
    source = make_video(tmp_path / "in.mp4", frames=12, rate=Fraction(30000, 1001))
    run(source, model=model)
    times = [[p.pts for p in stream_packets(path)] for path in (source, tmp_path / "in.vidsal.mp4")]
    assert sorted(times[0]) == sorted(times[1])  # type: ignore[type-var]


def test_a_bare_name_of_a_table_lands_beside_the_other_results(model: SaliencyModel, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=3)
    run(source, model=model, options=options(video=False, table="mine.csv", maps="mine.npz", output=tmp_path / "new"))
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["in.vidsal.json", "mine.csv", "mine.npz"]
    with pytest.raises(ConfigError):
        run(source, model=model, options=options(table="mine.txt", output=tmp_path / "never"))
    assert not (tmp_path / "never").exists()
