"""Training on recorded video: the state goes from window to window, gradients do not; on made sets of 48x64."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from layout_fixtures import make_bdda, make_dhf1k, make_dreyeve, make_hollywood, make_ucf_sports, write
from made import CANVAS, TINY, make_checkpoint, make_model, make_stills

from vidsal.config import read_file, resolve
from vidsal.data.clips import AugmentOptions, Clip
from vidsal.data.layouts import open_dataset
from vidsal.data.options import VideoSet
from vidsal.data.recorded import RecordedClip
from vidsal.errors import ConfigError
from vidsal.losses import LossOptions, sam_loss
from vidsal.model.checkpoint import read_checkpoint
from vidsal.preprocess import Viewport
from vidsal.train import CardText, ScheduleOptions, TrainConfig, TrainProgress, train
from vidsal.train.run import TrainingRun
from vidsal.train.samples import RecordedWindows, Step, Window, make_plan, open_data
from vidsal.train.score import score_sequences

SCHEDULE = ScheduleOptions(
    passes=2,
    frames_per_step=6,
    window_frames=3,
    windows_per_sequence=3,
    learning_rate=3e-3,
    backbone_learning_rate=3e-3,
    undetected_cut_probability=0.2,
)
VIEW = Viewport.fit(48, 64, canvas_height=48, canvas_width=64)


def make_discs(root: Path, *, clips: int = 4, frames: int = 14) -> Path:
    """UCF-Sports whose viewers look at a bright disc that crosses noise."""
    random = np.random.default_rng(11)
    for clip in range(1, clips + 1):
        folder = root / "training" / f"Walk-{clip:03d}"
        noise = random.integers(0, 90, (48, 64, 3), np.uint8)
        start, end = random.uniform([8, 8], [56, 40], (2, 2))
        for number in range(frames):
            x, y = start + (end - start) * number / frames
            picture, looked = noise.copy(), np.zeros((48, 64), np.uint8)
            cv2.circle(picture, (round(x), round(y)), 6, (255, 240, 230), -1)
            looked[round(y), round(x)] = 255
            grown = cv2.GaussianBlur(looked.astype(np.float32), (0, 0), 4)
            values = {"images": picture, "maps": grown / grown.max() * 255, "fixation": looked}
            for name, array in values.items():
                write(folder / name / f"Walk_{clip:03d}_{number + 1:03d}.png", np.asarray(array, np.uint8))
    return root


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_discs(tmp_path_factory.mktemp("data") / "UCF")


def config(discs: Path, output: Path, **changes: object) -> TrainConfig:
    values: dict[str, object] = {
        "videos": (VideoSet("ucf-sports", discs, validation_split="train"),),
        "output": output,
        "model": dataclasses.replace(TINY, dropout=0.2),
        "preprocess": CANVAS,
        "freeze_backbone_statistics": False,
        "schedule": SCHEDULE,
        "device": "cpu",
        "checkpoint_every_steps": 1,
        "validation_sequences": 1,
        "validation_frames": 4,
        "card": CardText(name="tiny", licence="MIT"),
    }
    return TrainConfig(**(values | changes))  # type: ignore[arg-type]


def begin(made: TrainConfig) -> tuple[TrainingRun, list[Step], RecordedWindows]:
    videos = open_data(made).videos
    plan = make_plan(0, made, (), [len(one.training) for one in videos])
    return TrainingRun(made, torch.device("cpu"), len(plan)), plan, RecordedWindows(videos, made, CANVAS)


# The loss falls.


def test_training_on_video_lowers_the_loss_and_finds_the_disc(discs: Path, tmp_path: Path) -> None:
    seen: list[TrainProgress] = []
    schedule = dataclasses.replace(SCHEDULE, passes=4)
    path = train(config(discs, tmp_path, schedule=schedule), on_progress=seen.append)
    assert seen[-1].loss < 0.75 * seen[0].loss
    _, _, card = read_checkpoint(path)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert card.scores["ucf-sports"]["nss"] > log[0]["validation"]["ucf-sports"]["nss"] + 0.5
    assert "state carried" in card.protocol
    assert json.loads(card.training)["videos"][0]["root"] == "UCF"


def test_a_run_without_anything_to_validate_on_says_so(tmp_path: Path) -> None:
    root = make_discs(tmp_path / "UCF", clips=1, frames=6)
    seen: list[TrainProgress] = []
    for split in None, "train":
        made = config(root, tmp_path / str(split), videos=(VideoSet("ucf-sports", root, validation_split=split),))
        train(made, stop_after_steps=1, on_progress=seen.append)
        assert any("nothing to validate on" in note for note in seen[-1].notes) == (split is None)


@pytest.mark.parametrize("name", ["dhf1k", "hollywood2", "ucf_sports", "dreyeve", "bdda"])
def test_the_configuration_of_each_data_set_trains_on_its_layout(name: str, tmp_path: Path) -> None:
    makers: dict[str, Any] = {
        "dhf1k": lambda root: make_dhf1k(root, numbers=(1, 601), frames=11),
        "hollywood2": lambda root: make_hollywood(root, shots={"actioncliptrain00001_1": (3, 9)}),
        "ucf_sports": lambda root: make_ucf_sports(root, frames=7),
        "dreyeve": lambda root: make_dreyeve(root, runs=(1,), frames=11, unrolled=True),
        "bdda": lambda root: make_bdda(root, seconds=0.6, parts={"training": (1,), "validation": (2,)}),
    }
    file = Path(__file__).parents[1] / "configs" / f"train_{name}.yaml"
    made = resolve(TrainConfig, read_file(file, TrainConfig))
    (video,) = made.videos
    options = dict(video.options)
    if name == "dreyeve":
        options["validation"] = "none"  # the made drive is shorter than where the published split begins
    schedule = dataclasses.replace(made.schedule, passes=1, frames_per_step=4, window_frames=2, windows_per_sequence=2)
    split = None if name == "dreyeve" else video.validation_split
    own = dataclasses.replace(
        made,
        videos=(
            dataclasses.replace(video, root=makers[name](tmp_path / "data"), validation_split=split, options=options),
        ),
        output=tmp_path / "run",
        start_from=make_checkpoint(tmp_path / "start.safetensors"),
        schedule=dataclasses.replace(schedule, early_stopping_patience=None),
        precision="fp32",
        device="cpu",
    )
    seen: list[TrainProgress] = []
    network, _, card = read_checkpoint(train(own, on_progress=seen.append))
    assert seen[-1].step == seen[-1].steps >= 2 and all(math.isfinite(one.loss) and one.loss != 0 for one in seen)
    assert card.name == made.card.name and card.training_data
    begun = read_checkpoint(tmp_path / "start.safetensors")[0].state_dict()
    assert not torch.equal(network.state_dict()["head.out.weight"], begun["head.out.weight"])
    if video.validation_split and name != "dreyeve":
        assert math.isfinite(card.scores[video.layout]["cc"])


# The state.


def made_windows(count: int) -> list[RecordedClip]:
    """Windows of three frames with a label on each, one going on from the other."""
    random = np.random.default_rng(5)
    clips = []
    for number in range(count):
        density: npt.NDArray[np.float32] = random.random((3, 48, 64), np.float32) ** 8
        density /= density.sum((1, 2), keepdims=True)
        clips.append(
            RecordedClip(
                frames=random.integers(0, 255, (3, 48, 64, 3), np.uint8),
                density=density,
                counts=density,
                viewport=VIEW,
                cut=np.zeros(3, np.bool_),
                length=3,
                begins=number == 0,
                has_points=np.zeros(3, np.bool_),
            )
        )
    return clips


def window_step(number: int) -> Step:
    return Step(0, (0,), 3, seed=number, window=Window(number, 7))


def still_schedule() -> ScheduleOptions:
    """Steps that change nothing."""
    return dataclasses.replace(
        SCHEDULE,
        learning_rate=1e-30,
        backbone_learning_rate=0.0,
        weight_decay=0.0,
        clip_gradient_norm=0.0,
        undetected_cut_probability=0.0,
    )


def rest(run: TrainingRun) -> None:
    """No dropout, and batch norms at rest: a step is then a function of its input."""
    run.network.eval()
    run.network.train = lambda mode=True: run.network  # type: ignore[method-assign,assignment]


def gradients(run: TrainingRun) -> dict[str, torch.Tensor]:
    return {name: value.grad.clone() for name, value in run.network.named_parameters() if value.grad is not None}


def test_the_state_passes_and_the_gradient_stays_within_the_window(discs: Path, tmp_path: Path) -> None:
    # A network whose state matters, which that of a new one does not.
    start = make_checkpoint(tmp_path / "start.safetensors")
    run, _, _ = begin(config(discs, tmp_path, start_from=start, schedule=still_schedule()))
    clips = made_windows(2)
    rest(run)
    network = copy.deepcopy(run.network)
    for number, clip in enumerate(clips):
        run.train_step(window_step(number), [clip])
    found = gradients(run)

    def by_hand(*, detach: bool, carry: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        network.zero_grad()
        pixels = [run.preprocessor(clip.frames)[None] for clip in clips]
        _, state = network(pixels[0])
        passed = (state.detach() if detach else state) if carry else None
        log_density, after = network(pixels[1], passed)
        density = torch.from_numpy(clips[1].density)
        inside = torch.ones(3, 48, 64, dtype=torch.bool)
        sam_loss(
            log_density[0], density=density, counts=density, inside=inside, options=LossOptions()
        ).mean().backward()
        own = {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}
        return own, after.hidden

    def same(own: dict[str, torch.Tensor]) -> bool:
        return all(torch.allclose(found[name], value, rtol=1e-3, atol=1e-5) for name, value in own.items())

    truncated, hidden = by_hand(detach=True, carry=True)
    assert same(truncated)
    # Were the gradient to go on into the window before, or the state not to pass, it would not be this.
    assert not same(by_hand(detach=False, carry=True)[0])
    fresh, other = by_hand(detach=True, carry=False)
    assert not same(fresh)
    assert run.carried is not None and not run.carried.hidden.requires_grad
    torch.testing.assert_close(run.carried.hidden, hidden.detach(), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(other, hidden, atol=1e-3)


def test_other_steps_between_two_windows_leave_the_state_alone(discs: Path, tmp_path: Path) -> None:
    run, _, _ = begin(config(discs, tmp_path))
    first, second = made_windows(2)
    run.train_step(window_step(0), [first])
    carried = run.carried
    still = Clip(second.frames, second.density, second.counts, VIEW, second.cut)
    run.train_step(Step(0, (0,), 3, 1), [still])
    assert run.carried is carried and carried is not None
    run.train_step(window_step(1), [second])
    assert run.carried is not carried
    # New sequences start from zero, whatever is carried.
    before = copy.deepcopy(run)
    before.carried = None
    assert run.train_step(window_step(0), [first]) == before.train_step(window_step(0), [first])


def test_a_window_starts_afresh_where_a_video_begins_and_at_detected_cuts_only(discs: Path, tmp_path: Path) -> None:
    first, second = made_windows(2)
    cut = np.array([True, False, True])
    second = dataclasses.replace(second, cut=cut)
    for missed, expected in ((0.0, [True, False, True]), (1.0, [False, False, False])):
        schedule = dataclasses.replace(SCHEDULE, undetected_cut_probability=missed)
        run, _, _ = begin(config(discs, tmp_path, schedule=schedule))
        assert run._fresh([first, second], window_step(1)) == [[True, False, False], expected]


def test_the_first_frame_is_another_videos_only_where_videos_begin(discs: Path, tmp_path: Path) -> None:
    always = dataclasses.replace(SCHEDULE, undetected_cut_probability=1.0)
    run, _, _ = begin(config(discs, tmp_path, schedule=always))
    first, second = made_windows(2)
    other, _ = (dataclasses.replace(clip, frames=255 - clip.frames) for clip in (first, second))
    swapped = run._tensors([first, other], window_step(0))[0]
    own = run.preprocessor(np.concatenate([first.frames, other.frames])).reshape(2, 3, 3, 48, 64)
    assert torch.equal(swapped[:, 0], own[[1, 0], 0]) and torch.equal(swapped[:, 1:], own[:, 1:])
    going_on = [dataclasses.replace(clip, begins=False) for clip in (first, other)]
    assert torch.equal(run._tensors(going_on, window_step(1))[0], own)


def test_frames_behind_the_end_count_nothing(discs: Path, tmp_path: Path) -> None:
    start = make_checkpoint(tmp_path / "start.safetensors")
    made = config(discs, tmp_path, start_from=start, schedule=still_schedule())
    losses, states = [], []
    for filled in (0, 255):
        run, _, _ = begin(made)
        rest(run)
        (clip,) = made_windows(1)
        for array in (clip.density, clip.counts):
            array[2] = 0
        clip.frames[2] = filled
        losses.append(run.train_step(window_step(0), [dataclasses.replace(clip, length=2)]))
        assert run.carried is not None
        states.append(run.carried.hidden)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6) and losses[0] != 0
    torch.testing.assert_close(states[0], states[1])


# The plan, and going on after an interruption.


def test_windows_come_in_order_and_every_sequence_once_a_pass(discs: Path, tmp_path: Path) -> None:
    _, plan, _ = begin(config(discs, tmp_path))
    assert len(plan) == 2 * 2 * 3  # passes, groups of two of the four videos, windows
    numbers = [step.window.number for step in plan if step.window is not None]
    assert numbers == [0, 1, 2] * 4
    for start in range(0, 12, 3):
        assert len({(step.samples, step.window and step.window.seed) for step in plan[start : start + 3]}) == 1
    for half in (plan[:6], plan[6:]):
        assert sorted(index for step in half[::3] for index in step.samples) == [0, 1, 2, 3]
    assert len({step.seed for step in plan}) == 12


def test_video_takes_its_share_beside_stills_and_a_teacher(discs: Path, tmp_path: Path) -> None:
    schedule = dataclasses.replace(SCHEDULE, passes=10, clip_lengths={1: 1.0}, video_share=0.5, teacher_share=0.25)
    made = config(discs, tmp_path, schedule=schedule)
    plan = make_plan(60, made, [range(20)], [4])
    shares = [
        np.mean([kind(step) for step in plan])
        for kind in (lambda step: step.window is not None, lambda step: step.taught)
    ]
    assert shares == pytest.approx([0.5, 0.25], abs=0.01)
    # What else is shown comes as it came without video.
    assert [s for s in plan if s.window is None and not s.taught] == make_plan(60, made)
    # The shares of the sets are kept too.
    videos = tuple(VideoSet("ucf-sports", discs, share=share) for share in (3, 1))
    two = make_plan(0, dataclasses.replace(made, videos=videos), (), [40, 40])
    first = np.mean([index < 40 for step in two for index in step.samples])
    assert first == pytest.approx(0.75, abs=0.06)


def test_a_run_killed_between_two_windows_ends_as_an_unbroken_one(discs: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "schedule": dataclasses.replace(SCHEDULE, passes=1),
        "weights_dtype": "fp32",
        "augment": AugmentOptions(exposure_drift=0.02),
    }
    whole = train(config(discs, tmp_path / "whole", **changes))
    broken = config(discs, tmp_path / "broken", **changes)
    for stopped in (2, 4):  # behind the second of three windows, and behind the first of the next three
        state = train(broken, stop_after_steps=2)
        assert state.name == "state.pt" and torch.load(state, weights_only=True)["step"] == stopped
    resumed = train(broken)
    a, b = (read_checkpoint(path)[0].state_dict() for path in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)
    # Without the carried state it would not.
    forgetful = config(discs, tmp_path / "forgetful", **changes)
    state = train(forgetful, stop_after_steps=1)
    torch.save(torch.load(state, weights_only=True) | {"carried": None}, state)
    c = read_checkpoint(train(forgetful))[0].state_dict()
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_a_run_with_other_videos_is_not_resumed(discs: Path, tmp_path: Path) -> None:
    made = config(discs, tmp_path)
    train(made, stop_after_steps=1)
    seen: list[TrainProgress] = []
    train(made, stop_after_steps=1, on_progress=seen.append)
    assert seen[0].step == 2
    other = dataclasses.replace(made.videos[0], frame_stride=2)
    with pytest.raises(ConfigError, match="another configuration"):
        train(dataclasses.replace(made, videos=(other,)))


def test_stills_and_video_train_together(discs: Path, tmp_path: Path) -> None:
    stills = make_stills(tmp_path / "mine", count=8)
    schedule = dataclasses.replace(SCHEDULE, passes=1, clip_lengths={1: 0.5, 2: 0.5}, early_stopping_patience=1)
    _, _, card = read_checkpoint(train(config(discs, tmp_path / "run", schedule=schedule, datasets=(stills,))))
    assert set(card.scores) == {"mine", "ucf-sports"}
    assert card.protocol.startswith("stills: ") and "every 1 of ucf-sports" in card.protocol


# Scores.


def test_scores_are_of_the_pipe_with_the_state_carried(discs: Path) -> None:
    model = make_model()
    (sequence, *_) = open_dataset("ucf-sports", discs, split="train")
    scored = score_sequences(model, [sequence], options=LossOptions(), frames=11)
    assert scored.frames == 11 and math.isfinite(scored.loss)
    pictures = np.stack([frame.picture() for frame in sequence.read(stop=11)])
    fixated = [frame.fixations() for frame in sequence.read(stop=11)]
    log_density, _ = model(model.preprocessor(pictures)[None])

    def nss(maps: npt.NDArray[np.float32]) -> float:
        values = []
        for one, seen in zip(maps, fixated, strict=True):
            assert seen is not None
            z = (one - one.mean()) / one.std()
            values.append((z * seen.counts()).sum() / seen.counts().sum())
        return float(np.mean(values))

    assert scored.scores["nss"] == pytest.approx(nss(log_density[0].exp().numpy()), rel=1e-4)
    fresh, _ = model(model.preprocessor(pictures)[:, None])
    assert scored.scores["nss"] != pytest.approx(nss(fresh[:, 0].exp().numpy()), rel=1e-3)


def test_sets_without_points_are_scored_by_their_densities(tmp_path: Path) -> None:
    root = make_dreyeve(tmp_path / "DREYEVE", runs=(1,), unrolled=True)
    sequences = open_dataset("dreyeve", root, split="train", validation="none").sequences
    scores = score_sequences(make_model(), sequences, options=LossOptions(), frames=6).scores
    assert math.isnan(scores["nss"]) and math.isnan(scores["auc_judd"])
    assert math.isfinite(scores["kl"]) and math.isfinite(scores["cc"])


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ({"window_frames": 7}, "window_frames must be from 1 to frames_per_step"),
        ({"windows_per_sequence": 0}, "windows_per_sequence must be at least 1"),
        ({"video_share": 1.0}, "video_share"),
    ],
)
def test_windows_that_make_no_sense_are_refused(
    discs: Path, tmp_path: Path, schedule: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        train(config(discs, tmp_path, schedule=dataclasses.replace(SCHEDULE, **schedule)))


def test_shares_that_leave_nothing_for_stills_are_refused(discs: Path, tmp_path: Path) -> None:
    schedule = dataclasses.replace(SCHEDULE, video_share=0.6, teacher_share=0.4)
    made = config(discs, tmp_path, schedule=schedule)
    with pytest.raises(ConfigError, match="leave nothing for stills"):
        make_plan(10, made, [range(4)], [4])
    with pytest.raises(ConfigError, match="validation_frames"):
        train(dataclasses.replace(made, validation_frames=0))
