"""SalGAN against its discriminator: whose turn it is, what moves, the losses by hand, a killed run that goes on."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from made import make_stills

from vidsal.cli import main
from vidsal.data.clips import make_clip
from vidsal.errors import ConfigError
from vidsal.model.checkpoint import read_any_checkpoint
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.discriminator import Discriminator
from vidsal.model.options import NetworkName
from vidsal.preprocess import PreprocessOptions
from vidsal.train import AdversarialOptions, ScheduleOptions, TrainConfig, TrainProgress, train
from vidsal.train.adversarial import content_loss
from vidsal.train.run import TrainingRun
from vidsal.train.samples import Step, open_data

CANVAS = PreprocessOptions(height=32, width=48, fit="stretch")
SCHEDULE = ScheduleOptions(
    passes=3, frames_per_step=4, clip_lengths={1: 1.0}, optimizer="adagrad", learning_rate=1e-2, average_decay=0.5
)


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stills(tmp_path_factory.mktemp("data") / "mine", count=9)


def config(stills: Path, output: Path, *, preset: NetworkName | str = "salgan", **changes: object) -> TrainConfig:
    values: dict[str, object] = {
        "datasets": (stills,),
        "output": output,
        "preset": preset,
        "width": 1 / 32,
        "preprocess": CANVAS,
        "schedule": SCHEDULE,
        "adversarial": AdversarialOptions(discriminator=True, content_passes=1),
        "device": "cpu",
        "weights_dtype": "fp32",
    }
    return TrainConfig(**(values | changes))  # type: ignore[arg-type]


def test_the_discriminator_is_as_large_as_the_authors_code_and_its_normed_kernels_know_no_scale() -> None:
    judge = Discriminator(NetworkConfig("salgan"), height=192, width=256)
    convolutions = 4 * 3 + 3 + (9 * 3 * 32 + 32) + (9 * 32 * 64 + 64) + 3 * (9 * 64 * 64 + 64)
    dense = (64 * 12 * 16 * 100 + 100) + (100 * 2 + 2) + (2 + 1)
    assert sum(one.numel() for one in judge.parameters()) == convolutions + dense == 1_359_296
    torch.manual_seed(0)
    thin = Discriminator(NetworkConfig("salgan", 1 / 8), height=37, width=48).eval()
    pictures, maps = 255 * torch.rand(2, 3, 37, 48), torch.rand(2, 37, 48)
    with torch.no_grad():
        before = thin(pictures, maps)
        for layer in (thin.conv3_1, thin.conv3_2):
            layer.weight.mul_(7)
        torch.testing.assert_close(thin(pictures, maps), before)
        thin.conv2_1.weight.mul_(7)
        assert before.shape == (2,) and not torch.allclose(thin(pictures, maps), before)


def test_the_content_loss_is_the_cross_entropy_of_maps_over_four_by_four_cells() -> None:
    random = np.random.default_rng(0)
    logits, wanted = random.normal(size=(1, 8, 12)), random.random((1, 8, 12))
    inside = np.ones((1, 8, 12), bool)
    inside[:, :, 10:] = False  # a black bar that cuts through cells

    def over_cells(values: np.ndarray) -> np.ndarray:
        cells = [
            [values[0, i : i + 4, j : j + 4][inside[0, i : i + 4, j : j + 4]].mean() for j in (0, 4, 8)] for i in (0, 4)
        ]
        return np.array(cells)

    p, y = over_cells(1 / (1 + np.exp(-logits))), over_cells(wanted)
    share = np.array([1, 1, 0.5])
    expected = (-(y * np.log(p) + (1 - y) * np.log(1 - p)) * share).sum() / (2 * share.sum())
    found = content_loss(*(torch.from_numpy(one) for one in (logits, wanted, inside)))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


def test_each_is_moved_at_its_own_turn_only(stills: Path, tmp_path: Path) -> None:
    made = config(stills, tmp_path)
    training = open_data(made).training_stills
    run = TrainingRun(made, torch.device("cpu"), 100)
    assert run.adversary is not None
    judge = run.adversary.discriminator
    clips = [
        make_clip(training[n], times=1, preprocess=run.preprocess, augment=None, random=np.random.default_rng(n))
        for n in (0, 1)
    ]
    trained = {name for name, value in run.network.named_parameters() if value.requires_grad}
    assert len(trained) < len(dict(run.network.named_parameters())), "blocks 1 to 3 of VGG are not trained"

    def step(pass_index: int) -> tuple[set[str], set[str], set[str]]:
        """What moved of generator, discriminator and average."""
        parts = (run.network, judge, run.average)
        before = [copy.deepcopy(one.state_dict()) for one in parts]
        content = run.train_step(Step(pass_index, (0, 1), 1, run.step), clips)
        assert 0 < content < 2
        return tuple(moved(old, one.state_dict()) for old, one in zip(before, parts, strict=True))  # type: ignore[return-value]

    def graded(module: torch.nn.Module) -> set[str]:
        return {name for name, value in module.named_parameters() if value.grad is not None and value.grad.any()}

    # The first pass is content alone, whatever the number of the step.
    for _ in range(2):
        generator, discriminator, average = step(0)
        assert generator and generator == graded(run.network) <= trained
        assert not discriminator and average and run.adversary.running is None
    # Step 3, an odd one, is the discriminator's; step 4 the generator's.
    generator, discriminator, average = step(1)
    assert discriminator == graded(judge) == set(dict(judge.named_parameters()))
    assert not generator and not average and not graded(run.network)
    loss = run.adversary.running
    assert loss is not None and 0 < loss < 3
    generator, discriminator, average = step(1)
    assert generator and generator == graded(run.network) and average
    assert not discriminator and not graded(judge) and run.adversary.running == loss


def test_the_losses_of_the_two_are_those_of_the_paper(stills: Path, tmp_path: Path) -> None:
    caffe = dataclasses.replace(CANVAS, channel_order="bgr", divisor=127.0, mean=(1.0, 1.0, 1.0), std=(1.0, 1.0, 1.0))
    adversary = TrainingRun(config(stills, tmp_path, preprocess=caffe), torch.device("cpu"), 100).adversary
    assert adversary is not None
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 32, 48, generator=random).requires_grad_()
    density = torch.rand(3, 32, 48, generator=random)
    density /= density.sum((1, 2), keepdim=True)
    counts = torch.ones(3, 32, 48)
    counts[2] = 0  # nobody looked: it counts nothing
    shown = {
        "frames": torch.randn(3, 3, 32, 48, generator=random),
        "density": density,
        "counts": counts,
        "inside": torch.ones(3, 32, 48, dtype=torch.bool),
    }
    wanted = density / density.amax((1, 2), keepdim=True)
    # The discriminator sees pixels from 0 to 255, red first; the network here sees them over 127, less 1, blue first.
    pictures = 127 * (shown["frames"] + 1).flip(1)
    with torch.no_grad():
        real, fake = (adversary.discriminator(pictures, maps)[:2] for maps in (wanted, logits.sigmoid()))
        content = content_loss(logits, wanted, shown["inside"])[:2].mean()
    # - log D of what shall pass for real, - log (1 - D) of what shall not.
    fooled, passed, caught = (-torch.log(torch.sigmoid(one)).mean() for one in (fake, real, -fake))

    judged = adversary.judge("generator", logits, **shown)
    torch.testing.assert_close(judged.content.detach(), content)
    torch.testing.assert_close(judged.moved.detach(), fooled + content / 20)
    judged.moved.backward()
    assert logits.grad is not None and logits.grad[:2].any() and not logits.grad[2].any()
    assert all(one.grad is None for one in adversary.discriminator.parameters())

    judged = adversary.judge("discriminator", logits.detach(), **shown)
    torch.testing.assert_close(judged.moved.detach(), (passed + caught) / 2)
    judged.moved.backward()
    assert all(one.grad is not None for one in adversary.discriminator.parameters())

    shown["counts"] = torch.zeros(3, 32, 48)
    for turn in ("content", "generator", "discriminator"):
        empty = adversary.judge(turn, logits, **shown)  # type: ignore[arg-type]
        assert float(empty.moved.detach()) == 0 and float(empty.content.detach()) == 0


def test_a_killed_run_goes_on_as_an_unbroken_one_with_its_discriminator(stills: Path, tmp_path: Path) -> None:
    whole, broken = config(stills, tmp_path / "whole"), config(stills, tmp_path / "broken")
    seen: list[TrainProgress] = []
    path = train(whole, on_progress=seen.append)
    assert any("discriminator from pass 2 on" in note for note in seen[0].notes)
    for _ in range(len(seen)):
        found = train(broken, stop_after_steps=1)
    states = [torch.load(one.output / "state.pt", weights_only=True) for one in (whole, broken)]
    for part in ("network", "average"):
        assert not moved(states[0][part], states[1][part])
    assert not moved(states[0]["adversary"]["discriminator"], states[1]["adversary"]["discriminator"])
    assert states[0]["adversary"]["running"] == states[1]["adversary"]["running"]
    assert not moved(*(read_any_checkpoint(one)[0].state_dict() for one in (path, found)))
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert log[0]["discriminator_loss"] is None and all(0 < entry["discriminator_loss"] < 3 for entry in log[1:])
    # The card names what it was trained with; the checkpoint holds the generator alone.
    network, _, card = read_any_checkpoint(path)
    assert json.loads(card.training)["adversarial"]["discriminator"] is True
    assert not any("merge" in name for name in network.state_dict())

    # Without the discriminator's own memory it would not.
    stopped = config(stills, tmp_path / "forgetful")
    train(stopped, stop_after_steps=len(seen) - 2)
    state = torch.load(tmp_path / "forgetful" / "state.pt", weights_only=True)
    for entry in state["adversary"]["optimizer"]["state"].values():
        entry["sum"].zero_()
    torch.save(state, tmp_path / "forgetful" / "state.pt")
    train(stopped)
    last = torch.load(tmp_path / "forgetful" / "state.pt", weights_only=True)
    assert moved(states[0]["adversary"]["discriminator"], last["adversary"]["discriminator"])


@pytest.mark.parametrize(("preset", "named"), [("ml-net", "ml-net"), ("sam-lite", "SAM's family")])
def test_other_networks_are_refused_before_anything_is_written(
    stills: Path, tmp_path: Path, preset: NetworkName | str, named: str
) -> None:
    width = {"width": 1.0} if preset == "sam-lite" else {}
    with pytest.raises(ConfigError, match=f"discriminator is for salgan.*trains {named}"):
        train(config(stills, tmp_path / "run", preset=preset, **width))
    assert not (tmp_path / "run").exists()


def test_a_discriminator_that_would_never_be_trained_is_refused_and_the_flag_is_named(
    stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = config(stills, tmp_path)
    with pytest.raises(ConfigError, match=r"content_passes must be below passes \(3\), got 3"):
        train(dataclasses.replace(made, adversarial=AdversarialOptions(discriminator=True, content_passes=3)))
    arguments = ["train", "--preset", "sam-vgg", "--datasets", f"[{stills}]", "--output", str(tmp_path / "run")]
    assert main([*arguments, "--discriminator", "--content_passes", "0"]) == 2
    assert "--discriminator is for salgan" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="content_weight"):
        AdversarialOptions(content_weight=math.nan)
