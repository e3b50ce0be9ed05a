"""The trainer learns, resumes exactly, ends early, and refuses nonsense; on pictures of 48x64 and 64x64."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import pytest
import torch
from made import CANVAS, LIGHT, TINY, make_checkpoint, make_stills
from torchvision_models import import_torchvision_models

from vidsal.config import read_file, resolve
from vidsal.data.clips import AugmentOptions, Clip, make_clip
from vidsal.data.fixations import density_from_fixations, fixation_counts
from vidsal.data.options import VideoSet
from vidsal.data.teacher import TeacherPicture, load_teacher_set, save_teacher_set
from vidsal.errors import CheckpointError, ConfigError, EncodeError
from vidsal.losses import LossOptions
from vidsal.model.checkpoint import PRESETS, SaliencyModel, read_checkpoint
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig
from vidsal.preprocess import PreprocessOptions, Preprocessor
from vidsal.train import CardText, ScheduleOptions, TrainConfig, TrainProgress, train
from vidsal.train.run import TrainingRun
from vidsal.train.samples import Step, make_plan, open_data, taught_clip
from vidsal.train.score import validate
from vidsal.train.start import initialise_as_published, make_optimizer, rate_share

SCHEDULE = ScheduleOptions(passes=2, frames_per_step=4, learning_rate=3e-3, backbone_learning_rate=3e-3)


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stills(tmp_path_factory.mktemp("data") / "mine")


def config(stills: Path, output: Path, **changes: object) -> TrainConfig:
    values: dict[str, object] = {
        "datasets": (stills,),
        "output": output,
        "model": dataclasses.replace(TINY, dropout=0.2),
        "preprocess": CANVAS,
        "freeze_backbone_statistics": False,
        "schedule": SCHEDULE,
        "device": "cpu",
        "checkpoint_every_steps": 100,
        "card": CardText(name="tiny", licence="MIT"),
    }
    return TrainConfig(**(values | changes))  # type: ignore[arg-type]


def test_training_lowers_the_loss_and_writes_a_whole_checkpoint(stills: Path, tmp_path: Path) -> None:
    losses: list[TrainProgress] = []
    schedule = dataclasses.replace(SCHEDULE, passes=10, frames_per_step=8, clip_lengths={1: 0.5, 2: 0.5})
    path = train(config(stills, tmp_path, schedule=schedule), on_progress=losses.append)
    assert losses[-1].step == losses[-1].steps and losses[-1].pass_number == 10
    assert losses[-1].loss < 0.75 * losses[0].loss
    _, preprocess, card = read_checkpoint(path)
    assert (path.name, preprocess, card.licence) == ("tiny.safetensors", CANVAS, "MIT")
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["pass"] for entry in log] == list(range(1, 11))
    assert set(card.scores) == {"mine"} and card.scores["mine"]["nss"] > 0.5
    assert log[-1]["validation"]["mine"] == pytest.approx(card.scores["mine"])


def test_a_run_that_was_killed_and_resumed_ends_as_an_unbroken_one(stills: Path, tmp_path: Path) -> None:
    whole = train(config(stills, tmp_path / "whole"))
    broken = config(stills, tmp_path / "broken", checkpoint_every_steps=2)
    assert train(broken, stop_after_steps=3).name == "state.pt"
    # Killed after the state was saved but with log lines of steps that are lost.
    with (tmp_path / "broken" / "log.jsonl").open("a") as stream:
        stream.write(json.dumps({"step": 99}) + "\n")
    assert train(broken, stop_after_steps=1).name == "state.pt"
    resumed = train(broken)
    a, b = (read_checkpoint(path)[0].state_dict() for path in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)
    logs = [
        [
            (entry["validation"], entry["loss"])
            for entry in map(json.loads, (tmp_path / name / "log.jsonl").read_text().splitlines())
        ]
        for name in ("whole", "broken")
    ]
    assert logs[0] == logs[1] and len(logs[0]) == 2
    other = train(config(stills, tmp_path / "other", seed=1))
    c = read_checkpoint(other)[0].state_dict()
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_a_full_disk_is_told_and_the_state_before_is_kept(
    stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = train(config(stills, tmp_path), stop_after_steps=1).read_bytes()

    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # torch raises an error of its own over the system's.
    monkeypatch.setattr(torch, "save", lambda state, file, save=torch.save: save(state, Full()))
    with pytest.raises(EncodeError, match=r"state\.pt: the disk is full"):
        train(config(stills, tmp_path), stop_after_steps=1)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("state.pt*")} == {"state.pt": before}


def test_a_state_of_another_configuration_is_not_resumed(stills: Path, tmp_path: Path) -> None:
    train(config(stills, tmp_path), stop_after_steps=1)
    with pytest.raises(ConfigError, match="another configuration"):
        train(config(stills, tmp_path, seed=5))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    older = json.loads(state["config"])
    del older["loss"], older["seed"]  # a run from before there were these options
    torch.save(state | {"config": json.dumps(older)}, tmp_path / "state.pt")
    train(config(stills, tmp_path), stop_after_steps=1)
    (tmp_path / "state.pt").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        train(config(stills, tmp_path))


def test_fine_tuning_takes_the_weights_and_the_architecture_of_a_checkpoint(stills: Path, tmp_path: Path) -> None:
    start = make_checkpoint(tmp_path / "start.safetensors")
    still = dataclasses.replace(
        SCHEDULE, passes=1, learning_rate=1e-30, backbone_learning_rate=0.0, weight_decay=0.0, average_decay=0.0
    )
    run = config(
        stills,
        tmp_path / "run",
        model=None,
        preprocess=None,
        start_from=start,
        schedule=still,
        freeze_backbone_statistics=True,
    )
    tuned, begun = read_checkpoint(train(run))[0], read_checkpoint(start)[0]
    assert tuned.config == begun.config
    kernels = [name for name, value in begun.state_dict().items() if value.ndim == 4]
    assert all(torch.equal(tuned.state_dict()[name], begun.state_dict()[name]) for name in kernels)


RECIPE = ScheduleOptions(
    passes=2,
    frames_per_step=1,
    clip_lengths={1: 1.0},
    optimizer="rmsprop",
    schedule="constant",
    learning_rate=1e-4,
    backbone_learning_rate=1e-4,
    weight_decay=0,
    clip_gradient_norm=0,
    average_decay=0,
)
SQUARE = PreprocessOptions(height=64, width=64)
PUBLISHED = {
    "sam-resnet": SAMConfig("resnet50", 16, 2, "none", 4, 2, 4, "published"),
    # VGG-16 has its own 512 channels.
    "sam-vgg": SAMConfig("vgg16", 512, 2, "none", 4, 2, 4, "published"),
}


@pytest.fixture(scope="module")
def one_still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One picture to train on, one to validate on."""
    return make_stills(tmp_path_factory.mktemp("data") / "one", count=2)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """State dicts as torchvision's, with random weights."""
    models, folder = import_torchvision_models(), tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(models.resnet50(weights=None).state_dict(), folder / "sam-resnet.pth")
    # A classifier of one class: the real one has 100 million weights that are not read.
    vgg = models.vgg16(weights=None, num_classes=1).state_dict()
    torch.save({name: value for name, value in vgg.items() if name.startswith("features.")}, folder / "sam-vgg.pth")
    return {preset: folder / f"{preset}.pth" for preset in PUBLISHED}


def published(preset: str, one_still: Path, output: Path, imagenet: dict[str, Path], **changes: object) -> TrainConfig:
    values: dict[str, object] = {
        "preset": preset,
        "model": PUBLISHED[preset],
        "preprocess": SQUARE,
        "imagenet_weights": imagenet[preset],
        "freeze_backbone_statistics": True,
        "schedule": RECIPE,
    }
    return config(one_still, output, **(values | changes))


def begin(run: TrainConfig) -> tuple[TrainingRun, Callable[[int, int], float]]:
    """A run, and what does a step of it on the first training picture: step number, frames of the clip -> loss."""
    training = open_data(run).training_stills
    moving = TrainingRun(run, torch.device("cpu"), 100)

    def step(number: int, times: int) -> float:
        random = np.random.default_rng(number)
        clip = make_clip(training[0], times=times, preprocess=moving.preprocess, augment=None, random=random)
        return moving.train_step(Step(0, (0,), times, number), [clip])

    return moving, step


@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_published_network_learns_a_picture_with_all_its_parameters(
    one_still: Path, tmp_path: Path, imagenet: dict[str, Path], preset: str
) -> None:
    # BGR minus means, as its preset, and the notes say that the weights were trained on something else.
    caffe = dataclasses.replace(PRESETS[preset].preprocess, height=64, width=64)
    run, step = begin(published(preset, one_still, tmp_path, imagenet, preprocess=caffe))
    assert ["v1.5" in note for note in run.notes] == ([True, False] if preset == "sam-resnet" else [False])
    assert "another input" in run.notes[-1]
    first = step(0, 1)
    without = {name for name, value in run.network.named_parameters() if not value.grad.any()}  # type: ignore[union-attr]
    # V_a starts at zero: what stands before it gets nothing in the very first step.
    before_v = {"attention_hidden.weight", "attention_hidden.bias", "attention_input.weight", "attention_input.bias"}
    assert without == {f"recurrence.{name}" for name in before_v}
    # The second step is a clip of two frames, the state carried over.
    step(1, 2)
    for name, value in run.network.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all() and value.grad.any(), name
    # Centres and widths outside their bounds are clipped and stand still, as published; the others all move.
    for priors in run.network.priors:
        vector = priors.parameters_vector
        low, high = torch.tensor([[0.25, 0.35, 0.1, 0.2], [0.75, 0.65, 0.9, 0.8]]).repeat_interleave(4, 1)
        assert torch.equal(vector.grad != 0, (vector > low) & (vector < high))
    later = [step(number, 1) for number in range(2, 4)]
    assert later[-1] < first - 0.5, (first, later)


def test_a_published_network_resumed_ends_as_an_unbroken_one(
    one_still: Path, tmp_path: Path, imagenet: dict[str, Path]
) -> None:
    made = published("sam-resnet", one_still, tmp_path, imagenet)
    whole, step = begin(made)
    for number in range(3):
        if number == 2:
            whole.save()
        step(number, 1)
    resumed, step = begin(made)
    resumed.resume()
    assert resumed.step == 2
    step(2, 1)
    a, b = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    # Without its optimiser's memory it would not.
    forgetful, step = begin(made)
    forgetful.network.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True)["network"])
    step(2, 1)
    assert not torch.equal(forgetful.network.state_dict()["head.out.weight"], a["head.out.weight"])


@pytest.mark.slow
@pytest.mark.parametrize("preset", PUBLISHED)
def test_training_a_published_network_says_on_its_card_how_the_first_weights_fit(
    one_still: Path, tmp_path: Path, imagenet: dict[str, Path], preset: str
) -> None:
    words = CardText(name="mine", initialisation="torchvision, ImageNet.")
    once = dataclasses.replace(RECIPE, passes=1)
    made = published(preset, one_still, tmp_path, imagenet, card=words, schedule=once, weights_dtype="bf16")
    seen: list[TrainProgress] = []
    network, preprocess, card = read_checkpoint(train(made, on_progress=seen.append))
    assert (network.config, preprocess) == (PUBLISHED[preset], SQUARE)
    assert card.initialisation == " ".join(["torchvision, ImageNet.", *seen[0].notes])
    assert ("v1.5" in card.initialisation) is (preset == "sam-resnet")
    weight = network.state_dict()["recurrence.gates_hidden.weight"]
    assert torch.equal(weight, weight.bfloat16().float()) and weight.any()


@pytest.mark.parametrize("name", ["sam-resnet", "sam-vgg"])
def test_the_recipe_of_a_published_network_trains_the_published_network(name: str) -> None:
    file = Path(__file__).parents[1] / "configs" / f"train_{name.replace('-', '_')}.yaml"
    recipe = resolve(TrainConfig, read_file(file, TrainConfig))
    assert recipe.model == PRESETS[name].config
    assert recipe.preprocess == dataclasses.replace(PreprocessOptions(), blur_pixels=7.0)
    assert recipe.schedule == dataclasses.replace(
        RECIPE, passes=10, undetected_cut_probability=0.0, early_stopping_patience=3
    )
    assert dataclasses.replace(recipe.loss, kl_epsilon=0.0) == LossOptions(10.0, -2.0, -1.0)
    assert recipe.loss.kl_epsilon == pytest.approx(1e-7 * 480 * 640 / (240 * 320))


def test_rmsprop_is_keras_formula_and_the_rate_stays() -> None:
    random = np.random.default_rng(1)
    weight, memory = random.normal(size=5), np.zeros(5)
    parameter = torch.nn.Parameter(torch.from_numpy(weight.copy()))
    optimizer = make_optimizer([{"params": [parameter], "lr": 1e-2, "weight_decay": 0.0}], RECIPE)
    for number in range(6):
        gradient = random.normal(size=5) * 10.0 ** -(2 * number)  # down to where epsilon counts
        memory = 0.9 * memory + (1 - 0.9) * gradient**2
        weight = weight - 1e-2 * gradient / (np.sqrt(memory) + 1e-8)
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        np.testing.assert_allclose(parameter.detach().numpy(), weight, rtol=1e-12)
    assert [rate_share(step, 10, RECIPE) for step in range(10)] == [1.0] * 10


def test_a_published_head_starts_alive_whatever_the_seed(one_still: Path, tmp_path: Path) -> None:
    tiny = SAMConfig("mobilenet_v2", 8, 1, "none", 2, 1, 1, "published")
    for seed in range(6):
        torch.manual_seed(seed)
        network = SaliencyAttentiveModel(tiny)
        initialise_as_published(network)
        features = torch.rand(1, 8, 4, 4, generator=torch.Generator().manual_seed(seed))
        assert (network.head.out(features) > 0).all()
        assert not network.recurrence.attention_score.weight.any()
        gate = network.recurrence.gates_hidden.weight[:8].flatten(1)
        torch.testing.assert_close(gate @ gate.T, 1.21 * torch.eye(8), atol=1e-5, rtol=1e-5)


EARLY = dataclasses.replace(SCHEDULE, passes=12, schedule="constant", early_stopping_patience=2, average_decay=0.0)


def test_a_run_ends_after_its_patience_and_keeps_the_best_pass(stills: Path, tmp_path: Path) -> None:
    # A rate so high that validation soon gets worse.
    wild = dataclasses.replace(EARLY, passes=40, learning_rate=0.05, backbone_learning_rate=0.05)
    made = config(stills, tmp_path, schedule=wild, weights_dtype="fp32")
    seen: list[TrainProgress] = []
    path = train(made, on_progress=seen.append)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [entry["validation_loss"] for entry in log]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 2 < 40
    # No earlier place where two passes in a row brought nothing.
    assert all(min(losses[n + 1 : n + 3]) < min(losses[: n + 1]) for n in range(best))
    assert f"weights of pass {best + 1} are kept" in seen[-1].notes[0] and seen[-1].step < seen[-1].steps
    assert len(seen[0].notes) == 1 and "random weights" in seen[0].notes[0]
    assert [progress.notes for progress in seen[1:-1]] == [()] * (len(seen) - 2)
    network, preprocess, card = read_checkpoint(path)
    model = SaliencyModel(network, preprocess=preprocess, card=card, device="cpu")
    assert validate(model, open_data(made), made, pictures=None).loss == pytest.approx(losses[best], rel=1e-4)
    assert losses[-1] > losses[best] and json.loads(card.training)["best_pass"] == best + 1
    # Called again, it has nothing left to do and writes the same.
    assert train(made, on_progress=seen.append) == path and seen[-1].step == log[-1]["step"]


def test_a_run_that_ends_early_can_be_killed_and_resumed(stills: Path, tmp_path: Path) -> None:
    still = dataclasses.replace(EARLY, passes=4, early_stopping_patience=1, learning_rate=0.05)
    whole = train(config(stills, tmp_path / "whole", schedule=still, weights_dtype="fp32"))
    broken = config(stills, tmp_path / "broken", schedule=still, weights_dtype="fp32")
    for _ in range(9):
        path = train(broken, stop_after_steps=2)
        if path.suffix == ".safetensors":
            break
    a, b = (read_checkpoint(one)[0].state_dict() for one in (whole, path))
    assert all(torch.equal(a[name], b[name]) for name in a)
    logs = [
        [json.loads(line)["validation_loss"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "broken")
    ]
    assert logs[0] == logs[1]


def test_weights_that_half_precision_cannot_hold_are_not_written_in_it(stills: Path, tmp_path: Path) -> None:
    made = config(stills, tmp_path)
    train(made, stop_after_steps=1)
    run = TrainingRun(made, torch.device("cpu"), 1)
    run.average.state_dict()["head.out.weight"].fill_(1e5)
    with pytest.raises(CheckpointError, match="weights_dtype=fp32"):
        run.finish({})
    wider = dataclasses.replace(made, weights_dtype="fp32")
    run.config = wider
    assert (read_checkpoint(run.finish({}))[0].state_dict()["head.out.weight"] == 1e5).all()
    # Another way to store the result is not another run.
    assert train(wider, stop_after_steps=1).name == "state.pt"


def test_a_state_saved_before_an_option_existed_is_resumed_where_the_option_is_at_its_default(
    stills: Path, tmp_path: Path
) -> None:
    made = config(stills, tmp_path)
    path = train(made, stop_after_steps=1)
    saved = torch.load(path, weights_only=True)
    values = json.loads(saved["config"])
    for name in ("optimizer", "early_stopping_patience"):
        del values["schedule"][name]
    del values["model"]["stride_in"], values["loss"]["kl_epsilon"], saved["best"], saved["passes_since_best"]
    torch.save(saved | {"config": json.dumps(values)}, path)
    with pytest.raises(ConfigError, match="another configuration"):
        train(dataclasses.replace(made, loss=LossOptions(kl_epsilon=1e-7)), stop_after_steps=1)
    seen: list[TrainProgress] = []
    train(made, stop_after_steps=1, on_progress=seen.append)
    assert seen[0].step == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"datasets": ()}, "datasets is empty"),
        ({"precision": "fp16"}, "needs CUDA"),
        ({"schedule": ScheduleOptions(frames_per_step=2, clip_lengths={4: 1.0})}, "frames_per_step"),
        ({"device": "gpu"}, "unknown device"),
        ({"schedule": ScheduleOptions(optimizer="rmsprop")}, "set weight_decay to 0"),
        ({"schedule": EARLY, "validation_pictures": 0}, "needs validation pictures"),
        ({"start_from": Path("a"), "imagenet_weights": Path("b")}, "leave one of them out"),
        (
            {"preprocess": dataclasses.replace(CANVAS, fit="shape", cells=8)},
            "preprocess.cells.*must be a multiple of 16 for this network",
        ),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    stills: Path, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        train(config(stills, tmp_path, **changes))


def test_training_for_canvases_of_the_pictures_shapes_is_on_letter_boxes(tmp_path: Path) -> None:
    wide = make_stills(tmp_path / "mine", width=120, height=60)
    of_its_shape = dataclasses.replace(CANVAS, fit="shape", cells=16)
    schedule = dataclasses.replace(SCHEDULE, passes=1)
    path = train(config(wide, tmp_path / "run", preprocess=of_its_shape, schedule=schedule))
    again = train(config(wide, tmp_path / "other", schedule=schedule))
    network, preprocess, card = read_checkpoint(path)
    assert preprocess == of_its_shape
    other, _, plain = read_checkpoint(again)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
    # What is scored is what is used.
    assert card.scores["mine"]["nss"] != plain.scores["mine"]["nss"]


def test_backbone_weights_of_another_network_are_refused(stills: Path, tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(2)}, tmp_path / "w.pth")
    run = config(stills, tmp_path / "run", model=LIGHT, imagenet_weights=tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="not MobileNetV2"):
        train(run)
    (tmp_path / "w.pth").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="not a state dict"):
        train(run)


def test_a_card_claims_only_what_the_run_had(stills: Path, tmp_path: Path) -> None:
    words = CardText(name="tiny", training_data=("stills",), teacher=("a disc",), imagenet="pictures of cats.")
    once = dataclasses.replace(SCHEDULE, passes=1)
    values = import_torchvision_models().mobilenet_v2(weights=None).state_dict()
    torch.save(values, tmp_path / "imagenet.pth")
    seen: list[TrainProgress] = []
    given = {"model": LIGHT, "card": words, "schedule": once}
    bare = train(config(stills, tmp_path / "bare", **given), on_progress=seen.append)
    card = read_checkpoint(bare)[2]
    assert card.training_data == ("stills",) and card.initialisation == seen[0].notes[0]
    assert "random weights" in card.initialisation and not any(
        "random" in note for one in seen[1:] for note in one.notes
    )
    teacher = make_teacher_set(tmp_path / "teacher.zip")
    given |= {"teacher_set": teacher, "imagenet_weights": tmp_path / "imagenet.pth"}
    taught = train(config(stills, tmp_path / "taught", **given), on_progress=seen.append)
    card = read_checkpoint(taught)[2]
    assert card.training_data == ("stills", "a disc") and card.initialisation.startswith("pictures of cats.")
    assert "random weights" not in card.initialisation
    # A run that goes on from there has been taught, too, without a teacher of its own.
    later = CardText(name="tiny", training_data=("more stills", "stills"), teacher=("nobody",))
    after = train(config(stills, tmp_path / "after", model=LIGHT, card=later, schedule=once, start_from=taught))
    card = read_checkpoint(after)[2]
    assert card.training_data == ("more stills", "stills", "a disc") and card.initialisation == ""


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[1] / "configs").glob("train_sam_*.yaml")))
def test_a_configuration_names_a_teacher_and_imagenet_only_where_they_are_given(file: Path) -> None:
    card = resolve(TrainConfig, read_file(file, TrainConfig)).card
    assert "UNISAL" not in str(card.training_data) and "ImageNet" not in card.initialisation
    assert "ImageNet" in card.imagenet or "UNISAL" in card.teacher[0]


def test_the_log_is_json_where_scores_do_not_exist(stills: Path, tmp_path: Path) -> None:
    run = TrainingRun(config(stills, tmp_path), torch.device("cpu"), 1)
    run.log({"step": 0, "loss": math.inf, "validation": {"mine": {"nss": math.nan, "cc": 0.5}}})
    entry = json.loads((tmp_path / "log.jsonl").read_text(), parse_constant=pytest.fail)
    assert entry["loss"] is None and entry["validation"] == {"mine": {"nss": None, "cc": 0.5}}
    run.resume()
    assert json.loads((tmp_path / "log.jsonl").read_text()) == entry


def test_lengths_of_clips_do_not_bind_a_run_on_video_alone(stills: Path, tmp_path: Path) -> None:
    schedule = ScheduleOptions(passes=1, frames_per_step=2, window_frames=2, clip_lengths={4: 1.0})
    videos = (VideoSet("ucf-sports", tmp_path),)
    made = config(stills, tmp_path, schedule=schedule, datasets=(), videos=videos)
    assert {step.times for step in make_plan(0, made, (), [3])} == {2}
    for count, stretches in (1, ()), (0, (range(5),)):
        with pytest.raises(ConfigError, match="longest of clip_lengths"):
            make_plan(count, made, stretches, [3])


def make_teacher_set(path: Path, *, count: int = 8, frames: int = 3) -> Path:
    """A teacher who looks at the bright disc on noise: `count` stills and a video of `frames` pictures."""
    random = np.random.default_rng(3)
    pictures = []
    for number in range(count + frames):
        x, y = random.uniform(12, CANVAS.width - 12), random.uniform(12, CANVAS.height - 12)
        pixels = random.integers(0, 90, (CANVAS.height, CANVAS.width, 3), np.uint8)
        cv2.circle(pixels, (round(x), round(y)), 6, (255, 240, 230), -1)
        where = np.array([[x, y]], np.float32)
        density = density_from_fixations(where, height=CANVAS.height, width=CANVAS.width, sigma=4)
        looked = {"points": where, "sigma": 4.0} if number == 0 else {}
        sequence = 0 if number >= count else None
        pictures.append(TeacherPicture(pixels, density, f"made/{number}", sequence=sequence, **looked))  # type: ignore[arg-type]
    save_teacher_set(path, pictures, canvas_height=CANVAS.height, canvas_width=CANVAS.width, teacher="a disc")
    return path


def test_a_teacher_takes_its_share_of_the_steps_and_is_learnt_from(stills: Path, tmp_path: Path) -> None:
    teacher = make_teacher_set(tmp_path / "teacher.safetensors")
    schedule = dataclasses.replace(SCHEDULE, clip_lengths={1: 0.5, 2: 0.5}, teacher_share=0.75)
    own = config(stills, tmp_path / "run", schedule=schedule, teacher_set=teacher)
    stretches = load_teacher_set(teacher).sequences
    plan = make_plan(9, own, stretches)
    assert sum(step.taught for step in plan) == 3 * sum(not step.taught for step in plan)
    assert all(len(stretches[index]) >= step.times for step in plan if step.taught for index in step.samples)
    assert {step.times for step in plan if step.taught} == {1, 2}
    # What is recorded comes as it came without a teacher.
    alone = make_plan(9, config(stills, tmp_path / "run", schedule=schedule))
    assert [step for step in plan if not step.taught] == alone
    losses: list[TrainProgress] = []
    longer = dataclasses.replace(schedule, passes=4)
    train(config(stills, tmp_path / "run", schedule=longer, teacher_set=teacher), on_progress=losses.append)
    assert losses[-1].loss < 0.8 * losses[0].loss


def test_a_teacher_and_recorded_fixations_are_mixed_by_weight(stills: Path, tmp_path: Path) -> None:
    teacher = load_teacher_set(make_teacher_set(tmp_path / "teacher.safetensors", count=1, frames=0))
    sample = teacher.sample(0)
    hits = fixation_counts(sample.points, height=CANVAS.height, width=CANVAS.width)
    for weight in (0.0, 0.25, 1.0):
        schedule = dataclasses.replace(SCHEDULE, teacher_weight=weight)
        own = config(stills, tmp_path, schedule=schedule, augment=AugmentOptions(flip_probability=0.0))
        clip = taught_clip(teacher, 0, 1, own, np.random.default_rng(0))
        np.testing.assert_allclose(clip.counts[0], weight * sample.density + (1 - weight) * hits, atol=1e-6)
        assert clip.density[0].sum() == pytest.approx(1, abs=1e-4)
        flipped = dataclasses.replace(own, augment=AugmentOptions(flip_probability=1.0))
        mirrored = taught_clip(teacher, 0, 1, flipped, np.random.default_rng(0))
        assert np.array_equal(mirrored.frames, clip.frames[:, :, ::-1])
        assert np.array_equal(mirrored.density, clip.density[:, :, ::-1])


def test_cuts_inside_a_clip_start_afresh_unless_they_are_missed(stills: Path, tmp_path: Path) -> None:
    blank = np.zeros((3, *(CANVAS.height, CANVAS.width)), np.float32)
    view = Preprocessor(CANVAS).viewport(CANVAS.height, CANVAS.width)
    cut = np.array([False, True, False])
    clip = Clip(np.zeros((*blank.shape, 3), np.uint8), blank, blank, view, cut)
    step = Step(0, (0,), 3, 5)
    for missed, expected in ((0.0, [True, True, False]), (1.0, [True, False, False])):
        schedule = dataclasses.replace(SCHEDULE, undetected_cut_probability=missed)
        run = TrainingRun(config(stills, tmp_path, schedule=schedule), torch.device("cpu"), 10)
        assert run._fresh([clip], step) == [expected]


@pytest.mark.parametrize(
    "wrong",
    [
        {"passes": 0},
        {"frames_per_step": 0},
        {"windows_per_sequence": 0},
        {"learning_rate": -1.0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"backbone_learning_rate": -1e-4},
        {"weight_decay": -1e-2},
        {"clip_gradient_norm": -1.0},
        {"average_decay": 1.0},
        {"warmup_share": 1.5},
        {"undetected_cut_probability": math.nan},
        {"teacher_share": 1.0},
        {"teacher_weight": 1.5},
        {"video_share": 1.0},
        {"clip_lengths": {}},
        {"clip_lengths": {0: 1.0}},
        {"clip_lengths": {1: -1.0, 2: 2.0}},
        {"clip_lengths": {1: 0.0}},
        {"clip_lengths": {1: math.nan}},
        {"early_stopping_patience": 0},
    ],
)
def test_a_schedule_out_of_range_is_refused_where_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))} "):
        ScheduleOptions(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"checkpoint_every_steps": 0}, {"validation_pictures": -1}, {"validation_sequences": 0}]
)
def test_counts_out_of_range_are_refused_where_they_are_made(
    stills: Path, tmp_path: Path, wrong: dict[str, int]
) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} must be at least"):
        config(stills, tmp_path, **wrong)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_an_output_that_is_a_file_is_told(stills: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ConfigError, match="file; name a folder"):
        train(config(stills, tmp_path / place))
    assert (tmp_path / "file").read_text() == "precious"


def test_a_state_that_cannot_be_written_leaves_no_part_of_it(
    stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fill)
    with pytest.raises(EncodeError, match="No space left"):
        train(config(stills, tmp_path))
    assert not list(tmp_path.glob("state.pt*"))
