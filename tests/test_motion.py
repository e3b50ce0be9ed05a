"""The branch that compares frames: without effect where nothing changed, carried like the rest of the state."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from made import TINY, make_checkpoint

from vidsal.errors import ConfigError
from vidsal.model.checkpoint import read_checkpoint
from vidsal.model.inference import prepare_for_inference
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig, SAMState, Unroll
from vidsal.train.start import with_motion

MOVING = dataclasses.replace(TINY, motion_channels=4)


def moving(seed: int = 0) -> SaliencyAttentiveModel:
    torch.manual_seed(seed)
    model = SaliencyAttentiveModel(MOVING)
    assert model.motion is not None
    torch.nn.init.normal_(model.motion.out.weight, std=1.0)
    with torch.no_grad():
        # Batch norms at what they see, or random features fade to nothing.
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        model.train()(frames(8))
    return model.eval()


def frames(times: int, streams: int = 1, seed: int = 1) -> torch.Tensor:
    return torch.randn(streams, times, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def without(model: SaliencyAttentiveModel) -> SaliencyAttentiveModel:
    plain = SaliencyAttentiveModel(TINY).eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("motion.")})
    return plain


def unroll(fresh: list[list[bool]], lengths: list[int] | None = None) -> Unroll:
    return Unroll.of(fresh, fresh_steps=MOVING.steps, lengths=lengths)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return float((a.exp() - b.exp()).abs().max()) < 1e-4 * float(b.exp().max())


@torch.no_grad()
def test_fresh_frames_and_standing_pictures_are_seen_as_without_the_branch() -> None:
    model, clip = moving(), frames(3)
    plain = without(model)
    every = unroll([[True] * 3])
    assert torch.equal(model(clip, unroll=every)[0], plain(clip, unroll=every)[0])
    still = clip[:, :1].expand(-1, 3, -1, -1, -1)
    assert same(model(still)[0], plain(still)[0])
    assert not same(model(clip)[0], plain(clip)[0])


@torch.no_grad()
def test_what_changed_is_measured_from_the_frame_before_wherever_the_calls_are_cut() -> None:
    model, clip = moving(), frames(5)
    whole, end = model(clip)
    for cut in range(1, 5):
        head, state = model(clip[:, :cut])
        tail, last = model(clip[:, cut:], state)
        assert same(torch.cat([head, tail], 1), whole)
        assert torch.equal(last.seen, end.seen) or torch.allclose(last.seen, end.seen, atol=1e-5)
    # Another last frame with the same H and C shows.
    other = SAMState(state.hidden, state.cell, state.seen + 1)
    assert not same(model(clip[:, 4:], other)[0], model(clip[:, 4:], state)[0])


@torch.no_grad()
def test_a_cut_compares_with_nothing() -> None:
    model, clip = moving(), frames(4)
    marked, _ = model(clip, unroll=unroll([[True, False, True, False]]))
    assert same(marked[:, 2:], model(clip[:, 2:])[0])


@torch.no_grad()
def test_streams_are_compared_each_with_its_own_last_frame() -> None:
    model, clips = moving(), frames(4, streams=4)
    _, before = model(frames(2, streams=4, seed=2))
    flags = [[False, True, False, False], [True, False, False, True], [False] * 4, [False] * 4]
    lengths = [4, 3, 2, 0]
    together, state = model(clips, before, unroll=unroll(flags, lengths))
    for stream, length in enumerate(lengths):
        own = before.row(stream)
        if length:
            alone, own = model(clips[stream : stream + 1, :length], own, unroll=unroll([flags[stream][:length]]))
            assert same(together[stream : stream + 1, :length], alone)
        assert torch.allclose(state.row(stream).seen, own.seen, atol=1e-5)  # type: ignore[arg-type]


@torch.no_grad()
def test_the_branch_sees_where_something_moved() -> None:
    model = moving()
    finer = torch.zeros(1, 2, model.backbone.skip_channels[0], 8, 8)
    finer[:, 1, :, 0:2, 6:8] = 1.0
    added = model.motion(finer, None, [[True, False]])  # type: ignore[misc]
    assert float(added[0].abs().max()) == 0
    changed = added[1].abs().sum(0)
    # The cell itself and its neighbours see it; the others only that something in the picture changed.
    assert float(changed[0, 3]) > 0 and float(changed[3, 0]) > 0
    assert not torch.allclose(changed[0, 3], changed[3, 0])


def test_a_state_of_a_model_that_compares_nothing_is_refused() -> None:
    clip = frames(1)
    _, state = SaliencyAttentiveModel(TINY).eval()(clip)
    with pytest.raises(ValueError, match="comes from another model"):
        moving()(clip, state)


def test_published_backbones_have_nothing_to_compare() -> None:
    with pytest.raises(ConfigError, match="finer features"):
        SAMConfig("resnet50", 512, 2, "none", 3, 2, 4, "published", motion_channels=4)


@torch.no_grad()
def test_a_rewritten_network_compares_alike() -> None:
    model, clip = moving(), frames(3)
    expected, state = model(clip)
    got, own = prepare_for_inference(moving())(clip)
    assert same(got, expected)
    torch.testing.assert_close(own.seen, state.seen, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_a_trained_network_given_a_branch_predicts_as_before(tmp_path: Path) -> None:
    network, _, _ = read_checkpoint(make_checkpoint(tmp_path / "tiny.safetensors"))
    larger = with_motion(network, 4).eval()
    clip = frames(3)
    assert torch.equal(larger(clip)[0], network.eval()(clip)[0])
    assert any(name.startswith("motion.") for name in larger.state_dict())
