"""Finished results as pandas frames and xarray arrays."""

from __future__ import annotations

import csv
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from vidsal import read_maps, read_table
from vidsal.aois import AoiFrame
from vidsal.errors import DatasetError, EncodeError
from vidsal.evaluate.results import Estimate, SequenceScores, Summary, write_summary, write_tables
from vidsal.exports.shots import ShotNumbers
from vidsal.frames import SaliencyBatch
from vidsal.gaze import Gaze, write_gaze
from vidsal.gaze.measures import AoiVisits, Transition
from vidsal.results import _ROWS, _StoredArrays, _StoredVideo
from vidsal.sinks import MapsSink, TableSink
from vidsal.sinks.tables import write_rows
from vidsal.tracks import FrameNumbers, column_types

pandas = pytest.importorskip("pandas", reason="frames need pandas")
xarray = pytest.importorskip("xarray", reason="arrays need xarray")
pytest.importorskip("pyarrow", reason=".parquet needs pyarrow")

SUFFIXES = (".csv", ".jsonl", ".parquet")


def densities(count: int = 12) -> SaliencyBatch:
    log = torch.randn(count, 6, 8, generator=torch.Generator().manual_seed(1))
    times = np.cumsum(np.full(count, 0.04)) * 1.5 - 0.06
    shot = (np.arange(count) >= 5).astype(np.int64)
    cut = np.arange(count) == 5
    index = np.arange(count, dtype=np.int64)
    batch = SaliencyBatch(index, times, shot, cut, torch.zeros(count, 6, 8), height=60, width=160)
    return batch.with_density(log.exp())


# Tables.


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_table_of_a_run_has_the_types_and_values_of_its_columns(suffix: str, tmp_path: Path) -> None:
    path, text = tmp_path / f"a.vidsal{suffix}", tmp_path / "judge.csv"
    for target in (path, text):
        with TableSink(target) as sink:
            sink.write(densities())
    frame = read_table(path)
    assert frame.attrs["kind"] == "frames" and list(frame.columns) == list(column_types(FrameNumbers))
    assert {str(frame[name].dtype) for name in ("index", "shot")} == {"int64"}
    assert str(frame["cut"].dtype) == "bool" and frame["cut"].tolist() == [row == 5 for row in range(12)]
    # Regions may be missing: whole numbers all the same.
    assert str(frame["region3_left"].dtype) == "Int64" and str(frame["region3_x"].dtype) == "float64"
    with text.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in frame.columns:
        for value, judged in zip(frame[name].tolist(), [row[name] for row in rows], strict=True):
            if judged in ("", "true", "false"):
                assert pandas.isna(value) if not judged else value is (judged == "true")
            else:
                assert value == pytest.approx(float(judged), rel=1e-8)
    assert frame.attrs["units"]["peak_x"] == "px" and "maximum" in frame.attrs["meanings"]["peak_x"]


def made(kind: type, **values: Any) -> list[Any]:
    """A row with 1, 0.5, true and "x" but where values are given."""
    plain = {int: 1, float: 0.5, bool: True, str: "x"}
    return [values.get(name, plain[one]) for name, one in column_types(kind).items()]


@pytest.mark.parametrize("kind", sorted(_ROWS))
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_of_table_is_told_by_its_columns(kind: str, suffix: str, tmp_path: Path) -> None:
    row = _ROWS[kind]
    path = tmp_path / f"table{suffix}"
    write_rows(path, column_types(row), [made(row), made(row)])
    frame = read_table(path)
    assert frame.attrs["kind"] == kind and len(frame) == 2
    kinds = {int: ("int64", "Int64"), float: ("float64",), bool: ("bool", "boolean")}
    for name, one in column_types(row).items():
        if one is str:
            assert pandas.api.types.is_string_dtype(frame[name])
        else:
            assert str(frame[name].dtype) in kinds[one], name


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_that_look_like_numbers_or_like_nothing_stay_names(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"transitions{suffix}"
    names = [name for name, kind in column_types(Transition).items() if kind is str]
    rows = [made(Transition, **dict.fromkeys(names, text)) for text in ("01", "NA", "null", "1e3", "")]
    write_rows(path, column_types(Transition), rows)
    frame = read_table(path)
    for name in names:
        assert frame[name].tolist() == ["01", "NA", "null", "1e3", ""]


def test_columns_of_the_trials_are_typed_by_what_they_hold(tmp_path: Path) -> None:
    types = {**column_types(AoiVisits), "weather": str, "speed": float}
    path = tmp_path / "visits.csv"
    write_rows(path, types, [[*made(AoiVisits), "rain", 30.0], [*made(AoiVisits), "sun", None]])
    frame = read_table(path)
    assert frame["weather"].tolist() == ["rain", "sun"] and str(frame["speed"].dtype) == "float64"
    assert frame.attrs["kind"] == "visits"


def test_recorded_shares_of_drives_are_read_as_predicted_ones_are(tmp_path: Path) -> None:
    types = {
        "sequence": str,
        **{name.replace("predicted", "recorded"): one for name, one in column_types(AoiFrame).items()},
    }
    path = tmp_path / "driving.csv"
    write_rows(path, types, [["01", *made(AoiFrame)]])
    frame = read_table(path)
    assert frame.attrs["kind"] == "aois" and frame["sequence"].tolist() == ["01"]
    assert frame["recorded_share"].tolist() == [0.5] and frame.attrs["units"]["recorded_share"] == "share"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_gaze_comes_back_with_its_times_and_places(suffix: str, tmp_path: Path) -> None:
    gaze = Gaze.of(participant=["07", "08"], trial="t", pts_seconds=[0.004, 1.25], x=[1.5, np.nan], y=[2.5, np.nan])
    write_gaze(gaze, tmp_path / f"gaze{suffix}")
    frame = read_table(tmp_path / f"gaze{suffix}")
    assert frame.attrs["kind"] == "gaze" and frame["participant"].tolist() == ["07", "08"]
    assert frame["pts_seconds"].tolist() == [0.004, 1.25] and frame["valid"].tolist() == [True, False]
    assert frame["x"].isna().tolist() == [False, True]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_scores_of_an_evaluation_are_read_with_their_metrics(suffix: Any, tmp_path: Path) -> None:
    scores = SequenceScores(
        name="01",
        frames=2,
        metrics=("nss", "cc"),
        sources=("model", "centre"),
        attributes={"weather": "rain"},
        index=np.arange(2),
        frame=np.array(["000001", "000002"]),
        pts_seconds=np.array([0.0, 0.04]),
        attention=np.array(["", ""]),
        scores=np.array([[[1.0, 0.5], [2.0, np.nan]], [[0.5, 0.25], [0.5, 0.25]]]),
        zero_mass=np.zeros((2, 2)),
    )
    made = {path.stem: read_table(path) for path in write_tables(tmp_path, [scores], kind=suffix)}
    assert {name: frame.attrs["kind"] for name, frame in made.items()} == {name: f"scores-{name}" for name in made}
    assert made["seconds"]["second"].tolist()[:2] == [0, 0] and str(made["seconds"]["second"].dtype) == "int64"
    frames, sequences, scenarios = made["frames"], made["sequences"], made["scenarios"]
    assert frames["frame"].tolist() == ["000001", "000002"] * 2 and frames["sequence"].tolist() == ["01"] * 4
    assert frames["nss"].tolist() == [1, 2, 0.5, 0.5] and frames["cc"].isna().sum() == 1
    assert frames.groupby("source")["nss"].mean().to_dict() == {"centre": 0.5, "model": 1.5}
    assert sequences["nss"].tolist() == [1.5, 0.5] and str(sequences["frames"].dtype) == "int64"
    assert scenarios["scenario"].tolist() == ["weather"] * 2 and scenarios["value"].tolist() == ["rain"] * 2


def test_the_summary_of_an_evaluation_is_a_row_a_source_and_metric(tmp_path: Path) -> None:
    estimate = Estimate(value=1.5, low=1.0, high=2.0, over_frames=1.4, over_sequences=1.5, frames=9, sequences=3)
    undefined = dataclasses.replace(estimate, value=np.nan)
    summary = Summary(
        version="1",
        commit="",
        key="k",
        dataset={"name": "simple", "root": "mine"},
        protocol={},
        source={},
        baselines={},
        sequences=3,
        frames=9,
        left_out={},
        skipped={},
        too_short=0,
        scores={"model": {"nss": estimate, "cc": undefined}, "centre": {"nss": estimate, "cc": estimate}},
        zero_frames={},
        by_sequence={},
    )
    write_summary(tmp_path / "summary.json", summary)
    frame = read_table(tmp_path / "summary.json")
    assert list(zip(frame["source"], frame["metric"], strict=True)) == [
        ("model", "nss"), ("model", "cc"), ("centre", "nss"), ("centre", "cc")
    ]  # fmt: skip
    assert frame["value"].isna().tolist() == [False, True, False, False]
    assert frame["low"].tolist() == [1.0] * 4 and str(frame["frames"].dtype) == "int64"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "a", "must end in one of"),
        ("a.csv", "", "is no whole table: it is empty"),
        (
            "a.csv",
            "index,pts_seconds,shot,aoi,predicted_share,area_share,holds_peak\nx,0,0,a,1,1,true\n",
            "no whole table",
        ),
        ("a.jsonl", "{", "no whole table"),
        ("a.parquet", "PAR", "no whole table"),
        ("a.json", "[]", "not a result"),
    ],
)
def test_what_is_no_table_is_refused(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_table(tmp_path / name)
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        read_table(tmp_path / "nowhere.csv")


def test_shots_and_a_table_that_is_not_known_are_read_too(tmp_path: Path) -> None:
    write_rows(tmp_path / "shots.csv", column_types(ShotNumbers), [made(ShotNumbers)])
    assert read_table(tmp_path / "shots.csv").attrs["kind"] == "shots"
    (tmp_path / "own.csv").write_text("trial,speed\n01,2.5\n02,\n")
    frame = read_table(tmp_path / "own.csv")
    assert frame.attrs["kind"] == "" and frame["trial"].tolist() == ["01", "02"]
    assert frame["speed"].tolist()[0] == 2.5 and frame["speed"].isna().tolist() == [False, True]


# Maps.


def written(path: Path, *, at_once: int = 5) -> SaliencyBatch:
    batch = densities()
    with MapsSink(path) as sink:
        sink.provenance = '{"vidsal": "made"}'
        for begin in range(0, len(batch), at_once):
            sink.write(batch[begin : begin + at_once])
    return batch


@pytest.mark.parametrize("suffix", [".npz", ".mkv"])
def test_maps_are_an_array_with_times_and_places(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.maps{suffix}"
    batch = written(path)
    maps = read_maps(path)
    assert maps.dims == ("time", "y", "x") and maps.shape == (12, 6, 8) and maps.dtype == np.float32
    np.testing.assert_allclose(maps["time"], batch.pts_seconds, atol=6e-4)
    # By hand: cells of 10 x 20 pixels, the first one's centre between its tenth and eleventh column.
    assert maps["y"].values.tolist() == [4.5, 14.5, 24.5, 34.5, 44.5, 54.5] and maps["x"].values[:2].tolist() == [
        9.5,
        29.5,
    ]
    np.testing.assert_allclose(maps.values, batch.density.numpy(), rtol=5e-3, atol=5e-5)
    np.testing.assert_allclose(maps.sum(("y", "x")), 1, rtol=1e-5)
    assert (maps.attrs["height"], maps.attrs["width"]) == (60, 160) and "made" in maps.attrs["vidsal_run"]
    if suffix == ".npz":
        assert maps["shot"].values.tolist() == batch.shot.tolist() and maps["index"].values.tolist() == list(range(12))


@pytest.mark.parametrize("suffix", [".npz", ".mkv"])
def test_only_the_frames_that_are_asked_for_are_read(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.maps{suffix}"
    batch = written(path)
    stored = _StoredArrays if suffix == ".npz" else _StoredVideo
    asked: list[list[int]] = []
    read = stored.read

    def counted(self: Any, numbers: npt.NDArray[np.int64]) -> Any:
        asked.append(numbers.tolist())
        return read(self, numbers)

    monkeypatch.setattr(stored, "read", counted)
    maps = read_maps(path)
    assert asked == []
    density = batch.density.numpy()

    def close(part: Any, expected: Any) -> None:
        np.testing.assert_allclose(part.values, expected, rtol=5e-3, atol=5e-5)

    close(maps[3], density[3])
    close(maps.isel(time=[9, 2, 2], x=slice(1, 5)), density[[9, 2, 2], :, 1:5])
    close(maps.isel(time=slice(10, 4, -3), y=2), density[10:4:-3, 2])
    close(maps.isel(time=-1, y=[4, 0], x=[1, 6]), density[-1][[4, 0]][:, [1, 6]])
    close(maps.sel(time=0.12, y=30, method="nearest"), density[2, 3])
    assert all(len(numbers) <= 3 for numbers in asked) and len(asked) == 5
    assert maps.isel(time=slice(0, 0)).values.shape == (0, 6, 8)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"PK", "cannot be read as maps"),
        ("a.mkv", b"\x1aE\xdf\xa3", "cannot be read"),
        ("a.png", b"", "must end in .npz or .mkv"),
    ],
)
def test_what_holds_no_maps_is_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_maps(tmp_path / name)


def test_arrays_of_another_kind_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(DatasetError, match="it has no log_density, pts_seconds, height, width"):
        read_maps(tmp_path / "other.npz")
    np.savez_compressed(
        tmp_path / "packed.npz", log_density=np.zeros((1, 2, 2), "f2"), pts_seconds=np.zeros(1), height=4, width=4
    )
    with pytest.raises(DatasetError, match="it is compressed"):
        read_maps(tmp_path / "packed.npz")


def test_a_missing_package_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(EncodeError, match=r"needs pandas: pip install 'vidsal\[analysis\]'"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(EncodeError, match=r"needs xarray: pip install 'vidsal\[analysis\]'"):
        read_maps(tmp_path / "a.npz")
