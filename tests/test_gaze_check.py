"""A made study: wrong clocks, wrong origins and swapped axes are found by what is predicted; right gaze passes."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from made import make_checkpoint, make_model
from media import make_video

from vidsal.cli import main
from vidsal.errors import ConfigError, DatasetError
from vidsal.frames import SaliencyBatch
from vidsal.gaze import Gaze, read_gaze, write_gaze
from vidsal.metrics import nss
from vidsal.viewing.checking import check_gaze
from vidsal.viewing.options import VariantOptions
from vidsal.viewing.variants import READINGS, GazeVariants, VariantScorer, score_variants
from vidsal.viewing.viewers import RecordedViewers

HEIGHT, WIDTH = 90, 160
SECONDS = 24
CLIPS = range(6)
_Floats = npt.NDArray[np.float64]


def target(clip: int, seconds: _Floats) -> tuple[_Floats, _Floats]:
    """What moves in a clip, not about the middle."""
    across, down, phase = np.random.default_rng(clip).uniform(0.3, 1.1, 3)
    x = WIDTH * (0.55 + 0.3 * np.sin(across * seconds + clip))
    return x, HEIGHT * (0.6 + 0.25 * np.sin(down * seconds + phase))


def maps_of(clip: int) -> SaliencyBatch:
    """Densities of a Gaussian on it, ten a second."""
    seconds = np.arange(0, SECONDS, 0.1)
    x, y = target(clip, seconds)
    rows, columns = np.mgrid[0:18, 0:32] * 5 + 2.5
    squares = (columns - x[:, None, None]) ** 2 + (rows - y[:, None, None]) ** 2
    density = np.exp(-squares / (2 * 12**2)) + 0.02
    density /= density.sum(axis=(1, 2), keepdims=True)
    return SaliencyBatch(
        index=np.arange(len(seconds)),
        pts_seconds=seconds,
        shot=np.zeros(len(seconds), np.int64),
        cut=np.zeros(len(seconds), bool),
        log_density=torch.from_numpy(np.log(density)).float(),
        height=HEIGHT,
        width=WIDTH,
    )


Change = Callable[[_Floats, _Floats, _Floats], tuple[_Floats, _Floats, _Floats]]


def same(seconds: _Floats, x: _Floats, y: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    return seconds, x, y


def gaze_of(clip: int, change: Change = same, *, only: str | None = None) -> Gaze:
    """12 participants who look at it half of the time, and anywhere else; `change` is what went wrong."""
    rng = np.random.default_rng(100 + clip)
    columns: dict[str, list[object]] = {name: [] for name in ("participant", "pts_seconds", "x", "y")}
    for number in range(12):
        name = f"P{number:02}"
        seconds = np.arange(-4, SECONDS + 4, 0.05)
        looks = rng.random(len(seconds)) < 0.5
        x, y = target(clip, seconds)
        x = np.where(looks, x + rng.normal(0, 6, len(seconds)), rng.uniform(0, WIDTH, len(seconds)))
        y = np.where(looks, y + rng.normal(0, 6, len(seconds)), rng.uniform(0, HEIGHT, len(seconds)))
        if only is None or only == name:
            seconds, x, y = change(seconds, x, y)
        columns["participant"] += [name] * len(seconds)
        for key, values in (("pts_seconds", seconds), ("x", x), ("y", y)):
            columns[key] += values.tolist()
    return Gaze.of(**columns, trial=f"clip{clip}")  # type: ignore[arg-type]


def checked(clip: int, gaze: Gaze) -> GazeVariants:
    return score_variants(
        [maps_of(clip)], RecordedViewers(gaze, height=HEIGHT, width=WIDTH), VariantOptions(max_shift=2)
    )


def late(seconds: _Floats, x: _Floats, y: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    return seconds + 1.3, x, y


def from_below(seconds: _Floats, x: _Floats, y: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    return seconds, x, HEIGHT - y


def swapped(seconds: _Floats, x: _Floats, y: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    return seconds, y * WIDTH / HEIGHT, x * HEIGHT / WIDTH


def swapped_pixels(seconds: _Floats, x: _Floats, y: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    return seconds, y, x


WRONG: dict[str, tuple[Change, str, float]] = {
    "late": (late, "as recorded", -1.3),
    "from below": (from_below, "y flipped", 0.0),
    "swapped": (swapped, "swapped shares", 0.0),
    "swapped pixels": (swapped_pixels, "swapped", 0.0),
}


def test_gaze_of_a_whole_study_that_is_read_rightly_is_not_complained_of() -> None:
    for clip in CLIPS:
        found = checked(clip, gaze_of(clip))
        assert not found.findings, found.findings
        base = found.scores[0]
        assert base.reading == "as recorded" and base.shift_seconds == 0 and base.nss is not None and base.nss > 1.5


@pytest.mark.parametrize("mistake", WRONG)
def test_what_went_wrong_is_found_in_the_clips_of_a_study(mistake: str) -> None:
    change, reading, shift = WRONG[mistake]
    found = [checked(clip, gaze_of(clip, change)) for clip in CLIPS]
    # One clip in twenty-four may be too like itself the other way round; a study has several.
    named = [each for each in found if each.findings]
    assert len(named) >= 5
    for each in named:
        best = each.best
        assert best.better and best.reading == reading and best.shift_seconds == pytest.approx(shift, abs=0.11)
        assert best.gain is not None and best.low is not None and best.gain > 1 and best.low > 0
        assert len(each.findings) == 1 and each.findings[0].startswith("all viewers: ")
    words = next(each for each in READINGS if each.name == reading).words
    assert (words or "1.3 s late") in named[0].findings[0]


def test_a_single_participant_whose_clock_is_off_is_named() -> None:
    found = checked(0, gaze_of(0, late, only="P07"))
    (finding,) = found.findings
    assert "participant P07, trial clip0" in finding and "s late" in finding


def test_an_early_clock_and_a_flipped_axis_at_once_are_told_apart() -> None:
    def both(seconds: _Floats, x: _Floats, y: _Floats) -> tuple[_Floats, _Floats, _Floats]:
        return seconds - 1.5, x, HEIGHT - y

    (finding, *_) = checked(1, gaze_of(1, both)).findings
    assert "y seems to be counted from the other edge" in finding and "1.5 s early (add 1.5 s" in finding


def test_the_score_as_recorded_is_the_nss_of_the_metrics() -> None:
    gaze = gaze_of(2)
    batch = maps_of(2)[:30]
    viewers = RecordedViewers(gaze, height=HEIGHT, width=WIDTH)
    base = score_variants([batch], viewers, VariantOptions(max_shift=0)).scores[0]
    total, looks = 0.0, 0
    for density, seconds in zip(batch.density, batch.pts_seconds.tolist(), strict=True):
        places = viewers.at(seconds)
        counts = viewers.counts(places[viewers.inside(places)], (18, 32)).sum(axis=0)
        total += float(nss(density[None], torch.from_numpy(counts[None]))[0]) * counts.sum()
        looks += int(counts.sum())
    # Those few beside the picture score the lowest there is.
    outside = base.looks - looks
    assert base.nss is not None and 0 <= outside < 0.1 * looks
    assert base.nss == pytest.approx(total / looks, abs=0.1 + outside / looks)
    inside = Gaze.of(participant="a", trial="t", pts_seconds=np.arange(60) / 20, x=50.0, y=70.0)
    exact = score_variants(
        [batch], RecordedViewers(inside, height=HEIGHT, width=WIDTH), VariantOptions(max_shift=0)
    ).scores[0]
    counts = np.zeros((18, 32), np.float32)
    counts[14, 10] = 1
    each = nss(batch.density, torch.from_numpy(np.repeat(counts[None], 30, axis=0)))
    assert exact.looks == 30 and exact.nss == pytest.approx(float(each.mean()), rel=1e-6)


def test_how_frames_are_grouped_changes_nothing() -> None:
    viewers = RecordedViewers(gaze_of(3), height=HEIGHT, width=WIDTH)
    options = VariantOptions(max_shift=0.2)
    batch = maps_of(3)
    one, many = VariantScorer(viewers, options), VariantScorer(viewers, options)
    one.update(batch)
    for first in range(0, len(batch), 7):
        many.update(batch[first : first + 7])
    assert one.flush() == many.flush()


def test_little_to_see_and_little_time_are_said() -> None:
    viewers = RecordedViewers(gaze_of(0, from_below), height=HEIGHT, width=WIDTH)
    short = score_variants([maps_of(0)[:40]], viewers, VariantOptions())
    assert not short.findings and any("too short" in note for note in short.notes)
    batch = maps_of(0)
    even = SaliencyBatch(
        index=batch.index,
        pts_seconds=batch.pts_seconds,
        shot=batch.shot,
        cut=batch.cut,
        log_density=torch.full((len(batch), 4, 4), -float(np.log(16))),
        height=HEIGHT,
        width=WIDTH,
    )
    nothing = score_variants([even], viewers, VariantOptions(max_shift=1))
    assert not nothing.findings and nothing.scores[0].nss == 0
    assert any("not told apart" in note and "y flipped" in note for note in nothing.notes)
    nobody = Gaze.of(participant="a", trial="t", pts_seconds=[100.0], x=1.0, y=1.0)
    unseen = score_variants([batch], RecordedViewers(nobody, height=HEIGHT, width=WIDTH), VariantOptions(max_shift=1))
    assert not unseen.findings and "no viewer looks anywhere" in unseen.notes[0]


def test_more_shifts_than_can_be_told_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match="longer step"):
        VariantOptions(max_shift=600, shift_step=0.1)
    assert len(VariantScorer(RecordedViewers(gaze_of(0), height=HEIGHT, width=WIDTH), VariantOptions()).shifts) == 101


# The command.


def test_the_command_names_what_fits_better_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow", reason="tables of gaze need pyarrow")
    clip = make_video(tmp_path / "clip.mp4", frames=240, rate=10, width=WIDTH, height=HEIGHT)
    batch = maps_of(4)
    np.savez(
        tmp_path / "maps.npz",
        log_density=batch.log_density.numpy(),
        pts_seconds=batch.pts_seconds,
        height=HEIGHT,
        width=WIDTH,
    )
    facts = {"video": {"name": "clip.mp4", "height": HEIGHT, "width": WIDTH}}
    for name, change in (("right", same), ("wrong", from_below)):
        gaze = gaze_of(4, change)
        write_gaze(dataclasses.replace(gaze, facts=facts), tmp_path / f"{name}.parquet")
    before = read_gaze(tmp_path / "wrong.parquet")
    call = ["gaze", "check", "--video", str(clip), "--maps", str(tmp_path / "maps.npz"), "--max-shift", "1"]
    assert main([*call, str(tmp_path / "right.parquet")]) == 0
    assert "nothing fits better" in capsys.readouterr().out
    table = tmp_path / "scores.csv"
    assert main([*call, str(tmp_path / "wrong.parquet"), "--to", str(table)]) == 1
    shown = capsys.readouterr()
    assert "y seems to be counted from the other edge" in shown.out and "NSS" in shown.err
    with table.open() as file:
        rows = list(csv.DictReader(file))
    whole = [row for row in rows if not row["participant"]]
    assert len(whole) == len(READINGS) + 20 and sum(row["better"] == "true" for row in whole) >= 1
    assert {row["participant"] for row in rows} == {"", *(f"P{number:02}" for number in range(12))}
    np.testing.assert_array_equal(read_gaze(tmp_path / "wrong.parquet").y, before.y)
    assert main([*call, str(tmp_path / "wrong.parquet"), "--to", str(table)]) == 3
    assert main([*call, str(tmp_path / "wrong.parquet"), "--json", "-q"]) == 1
    assert len(json.loads(capsys.readouterr().out)["findings"]) == 1


def test_a_model_predicts_where_no_maps_are_given_and_gaze_of_another_picture_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="tables of gaze need pyarrow")
    clip = make_video(tmp_path / "clip.mp4", frames=10, rate=10, width=WIDTH, height=HEIGHT)
    checkpoint = make_checkpoint(tmp_path / "tiny.safetensors")
    write_gaze(gaze_of(0), tmp_path / "gaze.parquet")
    call = ["gaze", "check", str(tmp_path / "gaze.parquet"), "--video", str(clip), "--model", str(checkpoint), "-q"]
    assert main(call) == 0
    facts = {"video": {"name": "other.mp4", "height": HEIGHT, "width": WIDTH, "duration_seconds": 1.0}}
    found = check_gaze(dataclasses.replace(gaze_of(0), facts=facts), clip, model=make_model())
    assert "the gaze was imported with other.mp4, not with clip.mp4" in found.notes[0]
    facts = {"video": {"name": "other.mp4", "height": 10, "width": 10}}
    other = Gaze.of(participant="a", trial="t", pts_seconds=[0.0], x=1.0, y=1.0, facts=facts)
    with pytest.raises(DatasetError, match="10x10"):
        check_gaze(other, clip, model=make_model())
