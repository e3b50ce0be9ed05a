"""The networks: shapes, the recurrence against its equations, states, batching."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from made import LIGHT, make_network

from vidsal.errors import CheckpointError, ConfigError
from vidsal.model.backbones import DilatedResNet50, DilatedVGG16, LightMobileNetV2, _pool_same_top_left
from vidsal.model.heads import upsampling_matrix
from vidsal.model.priors import LearnedPriors
from vidsal.model.recurrent import AttentiveConvLSTM, SAMState
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig, Unroll

PUBLISHED = {
    name: SAMConfig(name, 512, 2, "none", 3, 2, 4, "published")  # type: ignore[arg-type]
    for name in ("resnet50", "vgg16")
}


def frames(times: int, streams: int = 1, size: int = 64, seed: int = 1) -> torch.Tensor:
    return torch.randn(streams, times, 3, size, size, generator=torch.Generator().manual_seed(seed))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Log densities of the same maps: sums taken in another order leave about 1e-4 of a cell."""
    return torch.allclose(a, b, atol=5e-4, rtol=1e-5)


@torch.no_grad()
def test_a_light_model_gives_a_log_density_of_the_canvas() -> None:
    log_density, state = make_network(config=LIGHT)(frames(3, streams=2))
    assert log_density.shape == (2, 3, 64, 64) and log_density.dtype == torch.float32
    torch.testing.assert_close(log_density.exp().sum((-1, -2)), torch.ones(2, 3))
    assert state.hidden.shape == state.cell.shape == (2, 8, 4, 4)


@torch.no_grad()
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_architecture_gives_a_log_density_and_carries_a_state(name: str) -> None:
    torch.manual_seed(0)
    model = SaliencyAttentiveModel(PUBLISHED[name]).eval()
    clip = frames(2, size=48)
    whole, after = model(clip)
    assert whole.shape == (1, 2, 48, 48) and after.hidden.shape == (1, 512, 6, 6)
    torch.testing.assert_close(whole.exp().sum((-1, -2)), torch.ones(1, 2))
    first, state = model(clip[:, :1])
    second, _ = model(clip[:, 1:], state)
    assert close(torch.cat([first, second], 1), whole)
    assert (model(clip[:, 1:])[1].hidden - after.hidden).abs().max() > 1e-4


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_all_zero_map_of_the_published_head_becomes_uniform(name: str) -> None:
    model = SaliencyAttentiveModel(SAMConfig(name, 512, 1, "none", 1, 1, 4, "published")).eval()  # type: ignore[arg-type]
    torch.nn.init.constant_(model.head.out.bias, -1e6)  # type: ignore[union-attr, arg-type]
    with torch.no_grad():
        log_density, _ = model(frames(1, size=32))
    torch.testing.assert_close(log_density.exp(), torch.full_like(log_density, 1 / 32**2))


@torch.no_grad()
@pytest.mark.parametrize("scale", ["none", "cells"])
def test_a_step_is_the_published_equations(scale: str) -> None:
    torch.manual_seed(3)
    cell = AttentiveConvLSTM(5, 4, attention_scale=scale)  # type: ignore[arg-type]
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, h, c = torch.randn(2, 5, 6, 7), torch.randn(2, 4, 6, 7), torch.randn(2, 4, 6, 7)
    got = cell.step(x, cell.precompute(x), SAMState(h, c))

    def convolve(name: str, value: torch.Tensor) -> torch.Tensor:
        layer = getattr(cell, name)
        return F.conv2d(value, layer.weight, layer.bias, padding=1)

    z = convolve("attention_score", torch.tanh(convolve("attention_hidden", h) + convolve("attention_input", x)))
    a = torch.exp(z) / torch.exp(z).sum((2, 3), keepdim=True)
    attended = x * a * (42 if scale == "cells" else 1)
    into, forget, content, out = (convolve("gates_input", attended) + convolve("gates_hidden", h)).split(4, 1)
    expected_c = torch.sigmoid(forget) * c + torch.sigmoid(into) * torch.tanh(content)
    torch.testing.assert_close(got.cell, expected_c)
    torch.testing.assert_close(got.hidden, torch.sigmoid(out) * torch.tanh(expected_c))


@torch.no_grad()
def test_a_clip_cut_anywhere_gives_the_maps_of_the_whole() -> None:
    model, clip = make_network(config=LIGHT), frames(5)
    whole, end = model(clip)
    for cut in range(1, 5):
        head, state = model(clip[:, :cut])
        tail, last = model(clip[:, cut:], state)
        assert close(torch.cat([head, tail], 1), whole)
        assert close(last.hidden, end.hidden) and close(last.cell, end.cell)


@torch.no_grad()
def test_a_dropped_state_shows() -> None:
    model, clip = make_network(config=LIGHT), frames(4)
    whole, _ = model(clip)
    tail, _ = model(clip[:, 2:])
    assert not close(tail, whole[:, 2:])


@torch.no_grad()
def test_a_fresh_frame_forgets_what_came_before() -> None:
    model, clip = make_network(config=LIGHT), frames(4)
    marked, _ = model(clip, unroll=Unroll.of([[True, False, True, False]], fresh_steps=2))
    alone, _ = model(clip[:, 2:])
    assert close(marked[:, 2:], alone)
    assert not close(model(clip)[0][:, 2:], alone)


@torch.no_grad()
def test_streams_in_one_batch_do_not_disturb_each_other() -> None:
    model, clips = make_network(config=LIGHT), frames(4, streams=3)
    flags = [[True, False, False, True], [True, True, False, False], [True, False, False, False]]
    together, state = model(clips, unroll=Unroll.of(flags, fresh_steps=2))
    for stream in range(3):
        alone, own = model(clips[stream : stream + 1], unroll=Unroll.of([flags[stream]], fresh_steps=2))
        assert close(together[stream : stream + 1], alone)
        assert close(state.row(stream).cell, own.cell)


@torch.no_grad()
@pytest.mark.parametrize("carry_steps", [1, 2])
def test_streams_of_different_lengths_share_a_batch(carry_steps: int) -> None:
    model, clips = make_network(config=LIGHT), frames(4, streams=4)
    _, before = model(frames(1, streams=4, seed=2))
    flags = [[False] * 4, [False, True, False, True], [True] * 4, [False] * 4]
    lengths = [4, 3, 2, 0]
    unroll = Unroll.of(flags, fresh_steps=2, carry_steps=carry_steps, lengths=lengths)
    together, state = model(clips, before, unroll=unroll)
    for stream, length in enumerate(lengths):
        if length == 0:
            # Nothing of this stream came: its state waits unchanged.
            assert torch.equal(state.hidden[stream], before.hidden[stream])
            assert torch.equal(state.cell[stream], before.cell[stream])
            continue
        alone, own = model(
            clips[stream : stream + 1, :length],
            before.row(stream),
            unroll=Unroll.of([flags[stream][:length]], fresh_steps=2, carry_steps=carry_steps),
        )
        # Rounding differs with the size of the batch, and these random networks amplify it.
        difference = (together[stream : stream + 1, :length].exp() - alone.exp()).abs().max()
        assert float(difference) < 1e-4 * float(alone.exp().max())
        assert close(state.row(stream).hidden, own.hidden)
        assert close(state.row(stream).cell, own.cell)


@torch.no_grad()
def test_frames_that_all_start_afresh_go_through_the_steps_together() -> None:
    model, clips = make_network(config=LIGHT), frames(3, streams=2)
    sizes = []
    step = model.recurrence.step
    model.recurrence.step = lambda x, *rest: sizes.append(len(x)) or step(x, *rest)  # type: ignore[method-assign, func-returns-value]
    together, _ = model(clips, unroll=Unroll.of([[True] * 3] * 2, fresh_steps=2))
    assert sizes == [6, 6]  # as many calls as steps, each of all frames of all streams
    for stream in range(2):
        for t in range(3):
            alone, _ = model(clips[stream : stream + 1, t : t + 1])
            assert close(together[stream, t], alone[0, 0])


@torch.no_grad()
def test_a_step_from_zero_without_a_state_is_a_step_from_a_state_of_zeros() -> None:
    recurrence, features = make_network(config=LIGHT).recurrence, torch.randn(2, 8, 4, 4)
    for convolution in (recurrence.attention_hidden, recurrence.gates_hidden):
        torch.nn.init.normal_(convolution.bias)  # type: ignore[arg-type]
    attended = recurrence.precompute(features)
    with_zeros = recurrence.step(features, attended, recurrence.initial_state(features))
    without = recurrence.step(features, attended, None)
    torch.testing.assert_close(without.hidden, with_zeros.hidden)
    torch.testing.assert_close(without.cell, with_zeros.cell)
    assert float(without.hidden.abs().max()) > 0.01


def test_lengths_that_do_not_fit_are_refused() -> None:
    for lengths in ([1], [1, 3], [-1, 2]):
        with pytest.raises(ValueError, match="2 numbers from 0 to 2"):
            Unroll.of([[True, False]] * 2, fresh_steps=2, lengths=lengths)


@pytest.mark.parametrize("wrong", [{"fresh_steps": 0}, {"fresh_steps": 1, "carry_steps": 0}])
def test_steps_and_flags_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{list(wrong)[-1]} must be at least 1, got 0"):
        Unroll.of([[True]], **wrong)
    for fresh in ([], [[True], [True, False]]):
        with pytest.raises(ValueError, match="rows of one length"):
            Unroll.of(fresh, fresh_steps=1)


def test_equal_ways_to_unroll_are_one_key() -> None:
    """Whatever sequences they were made of: a recorded pass must be found again, and no other."""
    listed = Unroll.of([[True, False]], fresh_steps=2, lengths=[2])
    assert listed == Unroll.of(((1, 0),), fresh_steps=2) and len({listed, Unroll.of(((1, 0),), fresh_steps=2)}) == 1
    others = [Unroll.of([[False, False]], fresh_steps=2), Unroll.of([[True, False]], fresh_steps=2, lengths=[1])]
    assert listed not in others and listed != Unroll.of([[True, False]], fresh_steps=3)


@torch.no_grad()
def test_the_number_of_steps_counts() -> None:
    model, clip = make_network(config=LIGHT), frames(2)
    one, first, later = (Unroll.of([[True, False]], fresh_steps=n, carry_steps=m) for n, m in ((2, 1), (3, 1), (2, 2)))
    assert close(model(clip)[0], model(clip, unroll=one)[0])
    assert not close(model(clip)[0][:, 0], model(clip, unroll=first)[0][:, 0])
    assert not close(model(clip)[0][:, 1], model(clip, unroll=later)[0][:, 1])


@torch.no_grad()
def test_gradients_reach_the_first_frame_through_the_state() -> None:
    model, clip = make_network(config=LIGHT), frames(2).requires_grad_()
    with torch.enable_grad():
        log_density, _ = model(clip)
        log_density[:, 1].square().sum().backward()
    assert clip.grad is not None and clip.grad[:, 0].abs().max() > 0


def test_wrong_shapes_are_refused() -> None:
    model = make_network(config=LIGHT)
    with pytest.raises(ValueError, match="multiples of 16"):
        model(torch.zeros(1, 1, 3, 60, 64))
    with pytest.raises(ValueError, match=r"\(B, T, 3, H, W\)"):
        model(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="1 videos of 2 frames, got 1 of 1"):
        model(torch.zeros(1, 2, 3, 64, 64), unroll=Unroll.of([[True]], fresh_steps=1))
    with pytest.raises(ConfigError, match="finer features"):
        SAMConfig("vgg16", 512)


def test_priors_are_the_published_formula_and_clipped() -> None:
    priors = LearnedPriors(2)
    with torch.no_grad():
        # mu_x, mu_y, sigma_x, sigma_y; the second one out of bounds everywhere.
        priors.parameters_vector.copy_(torch.tensor([0.5, 0.0, 0.4, 9.0, 0.2, 0.01, 0.3, 5.0]))
    maps = priors(3, 4).detach()
    y = [0.5 - 0.375, 0.5, 0.5 + 0.375]  # e = 3 / 4
    for row in range(3):
        for column in range(4):
            raw = [
                -((column / 3 - mx) ** 2 / (2 * sx**2) + (y[row] - my) ** 2 / (2 * sy**2))
                for mx, my, sx, sy in ((0.5, 0.4, 0.2, 0.3), (0.25, 0.65, 0.1, 0.8))
            ]
            for index in range(2):
                relative = torch.tensor(raw[index]).exp()
                ratio = maps[index, row, column] / maps[index].max()
                best = max(
                    torch.tensor(-((c / 3 - m[0]) ** 2 / (2 * m[2] ** 2) + (yy - m[1]) ** 2 / (2 * m[3] ** 2))).exp()
                    for m in [((0.5, 0.4, 0.2, 0.3), (0.25, 0.65, 0.1, 0.8))[index]]
                    for c in range(4)
                    for yy in y
                )
                assert ratio.item() == pytest.approx((relative / best).item(), abs=1e-4)
    assert maps.amax((1, 2)).tolist() == [1.0, 1.0]


def test_upsampling_puts_cell_i_on_pixel_16_i_plus_7_and_repeats_the_edge() -> None:
    cells = torch.tensor([1.0, 3.0], dtype=torch.float64)
    fine = upsampling_matrix(2, 16) @ cells
    assert fine.shape == (32,)
    assert fine[7] == 1.0 and fine[23] == 3.0
    assert fine[15].item() == pytest.approx(2.0)
    assert (fine[:7] == 1.0).all() and (fine[24:] == 3.0).all()


def test_same_pooling_pads_at_the_top_and_left() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert _pool_same_top_left(x, stride=2)[0, 0].tolist() == [[0.0, 2.0], [8.0, 10.0]]
    assert torch.equal(_pool_same_top_left(x, stride=1), x)
    falling = 15 - x
    assert _pool_same_top_left(falling, stride=1)[0, 0, 1].tolist() == [15.0, 15.0, 14.0, 13.0]


@torch.no_grad()
@pytest.mark.parametrize(
    ("backbone", "stride"), [(DilatedResNet50(16), 8), (DilatedVGG16(), 8), (LightMobileNetV2(16), 16)]
)
def test_a_backbone_keeps_its_stride(backbone: torch.nn.Module, stride: int) -> None:
    features = backbone.eval()(torch.randn(1, 3, 96, 128))
    assert features.deep.shape == (1, backbone.channels, 96 // stride, 128 // stride)
    for level, (skip, channels) in enumerate(zip(features.skips, backbone.skip_channels, strict=True)):
        finer = stride >> (level + 1)
        assert skip.shape == (1, channels, 96 // finer, 128 // finer)


@torch.no_grad()
def test_a_light_backbone_with_its_stride_put_back_is_torchvisions() -> None:
    from torchvision_models import import_torchvision_models

    theirs = import_torchvision_models().mobilenet_v2(weights=None).eval()
    ours = LightMobileNetV2(8).eval()
    ours.load_imagenet(theirs.state_dict())
    pixels = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours.features[:14](pixels), theirs.features[:14](pixels))
    # On a constant picture strides and dilations do not matter away from the border.
    ours.features[14].conv[1][0].stride = (2, 2)
    for index in (15, 16, 17):
        ours.features[index].conv[1][0].dilation = ours.features[index].conv[1][0].padding = (1, 1)
    torch.testing.assert_close(ours.features(pixels), theirs.features[:18](pixels))


def test_imagenet_weights_of_resnet_and_vgg_are_taken_over_whole() -> None:
    from torchvision_models import import_torchvision_models

    models = import_torchvision_models()
    resnet = models.resnet50(weights=None).state_dict()
    ours = DilatedResNet50(8)
    ours.load_imagenet(resnet)
    state = ours.state_dict()
    assert torch.equal(state["stages.2.0.conv2.weight"], resnet["layer3.0.conv2.weight"])
    assert torch.equal(state["stages.1.0.shortcut.0.weight"], resnet["layer2.0.downsample.0.weight"])
    assert not state["stages.1.0.shortcut.0.bias"].any()
    vgg = models.vgg16(weights=None).state_dict()
    network = DilatedVGG16()
    network.load_imagenet(vgg)
    assert torch.equal(network.blocks[4][4].weight, vgg["features.28.weight"])  # type: ignore[index, union-attr]
    with pytest.raises(CheckpointError, match="not VGG-16"):
        network.load_imagenet(resnet)
    with pytest.raises(CheckpointError, match="not ResNet-50"):
        ours.load_imagenet(vgg)
