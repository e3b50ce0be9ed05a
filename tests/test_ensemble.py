"""Several models as one: the mean of their maps, each from an input and a state of its own."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from made import CANVAS, make_checkpoint, make_model, make_network, make_stills
from media import make_video
from test_cli import status_of
from test_pipe import NO_CUTS, RAW, joined, made_frames, parts, raw
from test_pipe_many import by_stream, three_clips

import vidsal
from vidsal.errors import ConfigError, ExistsError
from vidsal.frames import FrameBatch
from vidsal.model import checkpoint
from vidsal.model.checkpoint import ModelCard, SaliencyModel, load_model
from vidsal.model.ensemble import Ensemble, Member, load_ensemble, make_ensemble
from vidsal.model.options import Mean
from vidsal.pipe.many import predict_streams
from vidsal.pipe.options import ModelOptions, OutputOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.predict import StageClock, predict
from vidsal.pipe.run import run
from vidsal.preprocess import PreprocessOptions
from vidsal.smooth.options import SmoothOptions

OTHER_INPUT = PreprocessOptions(height=32, width=80, channel_order="bgr", fit="stretch")
"""Another canvas, over the whole of which the picture is stretched."""


def other_model(seed: int = 1) -> SaliencyModel:
    return SaliencyModel(make_network(seed), preprocess=OTHER_INPUT, card=ModelCard(name="other"))


@pytest.fixture(scope="module")
def model() -> SaliencyModel:
    return make_model()


@pytest.fixture(scope="module")
def unlike(model: SaliencyModel) -> SaliencyModel:
    """Of members with other weights, canvases, fits and orders of channels, one of them without weights."""
    return make_ensemble([model, other_model(), load_model("icl")], shares=[2, 1, 1])


def maps_of(model: SaliencyModel, *clips: FrameBatch, **stages: Any) -> npt.NDArray[np.float64]:
    return joined(predict(clips, model, **{**RAW, **stages})).density.numpy().astype(np.float64)


def mirrored(clip: FrameBatch) -> FrameBatch:
    return dataclasses.replace(clip, frames=np.ascontiguousarray(clip.frames[:, :, ::-1]))


@pytest.mark.parametrize("mean", ["geometric", "linear"])
def test_maps_are_the_mean_of_what_each_gives_alone(model: SaliencyModel, mean: Mean) -> None:
    clip, second = made_frames(9, cut_at=5), make_model(1)
    one, two = maps_of(model, clip), maps_of(second, clip)
    got = maps_of(make_ensemble([model, second], shares=[3, 1], mean=mean), clip)
    wanted = one**0.75 * two**0.25 if mean == "geometric" else 0.75 * one + 0.25 * two
    wanted /= wanted.sum((1, 2), keepdims=True)
    np.testing.assert_allclose(got, wanted, atol=1e-7, rtol=1e-4)
    assert np.abs(one - two).sum((1, 2)).min() > 0.01


def test_the_two_means_and_other_shares_give_other_maps(model: SaliencyModel) -> None:
    clip, second = made_frames(2), make_model(1)
    made = [
        maps_of(make_ensemble([model, second], shares=shares, mean=mean), clip)
        for mean in ("geometric", "linear")
        for shares in ((), (3, 1))
    ]
    for place, one in enumerate(made):
        assert all(np.abs(one - other).sum() > 1e-4 for other in made[:place])


def test_a_model_alone_and_as_an_ensemble_of_one_give_the_same_maps(model: SaliencyModel) -> None:
    clip = made_frames(6)
    alone = Ensemble([Member(model, 7.0)], card=model.card)
    np.testing.assert_allclose(maps_of(alone, clip), maps_of(model, clip), atol=1e-8, rtol=1e-5)
    assert make_ensemble([model]) is model


def test_each_member_sees_the_picture_as_it_does_alone() -> None:
    """Frames are larger than any canvas: the smaller share of the second is all that the maps differ by."""
    first, second = make_model(), other_model()
    clip = made_frames(4)
    clip = dataclasses.replace(clip, frames=np.stack([cv2.resize(each, (160, 96)) for each in clip.frames]))
    both = Ensemble([Member(first, 1.0), Member(second, 1.0)], mean="linear", card=ModelCard(name="both"))
    alone = maps_of(second, clip)
    left = 2 * maps_of(both, clip) - maps_of(first, clip)
    assert left.shape[1:] != alone.shape[1:]
    rows, columns = left.shape[1:]
    wanted = np.stack([cv2.resize(each, (columns, rows), interpolation=cv2.INTER_LINEAR) for each in alone])
    wanted /= wanted.sum((1, 2), keepdims=True)
    assert [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(left, wanted, strict=True)] > [0.98] * 4


@pytest.mark.parametrize("size", [(45, 80), (90, 160), (33, 50), (12, 16), (200, 20)])
def test_a_map_of_other_cells_keeps_its_place_in_the_picture(model: SaliencyModel, size: tuple[int, int]) -> None:
    rows, columns = size
    y, x = (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns
    blob = np.exp(-((y[:, None] - 0.3) ** 2 + (x[None] - 0.6) ** 2) / (2 * 0.08**2))
    second = torch.from_numpy(blob / blob.sum()).float().clamp_min(1e-30).log()[None]
    flat = torch.full((1, 48, 64), -np.log(48.0 * 64))
    pair = Ensemble([Member(model, 1e-6), Member(other_model(), 1.0)], mean="linear", card=ModelCard(name="pair"))
    density = pair.combined([flat, second])[0].exp().numpy().astype(np.float64)
    assert density.shape == (48, 64) and density.sum() == pytest.approx(1, abs=1e-5)
    centre = density.sum(1) @ ((np.arange(48) + 0.5) / 48), density.sum(0) @ ((np.arange(64) + 0.5) / 64)
    assert centre == pytest.approx((0.3, 0.6), abs=0.005)


def test_frames_are_asked_for_that_are_large_enough_for_every_member(model: SaliencyModel) -> None:
    pair = make_ensemble([model, other_model()])
    assert model.preprocessor.frame_size(480, 640) == (48, 64)
    assert pair.preprocessor.frame_size(480, 640) == (48, 80)
    published = SaliencyModel(
        make_network(), preprocess=dataclasses.replace(CANVAS, resize="bilinear"), card=ModelCard(name="published")
    )
    assert make_ensemble([model, published]).preprocessor.frame_size(480, 640) == (480, 640)


def test_a_model_that_sees_a_picture_and_its_mirror_image_gives_mirrored_pictures_mirrored_maps(
    model: SaliencyModel,
) -> None:
    clip = made_frames(7, cut_at=4)
    both = Ensemble([Member(model, 1.0), Member(model, 1.0, mirrored=True)], card=model.card)
    np.testing.assert_allclose(maps_of(both, mirrored(clip))[:, :, ::-1], maps_of(both, clip), atol=1e-8, rtol=1e-4)
    plain, turned = maps_of(model, clip), maps_of(model, mirrored(clip))[:, :, ::-1]
    assert np.abs(turned - plain).sum((1, 2)).min() > 0.01
    wanted = np.sqrt(plain * turned)
    wanted /= wanted.sum((1, 2), keepdims=True)
    np.testing.assert_allclose(maps_of(both, clip), wanted, atol=1e-7, rtol=1e-4)


def test_high_quality_is_the_mean_with_a_mirrored_view_on_a_larger_canvas_of_one_network(model: SaliencyModel) -> None:
    clip = made_frames(5, cut_at=3)
    high = make_ensemble([model], quality="high")
    larger = SaliencyModel(
        make_network(), preprocess=dataclasses.replace(CANVAS, height=64, width=80), card=ModelCard(name="larger")
    )
    plain, second = (
        torch.from_numpy(each).clamp_min(1e-37).log().float()
        for each in (maps_of(model, clip), maps_of(larger, mirrored(clip)))
    )
    assert isinstance(high, Ensemble) and second.shape[1:] == (60, 80)
    np.testing.assert_allclose(maps_of(high, clip), high.combined([plain, second]).exp(), atol=1e-7, rtol=1e-3)
    assert [member.mirrored for member in high.members] == [False, True]
    assert {id(member.model.network) for member in high.members} == {id(model.network)}
    assert model.preprocessor.options == CANVAS


def test_high_quality_leaves_models_on_the_canvas_that_their_authors_fix() -> None:
    high = make_ensemble([load_model("icl")], quality="high")
    assert isinstance(high, Ensemble) and len({id(member.model) for member in high.members}) == 1
    assert [member.mirrored for member in high.members] == [False, True]


SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "raw": RAW,
    "reset": raw(state="reset"),
    "every third": {"recurrence": RecurrenceOptions(every=3)},
    "looking ahead": {"smooth": SmoothOptions(smoothing="gaussian", time_constant_seconds=0.08)},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_maps_do_not_depend_on_how_the_video_is_cut_into_calls(unlike: SaliencyModel, name: str) -> None:
    clip = made_frames(12, cut_at=7)
    whole = joined(predict([clip], unlike, **SETTINGS[name]))
    again = joined(predict(parts(clip, [3, 1, 8]), unlike, **SETTINGS[name]))
    assert again.index.tolist() == list(range(12)) and again.cut.tolist() == [n == 7 for n in range(12)]
    torch.testing.assert_close(again.density, whole.density, atol=2e-6, rtol=1e-3)
    torch.testing.assert_close(whole.density.sum((1, 2)), torch.ones(12))


@pytest.mark.parametrize("quality", ["standard", "high"])
def test_videos_side_by_side_give_the_maps_of_each_alone(model: SaliencyModel, quality: Any) -> None:
    ensemble = make_ensemble([model, other_model()], quality=quality)
    clips = three_clips()
    results = by_stream(predict_streams(clips, ensemble, side_by_side=2, **RAW), 3)
    for clip, batches in zip(clips, results, strict=True):
        alone = joined(predict(clip, ensemble, **RAW))
        torch.testing.assert_close(joined(batches).density, alone.density, atol=1e-6, rtol=1e-3)


def test_a_live_source_is_shown_frame_by_frame_with_the_same_maps(unlike: SaliencyModel) -> None:
    clip = made_frames(6)
    live = dataclasses.replace(clip, live=True)
    np.testing.assert_allclose(maps_of(unlike, live), maps_of(unlike, clip), atol=2e-6, rtol=1e-3)


def test_a_state_that_is_dropped_or_a_members_that_is_anothers_shows(model: SaliencyModel) -> None:
    both = Ensemble([Member(model, 1.0), Member(model, 1.0, mirrored=True)], card=model.card)
    clip = made_frames(12)
    whole = maps_of(both, clip, cuts=NO_CUTS)
    first, second = parts(clip, [6, 6])
    assert np.abs(maps_of(both, second, cuts=NO_CUTS) - whole[6:]).sum((1, 2)).max() > 0.01
    predictor = vidsal.VideoPredictor(both, cuts=NO_CUTS, **RAW)
    predictor.update(first)
    state: Any = predictor._state
    predictor._state = type(state)(state.members[::-1])
    (swapped,) = predictor.update(second)
    assert np.abs(swapped.density.numpy() - whole[6:]).sum((1, 2)).max() > 0.001


def test_states_are_joined_and_split_by_videos(unlike: SaliencyModel) -> None:
    predictors = [vidsal.VideoPredictor(unlike, **RAW) for _ in range(2)]
    for predictor, clip in zip(predictors, (made_frames(2), made_frames(5)), strict=True):
        predictor.update(clip)
    one, two = (predictor._state for predictor in predictors)
    assert one is not None and two is not None
    back = type(one).join([one, two]).row(1)

    def tensors(state: Any) -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        state.map(lambda tensor: found.append(tensor) or tensor)
        return found

    assert len(tensors(two)) == 5  # hidden and cell of two networks, what icl keeps
    for got, wanted, other in zip(tensors(back), tensors(two), tensors(one), strict=True):
        assert torch.equal(got, wanted)
        assert wanted.numel() == 0 or not torch.equal(wanted, other)


def test_the_time_of_all_members_is_counted(unlike: SaliencyModel) -> None:
    clock = StageClock()
    list(predict([made_frames(2)], unlike, clock=clock))
    assert {"preprocess", "model"} <= clock.seconds.keys()


# What is refused.


def test_drivers_and_people_who_only_watch_are_not_mixed(model: SaliencyModel) -> None:
    driver = SaliencyModel(make_network(1), preprocess=CANVAS, card=ModelCard(name="sam-lite-driver"))
    with pytest.raises(ConfigError, match=r"^sam-lite-driver predicts the gaze of drivers and tiny that of people who"):
        make_ensemble([model, driver])
    assert make_ensemble([driver], quality="high").task == "driving"
    assert make_ensemble([model], quality="high").task == "free-viewing"


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ((1,), "model_shares must be a number for each of 2 models, got 1"),
        ((1, 0), "model_shares must be finite numbers above 0, got 1, 0"),
        ((1, float("nan")), "model_shares must be finite numbers above 0, got 1, nan"),
    ],
)
def test_shares_are_one_positive_number_a_model(model: SaliencyModel, shares: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_ensemble([model, other_model()], shares=shares)


def test_more_steps_than_any_member_knows_are_refused(model: SaliencyModel, unlike: SaliencyModel) -> None:
    with pytest.raises(ConfigError, match="steps is 2, but this model looks at each frame once"):
        list(predict([made_frames(1)], unlike, recurrence=RecurrenceOptions(steps=2)))


def test_an_ensemble_has_no_network_of_its_own(unlike: SaliencyModel) -> None:
    with pytest.raises(ConfigError, match="not of one canvas: use predict"):
        unlike(torch.zeros(1, 1, 3, 48, 64))
    with pytest.raises(ConfigError, match="is an ensemble, no network of SAM's family"):
        vidsal.published_map(unlike, np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(AttributeError, match="an ensemble has no network of its own"):
        _ = unlike.network


# Loading, running, recording.


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("pair")
    return [str(make_checkpoint(folder / f"{name}.safetensors", seed)) for seed, name in enumerate(("one", "two"))]


def test_a_list_of_names_is_loaded_as_one_model(pair: list[str]) -> None:
    loaded = load_ensemble([*pair, "uniform"], device="cpu", precision="fp32", shares=[2, 1, 1], mean="linear")
    assert isinstance(loaded, Ensemble) and loaded.mean == "linear"
    assert [member.share for member in loaded.members] == [0.5, 0.25, 0.25]
    assert loaded.card.licence == "MIT"
    assert load_ensemble(pair[0]).card.name == "tiny" and not isinstance(load_ensemble(pair[:1]), Ensemble)
    with pytest.raises(ConfigError, match="is named twice"):
        load_ensemble([pair[0], pair[0]])
    with pytest.raises(ConfigError, match="needs at least one model"):
        load_ensemble([])


def test_what_makes_other_maps_has_another_sha256(model: SaliencyModel) -> None:
    second = other_model()
    made = [
        model,
        make_ensemble([model], quality="high"),
        make_ensemble([model, second]),
        make_ensemble([second, model]),
        make_ensemble([model, second], shares=[2, 1]),
        make_ensemble([model, second], mean="linear"),
        make_ensemble([model, second], quality="high"),
    ]
    assert len({one.sha256 for one in made}) == len(made)
    assert make_ensemble([model, second], shares=[3, 3]).sha256 == made[2].sha256


def test_a_run_records_the_members_and_is_made_again_where_they_differ(pair: list[str], tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=4)
    names = ",".join(pair)

    def go(**given: Any) -> str:
        options = RunOptions(
            model=ModelOptions(names, device="cpu", precision="fp32", **given),
            output=OutputOptions(video=False, existing="skip"),
        )
        return run(clip, options=options).status

    assert go(model_shares=(3.0, 1.0)) == "done" and go(model_shares=(0.75, 0.25)) == "skipped"
    model = json.loads((tmp_path / "clip.vidsal.json").read_text())["model"]
    assert model["name"] == "tiny + tiny" and model["ensemble"]["mean"] == "geometric"
    members = model["ensemble"]["members"]
    assert [one["share"] for one in members] == [0.75, 0.25] and not any(one["mirrored"] for one in members)
    assert [one["sha256"] for one in members] == [checkpoint.sha256_of(Path(path)) for path in pair]
    for changed in ({}, {"model_shares": (3.0, 1.0), "model_mean": "linear"}):
        with pytest.raises(ExistsError, match=r"model\.sha256 was"):
            go(**changed)


def test_names_are_split_at_commas_but_for_a_file_whose_name_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one,two.safetensors").write_bytes(b"")
    assert ModelOptions("one,two.safetensors").named == ("one,two.safetensors",)
    assert ModelOptions(r"sam-lite , C:\models\a:0.7.safetensors").named == (
        "sam-lite",
        r"C:\models\a:0.7.safetensors",
    )
    for wrong in ("sam-lite,", ",sam-lite", "a,,b"):
        with pytest.raises(ConfigError, match="names no model before or after a comma"):
            ModelOptions(wrong)


def test_an_ensemble_runs_from_the_command_line(
    pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=3)
    with_colon = shutil.copy(pair[1], tmp_path / "a:0.5.safetensors")
    words = ["--model", f"{pair[0]},{with_colon}", "--model-shares", "3,1", "--quality", "high", "--device", "cpu"]
    assert status_of("run", clip, "--no-video", "-q", *words) == 0
    model = json.loads((tmp_path / "clip.vidsal.json").read_text())["model"]
    assert [one["share"] for one in model["ensemble"]["members"]] == [0.375, 0.375, 0.125, 0.125]
    assert [one["mirrored"] for one in model["ensemble"]["members"]] == [False, True, False, True]
    capsys.readouterr()
    for words, wanted in (
        (["run", clip, "--model", "sam-lite,sam-light"], "no model 'sam-light'"),
        (["run", clip, "--model", ",".join(pair), "--model-shares", "1,2,3"], "2 models are named, got 1, 2, 3"),
        (["run", clip, "--model", ",".join(pair), "--model-shares", "1,-2"], "--model-shares must be above 0, got -2"),
        (["run", clip, "--model", "sam-lite", "--model-shares", "[1]", "--quality", "best"], "--quality must be one"),
        (["run", clip, "--model", "sam-lite,sam-lite-driver"], "must be of one kind"),
        (["run", clip, "--model", "sam-lite,gbvs", "--task", "driving"], "no model of 'gbvs' for the task driving"),
        (["export", ",".join(pair), "-o", tmp_path / "x.onnx"], "export its models one by one"),
    ):
        assert status_of(*words) in (1, 2)
        (said,) = capsys.readouterr().err.splitlines()[-1:]
        assert wanted in said, said


def test_an_ensemble_is_scored_as_one_model_under_a_name_of_its_own(
    pair: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_stills(tmp_path / "made")
    words = ["--model", ",".join(pair), "--model-shares", "3,1", "--baselines", "none", "--draws", "10"]
    assert status_of("eval", "simple", "made", "--split", "val", "-q", "--precision", "fp32", *words) == 0
    (out,) = tmp_path.glob("*.vidsal-eval")
    assert "one+two-3-1" in out.name
    source = json.loads((out / "summary.json").read_text())["source"]
    assert source["name"] == "tiny + tiny"
    assert [member["share"] for member in source["ensemble"]["members"]] == [0.75, 0.25]
