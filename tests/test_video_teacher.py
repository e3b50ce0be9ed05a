"""The recipe for video: what goes in comes out, windows move everything alike, and a step of it all makes a model."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from made import make_stills
from media import make_video
from safetensors import safe_open

from vidsal.errors import DatasetError
from vidsal.frames import FrameBatch
from vidsal.model.checkpoint import read_checkpoint
from vidsal.model.ensemble import load_ensemble
from vidsal.pipe.predict import predict
from vidsal.preprocess import Viewport
from vidsal.stages import ViewerOptions

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def teacher() -> ModuleType:
    return importlib.import_module("video_teacher")


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    return importlib.import_module("train_sam_lite_video")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of six frames: two of tier A, of two sources and shapes, and one whose licence nobody states."""
    folder = tmp_path_factory.mktemp("clips")
    with (folder / "SOURCES.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "source", "licence", "attribution", "tier"])
        for name, tier in (("a", "A"), ("b", "A"), ("c", "B")):
            make_video(folder / f"{name}.mp4", frames=6, rate=10, width=96 if name == "b" else 72, height=54)
            rows.writerow([f"{name}.mp4", f"example.org/{name}", "MIT", f"Maker {name}", tier])
    return folder


def test_only_clips_with_a_licence_of_their_own_are_found(teacher: ModuleType, clips: Path) -> None:
    found = teacher.find_clips(clips, [])
    assert [path.name for path in found] == ["a.mp4", "b.mp4"]
    assert found[clips / "b.mp4"] == teacher.Credit("example.org/b", "MIT", "Maker b")


def test_a_video_of_unknown_licence_is_refused(teacher: ModuleType, clips: Path) -> None:
    with pytest.raises(DatasetError, match="licence is not known"):
        teacher.find_clips(None, [clips / "c.mp4"])
    with pytest.raises(DatasetError, match=r"SOURCES\.csv"):
        teacher.find_clips(clips / "nowhere", [])


def test_maps_come_back_as_they_were_to_half_a_step(teacher: ModuleType, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    logs = -random.uniform(0, 14, (3, teacher.ROWS, teacher.COLUMNS)).astype(np.float32)
    levels = np.clip(np.round(255 + logs / 0.05), 0, 255).astype(np.uint8)
    path = tmp_path / "taught.safetensors"
    teacher.save_taught(path, {"a.mp4": teacher.TaughtClip(levels, (0, 2), 0.08)}, teacher="somebody")
    read = teacher.load_taught([path])["a.mp4"]
    assert (read.starts, read.seconds_a_frame) == ((0, 2), 0.08)
    back = teacher.log_density(torch.from_numpy(read.levels)).numpy()
    kept = logs > -12.7
    assert np.abs(back - logs)[kept].max() <= 0.0251
    assert back[~kept].max() < -12.6
    path.write_bytes(b"torn")
    with pytest.raises(DatasetError, match="cannot be read"):
        teacher.load_taught([path])


@pytest.mark.parametrize("canvas", [None, (208, 352)])
@pytest.mark.parametrize("seed", range(6))
def test_a_window_moves_pixels_maps_and_points_alike(
    recipe: ModuleType, seed: int, canvas: tuple[int, int] | None
) -> None:
    view = Viewport.fit(252, 448, canvas_height=240, canvas_width=320)
    y, x = np.mgrid[:240, :320] + 0.5
    spot = np.exp(-((y - 120.5) ** 2 + (x - 130.5) ** 2) / 72)
    frames = torch.from_numpy((255 * spot).astype(np.uint8)).expand(1, 3, -1, -1)
    rows, columns = np.mgrid[:60, :80] + 0.5
    away = (rows * view.height / 60 + view.top - 120.5) ** 2 + (columns * view.width / 80 + view.left - 130.5) ** 2
    logs = torch.from_numpy(-away / 72).float().clamp_min(-12)[None]
    points = torch.tensor([[[130.5, 120.5], [-50.0, 3.0], [np.nan, np.nan]]])
    random = np.random.default_rng(seed)
    draw = partial(recipe.Shown.draw, view, random, smallest=0.8, probability=1.0 if canvas is None else 0.8)
    shown = [draw(canvas=canvas, shaped=canvas is not None)]
    inside = recipe.inside_of(shown, CPU)
    assert inside.shape[1:] == (canvas or (240, 320))
    density, counts = recipe.show_points(points, [6.0], shown, inside)
    assert counts.sum() == 1 and density.sum() == pytest.approx(1, abs=1e-4)
    assert counts[0].nonzero()[0].tolist() == [int(value) for value in centre(density[0])]
    for other in (recipe.show(frames, shown, inside)[0, 0], recipe.show_maps(logs, shown, inside)[0]):
        assert np.abs(centre(other) - centre(density[0])).max() < 0.5
        assert not other[~inside[0]].any()


def centre(values: torch.Tensor) -> np.ndarray:
    """Row and column of the centre of mass, in pixels."""
    y, x = np.mgrid[: values.shape[0], : values.shape[1]] + 0.5
    weights = np.maximum(values.numpy() - 0.02 * float(values.max()), 0)
    return np.array([np.average(y, weights=weights), np.average(x, weights=weights)])


def test_the_whole_picture_is_shown_as_the_model_sees_it_at_run_time(recipe: ModuleType) -> None:
    view = Viewport.fit(100, 320, canvas_height=240, canvas_width=320)
    frames = torch.randint(0, 256, (1, 3, 240, 320), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    shown = [recipe.Shown.whole(view)]
    inside = recipe.inside_of(shown, CPU)
    assert inside.sum() == 100 * 320
    difference = recipe.show(frames, shown, inside) - frames * inside[:, None]
    assert difference.abs().max() < 0.05
    unchanged = recipe.recolour(frames.float(), [recipe.Look()], torch.ones_like(inside))
    assert (unchanged - frames).abs().max() < 0.01


def test_what_fills_another_canvas_is_cut_from_the_middle(recipe: ModuleType) -> None:
    view = Viewport.fit(600, 800, canvas_height=288, canvas_width=384)
    filling = recipe.Shown.fitted(view, (208, 352), shaped=True)
    assert (filling.x, filling.width) == (0, 384)
    assert filling.target.height >= 207 and filling.target.width == 352
    assert filling.y + filling.height / 2 == pytest.approx(144) and filling.height == pytest.approx(384 * 208 / 352)
    everything = recipe.Shown.fitted(view, (208, 352))
    assert (everything.height, everything.width, everything.target.width) == (288, 384, 277)


def test_frames_that_were_passed_over_lie_between_those_beside_them(teacher: ModuleType) -> None:
    clip = teacher.Clip("a.mp4", np.zeros((8, 2, 2, 3), np.uint8), 0.08, (0, 3, 5))
    logs = torch.zeros(8, 1, 1)
    seen = {0, 2, 3, 6}
    for t in seen:
        logs[t] = t * t + 1
    teacher.fill_between(logs, seen, clip)
    # 4 ends its shot, 5 begins one, and nobody saw the frames on both sides of 7 but 6.
    assert logs.flatten().tolist() == [1, 3, 5, 10, 10, 37, 37, 37]


def test_a_model_of_the_package_teaches_what_it_says_itself(teacher: ModuleType, clips: Path) -> None:
    model = load_ensemble(["sam-lite"], device="cpu", precision="fp32")
    clip = teacher.read_clip(clips / "b.mp4")
    logs = teacher.OwnModel(model)(clip)
    assert logs.shape == (6, teacher.ROWS, teacher.COLUMNS) and (logs.max((1, 2)) == 0).all()
    shown = FrameBatch(np.arange(6), np.arange(6) * clip.seconds_a_frame, clip.frames, *clip.frames.shape[1:3])
    (own,) = predict([shown], model, viewers=ViewerOptions("off"))
    cells = torch.nn.functional.interpolate(own.density[:, None], (teacher.ROWS, teacher.COLUMNS), mode="area")[:, 0]
    log = cells.log().numpy()
    assert np.abs(logs - (log - log.max((1, 2), keepdims=True))).max() < 1e-3
    halved = teacher.OwnModel(model, halved=True)(clip)
    np.testing.assert_allclose(halved[1], (lambda m: m - m.max())(halved[[0, 2]].mean(0)), atol=0.5)
    assert (halved[5] == halved[4]).all()


@pytest.fixture(scope="module")
def taught(teacher: ModuleType, clips: Path) -> Path:
    """As a teacher would look in the upper left corner."""
    rows, columns = np.mgrid[: teacher.ROWS, : teacher.COLUMNS]
    levels = np.maximum(255 - rows - columns, 0).astype(np.uint8)
    made = {}
    for clip in teacher.read_clips(list(teacher.find_clips(clips, [])), threads=1):
        made[clip.name] = teacher.TaughtClip(np.stack([levels] * len(clip.frames)), clip.starts, clip.seconds_a_frame)
    teacher.save_taught(clips / "taught.safetensors", made, teacher="a corner")
    return clips / "taught.safetensors"


@pytest.fixture
def asked(clips: Path, taught: Path, tmp_path: Path) -> list[str]:
    """The smallest steps, on two clips and a set of eight stills; the file of the teacher's maps comes second."""
    stills = make_stills(tmp_path / "set", count=8)
    data = ["--taught", str(taught), "--clips", str(clips), "--stills", str(stills), "--pictures", "2"]
    return [*data, "--streams", "1", "--times", "2", "--made", "1", "--singles", "1", "--judged", "1"]


def test_steps_approach_the_teacher_and_the_card_names_what_was_learnt_from(
    recipe: ModuleType, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    eager = ["--learning-rate", "1e-3", "--average-decay", "0"]
    assert recipe.main([str(tmp_path / "out"), *asked, "--steps", "2", *eager]) == 0
    printed = capsys.readouterr().out
    start, end = (line for line in printed.splitlines() if line.startswith("KL on clips learnt from"))
    assert float(end.split(":")[1]) < float(start.split(":")[1].split(";")[0])
    path = tmp_path / "out" / "sam-lite-video.safetensors"
    trained, _, card = read_checkpoint(path)
    # example.org/a, the first of the sources, is held out.
    assert "example.org/b (Maker b; MIT)" in card.training_data[-1]
    assert "example.org/a" not in card.training_data[-1]
    assert json.loads(card.training)["steps"] == 2
    before, _, _ = read_checkpoint(recipe.weights_path("sam-lite"))
    norms = [name for name in trained.state_dict() if "running" in name]
    assert norms
    for name in norms:
        torch.testing.assert_close(trained.state_dict()[name], before.state_dict()[name].half().float())

    joined, _ = recipe.join(["sam-lite", str(path)], [1, 3], 1.5)
    for name, value in joined.head.out.named_parameters():
        pair = [network.head.out.get_parameter(name) for network in (before, trained)]
        torch.testing.assert_close(value, 1.5 * (pair[0] + 3 * pair[1]) / 4)
    with pytest.raises(DatasetError, match="share"):
        recipe.join(["sam-lite", str(path)], [1], 1.0)


def test_clips_are_learnt_on_canvases_of_their_shape(
    recipe: ModuleType, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    eager = ["--learning-rate", "1e-3", "--average-decay", "0"]
    shapes = ["--canvases", "208x352", "--student-maps", asked[1]]
    assert recipe.main([str(tmp_path / "out"), *asked, "--steps", "2", *eager, *shapes]) == 0
    printed = capsys.readouterr().out
    assert "2 clips of 12 frames, on 240x320: 1, 208x352: 1" in printed
    start, end = (line for line in printed.splitlines() if line.startswith("KL on clips learnt from"))
    assert float(end.split(":")[1]) < float(start.split(":")[1].split(";")[0])
    assert "set, 208x352" in printed
    with pytest.raises(DatasetError, match="no clips for a canvas of 288x176"):
        recipe.main([str(tmp_path / "out"), *asked, "--steps", "2", "--canvases", "288x176"])
    with pytest.raises(SystemExit):
        recipe.main([str(tmp_path / "out"), *asked, "--steps", "2", "--canvases", "200x352"])
    assert "multiples of 16" in capsys.readouterr().err


def test_a_smaller_canvas_is_learnt_without_the_backbone(
    recipe: ModuleType, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smaller = ["--size", "176x240", "--canvases", "144x256", "--frozen-backbone", "--student-maps", asked[1]]
    result = ["--builds-on", "sam-lite", "--name", "own", "--description", "Smaller."]
    assert recipe.main([str(tmp_path / "out"), *asked, "--steps", "1", *smaller, *result]) == 0
    assert "on 192x240: 1, 144x256: 1" in capsys.readouterr().out
    path = tmp_path / "out" / "own-video.safetensors"
    with safe_open(path, framework="pt") as file:
        stored = list(file.keys())
    assert stored and not [name for name in stored if name.startswith("backbone.")]
    _, preprocess, card = read_checkpoint(path)
    usual = read_checkpoint(recipe.weights_path("sam-lite"))[1]
    assert preprocess == dataclasses.replace(usual, height=176, width=240)
    assert (card.name, card.description) == ("own", "Smaller.") and json.loads(card.training)["frozen_backbone"]


def test_it_goes_on_from_its_own_result_and_shows_whole_stills_too(
    recipe: ModuleType, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = ["--canvases", "208x352", "--student-maps", asked[1], "--frozen-backbone"]
    assert recipe.main([str(tmp_path / "a"), *asked, "--steps", "1", *shapes]) == 0
    learnt: set[tuple[int, ...]] = set()
    whole = recipe.SaliencyAttentiveModel.forward

    def forward(network: torch.nn.Module, frames: torch.Tensor, *rest: object, **others: object) -> object:
        if torch.is_grad_enabled():
            learnt.add(tuple(frames.shape[-2:]))
        return whole(network, frames, *rest, **others)

    monkeypatch.setattr(recipe.SaliencyAttentiveModel, "forward", forward)
    first = str(tmp_path / "a" / "sam-lite-video.safetensors")
    more = ["--start-from", first, "--anchor", "sam-lite", "--whole", "1"]
    assert recipe.main([str(tmp_path / "b"), *asked, "--steps", "1", *shapes, *more]) == 0
    # The clip that is learnt from has the one canvas, the still the model's own.
    assert learnt == {(208, 352), (240, 320)}
    _, _, card = read_checkpoint(tmp_path / "b" / "sam-lite-video.safetensors")
    assert [text for text in card.training_data if "example.org/b" in text] == [card.training_data[-1]]
    assert "of sam-lite, smoothed" in card.training_data[-1] and str(tmp_path) not in str(card)


def test_joined_weights_are_stored_as_what_differs_from_a_preset(
    recipe: ModuleType, asked: list[str], tmp_path: Path
) -> None:
    first = ["--steps", "1", "--frozen-backbone", "--student-maps", asked[1]]
    assert recipe.main([str(tmp_path / "a"), *asked, *first]) == 0
    trained = str(tmp_path / "a" / "sam-lite-video.safetensors")
    joined = ["--join", "sam-lite", trained, "--shares", "1", "1", "--student-maps", asked[1]]
    assert recipe.main([str(tmp_path / "b"), *asked, *joined, "--builds-on", "sam-lite", "--name", "both"]) == 0
    path = tmp_path / "b" / "both-video.safetensors"
    assert path.stat().st_size < 0.6 * Path(trained).stat().st_size
    network, _, card = read_checkpoint(path)
    means = [read_checkpoint(one)[0].head.out.weight for one in (recipe.weights_path("sam-lite"), trained)]
    torch.testing.assert_close(network.head.out.weight, sum(means) / 2, rtol=2e-3, atol=1e-5)
    assert card.name == "both" and "kl" in card.scores["clips"]
