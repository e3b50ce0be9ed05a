"""The trainer learns, resumes exactly, and refuses nonsense; on pictures of 48x64."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from made import CANVAS, TINY, make_checkpoint, make_stills

from vidsal.errors import CheckpointError, ConfigError
from vidsal.model.checkpoint import read_checkpoint
from vidsal.train import CardText, ScheduleOptions, TrainConfig, TrainProgress, train

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
        "checkpoint_every_steps": 2,
        "card": CardText(name="tiny", licence="MIT"),
    }
    return TrainConfig(**(values | changes))  # type: ignore[arg-type]


def test_training_lowers_the_loss_and_writes_a_whole_checkpoint(stills: Path, tmp_path: Path) -> None:
    losses: list[TrainProgress] = []
    schedule = dataclasses.replace(SCHEDULE, passes=15, frames_per_step=8, clip_lengths={1: 0.5, 2: 0.5})
    path = train(config(stills, tmp_path, schedule=schedule), on_progress=losses.append)
    assert losses[-1].step == losses[-1].steps and losses[-1].pass_number == 15
    assert losses[-1].loss < 0.75 * losses[0].loss
    _, preprocess, card = read_checkpoint(path)
    assert (path.name, preprocess, card.licence) == ("tiny.safetensors", CANVAS, "MIT")
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["pass"] for entry in log] == list(range(1, 16))
    assert set(card.scores) == {"mine"} and card.scores["mine"]["nss"] > 0.5
    assert log[-1]["validation"]["mine"] == pytest.approx(card.scores["mine"])


def test_a_run_that_was_killed_and_resumed_ends_as_an_unbroken_one(stills: Path, tmp_path: Path) -> None:
    whole = train(config(stills, tmp_path / "whole"))
    broken = config(stills, tmp_path / "broken")
    assert train(broken, stop_after_steps=3).name == "state.pt"
    # Killed after the state was saved but with log lines of steps that are lost.
    with (tmp_path / "broken" / "log.jsonl").open("a") as stream:
        stream.write(json.dumps({"step": 99}) + "\n")
    assert train(broken, stop_after_steps=1).name == "state.pt"
    resumed = train(broken)
    a, b = (read_checkpoint(path)[0].state_dict() for path in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)
    logs = [
        [json.loads(line)["validation"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "broken")
    ]
    assert logs[0] == logs[1] and len(logs[0]) == 2
    other = train(config(stills, tmp_path / "other", seed=1))
    c = read_checkpoint(other)[0].state_dict()
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_a_state_of_another_configuration_is_not_resumed(stills: Path, tmp_path: Path) -> None:
    train(config(stills, tmp_path), stop_after_steps=1)
    with pytest.raises(ConfigError, match="another configuration"):
        train(config(stills, tmp_path, seed=5))
    (tmp_path / "state.pt").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        train(config(stills, tmp_path))


def test_fine_tuning_takes_the_weights_and_the_architecture_of_a_checkpoint(stills: Path, tmp_path: Path) -> None:
    start = make_checkpoint(tmp_path / "start.safetensors")
    still = dataclasses.replace(
        SCHEDULE, passes=1, learning_rate=0.0, backbone_learning_rate=0.0, weight_decay=0.0, average_decay=0.0
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


@pytest.mark.parametrize("preset", ["sam-resnet", "sam-vgg"])
@pytest.mark.slow
def test_a_published_architecture_trains_a_step(stills: Path, tmp_path: Path, preset: str) -> None:
    small = dataclasses.replace(SCHEDULE, frames_per_step=1, clip_lengths={1: 1.0}, passes=1)
    canvas = dataclasses.replace(CANVAS, channel_order="bgr", divisor=1.0)
    run = config(stills, tmp_path, preset=preset, model=None, preprocess=canvas, schedule=small)
    seen: list[TrainProgress] = []
    train(run, on_progress=seen.append, stop_after_steps=1)
    assert seen[0].loss == seen[0].loss


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"datasets": ()}, "datasets is empty"),
        ({"precision": "fp16"}, "needs CUDA"),
        ({"schedule": ScheduleOptions(passes=0)}, "passes"),
        ({"schedule": ScheduleOptions(clip_lengths={0: 1.0})}, "clip_lengths"),
        ({"schedule": ScheduleOptions(frames_per_step=2, clip_lengths={4: 1.0})}, "frames_per_step"),
        ({"device": "gpu"}, "unknown device"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    stills: Path, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        train(config(stills, tmp_path, **changes))


def test_backbone_weights_of_another_network_are_refused(stills: Path, tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="not MobileNetV2"):
        train(config(stills, tmp_path / "run", imagenet_weights=tmp_path / "w.pth"))
    (tmp_path / "w.pth").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="not a state dict"):
        train(config(stills, tmp_path / "run", imagenet_weights=tmp_path / "w.pth"))
