"""RMDN: its mixture against PyTorch's own, its layers and its LSTM in NumPy and SciPy, its state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from made import make_stills
from scipy.ndimage import correlate
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from vidsal.losses import map_loss
from vidsal.model.networks.catalogue import build_network
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.rmdn import RMDN, RMDNState
from vidsal.model.recurrent import Unroll
from vidsal.model.state import Memory
from vidsal.stages import LossOptions
from vidsal.train import ScheduleOptions, TrainConfig
from vidsal.train.run import TrainingRun

Array = npt.NDArray[np.float64]
THIN = 1 / 32
# Two videos of six frames; where their shots begin.
BEGINS = ((0, 4), (0, 1))


def thin() -> RMDN:
    """With weights that make its maps depend on what it saw."""
    torch.manual_seed(0)
    network = build_network(NetworkConfig("rmdn", THIN)).eval()
    assert isinstance(network, RMDN)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("encoder") and parameter.ndim > 1:
                parameter.mul_(2)
        for layer in (network.weights, network.means, network.variances, network.covariances):
            layer.weight.mul_(3)
        # So thin a network gives large features: gates are to stay between closed and open.
        network.gates_input.weight.mul_(0.1)
    return network


def frames() -> torch.Tensor:
    return torch.randint(0, 256, (2, 6, 3, 48, 64), generator=torch.Generator().manual_seed(1)).float()


def unroll(start: int, end: int) -> Unroll:
    return Unroll.of([[t in begins for t in range(start, end)] for begins in BEGINS], fresh_steps=1)


# The mixture.


def mixture(network: RMDN, hidden: torch.Tensor) -> MixtureSameFamily:
    """PyTorch's own, of the numbers that the linear layers give."""
    weight = network.weights(hidden).softmax(-1)
    mean = network.means(hidden).clamp_min(0).view(-1, 20, 2)
    variance = 1 + network.variances(hidden).exp().view(-1, 20, 2)
    covariance = torch.diag_embed(variance)
    covariance[..., 0, 1] = covariance[..., 1, 0] = network.covariances(hidden).tanh()
    double = [one.double() for one in (weight, mean, covariance)]
    return MixtureSameFamily(Categorical(double[0]), MultivariateNormal(double[1], double[2]))


@torch.inference_mode()
def test_the_map_is_the_mixture_at_the_middle_of_each_pixel() -> None:
    network = thin()
    hidden = torch.randn(2, network.units, generator=torch.Generator().manual_seed(3))
    judge = mixture(network, hidden)
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(171.0), indexing="ij")
    expected = judge.log_prob(torch.stack([rows, columns], -1)[:, :, None].double()).permute(2, 0, 1)
    torch.testing.assert_close(network.log_mixture(hidden, 128, 171).double(), expected, rtol=1e-4, atol=1e-4)
    # A canvas of half the size lies over the same pixels: the middle of its first one is between the first two.
    small = network.log_mixture(hidden, 64, 57)
    at = torch.tensor([[[0.5, 1.0]], [[126.5, 169.0]]]).double()
    torch.testing.assert_close(small[:, [0, -1], [0, -1]].T.double(), judge.log_prob(at), rtol=1e-4, atol=1e-4)


def test_the_loss_of_a_truth_of_one_pixel_is_minus_the_log_of_the_mixture_there() -> None:
    network = thin()
    hidden = torch.randn(1, network.units, generator=torch.Generator().manual_seed(3))
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(171.0), indexing="ij")
    density = mixture(network, hidden).log_prob(torch.stack([rows, columns], -1)[:, :, None].double())[..., 0].exp()
    own = network.log_mixture(hidden, 128, 171)
    own = own - own.flatten(1).logsumexp(1)[:, None, None]
    truth = torch.zeros(1, 128, 171)
    truth[0, 30, 90] = 1
    loss = map_loss(
        own,
        density=truth,
        counts=truth,
        inside=torch.ones(1, 128, 171, dtype=torch.bool),
        options=LossOptions(loss_name="log-likelihood"),
    )
    # The loss counts from a uniform map.
    expected = -float((density[30, 90] / density.sum() * 128 * 171).log().detach())
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)


@torch.inference_mode()
def test_extreme_numbers_still_give_a_density() -> None:
    network = thin()
    for sign in (-1, 1):
        network.variances.bias.fill_(200.0 * sign)
        network.covariances.bias.fill_(50.0 * sign)
        network.means.bias.fill_(1000.0 * sign)
        log_density, _ = network(frames()[:1, :1])
        assert torch.isfinite(log_density).all()
        torch.testing.assert_close(log_density.exp().sum(), torch.tensor(1.0))


def test_the_first_mixture_covers_the_picture() -> None:
    network = build_network(NetworkConfig("rmdn", THIN)).eval()
    with torch.inference_mode():
        density = network(frames()[:1, :1])[0].exp()[0, 0]
    quarters = density.unflatten(0, (2, 24)).unflatten(2, (2, 32)).sum((1, 3))
    assert float(quarters.min()) > 0.15


# Layers and state.


def hard_sigmoid(x: Array) -> Array:
    return np.clip(0.2 * x + 0.5, 0, 1)


def encoded(clip: Array, network: RMDN) -> dict[str, Array]:
    """(3, 16, h, w) through C3D."""
    pools = {"conv2": (1, 2, 2), "conv3a": (2, 2, 2), "conv4a": (2, 2, 2), "conv5a": (2, 2, 2)}
    found: dict[str, Array] = {}
    x = clip
    for name in ("conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b"):
        if name in pools:
            t, h, w = (side // over for side, over in zip(x.shape[1:], pools[name], strict=True))
            dt, dh, dw = pools[name]
            x = x[:, : t * dt, : h * dh, : w * dw].reshape(len(x), t, dt, h, dh, w, dw).max((2, 4, 6))
        weight, bias = (getattr(network.encoder[name], part).detach().double().numpy() for part in ("weight", "bias"))
        maps = [sum(correlate(a, k, mode="constant") for a, k in zip(x, kernel, strict=True)) for kernel in weight]
        x = found[name] = np.maximum(np.stack(maps) + bias[:, None, None, None], 0)
    return found


@torch.inference_mode()
def test_every_stage_of_two_frames_is_that_of_the_description() -> None:
    network = thin()
    pictures = torch.randint(0, 256, (1, 2, 3, 128, 160), generator=torch.Generator().manual_seed(2)).float()
    past = pictures[0].double().numpy()
    hidden = cell = np.zeros(network.units)
    layers = [getattr(network, name) for name in ("gates_input", "gates_hidden")]
    into, again = (layer.weight.double().numpy() for layer in layers)
    for t in (0, 1):
        # Before there are sixteen frames, the first is repeated.
        clip = np.stack([past[max(0, at)] for at in range(t - 15, t + 1)], 1)
        found = encoded(clip, network)
        own = network.stages(torch.from_numpy(clip).float().transpose(0, 1)[None])
        for name, expected in found.items():
            off = np.abs(own[name][0].double().numpy() - expected).max()
            assert off <= 1e-4 * expected.max() and expected.max() > 0, (t, name)
        # 128x160 leaves 8x10 cells.
        gates = into @ found["conv5b"].reshape(-1) + layers[0].bias.double().numpy() + again @ hidden
        i, f, c, o = gates.reshape(4, -1)
        cell = hard_sigmoid(f) * cell + hard_sigmoid(i) * np.tanh(c)
        hidden = hard_sigmoid(o) * np.tanh(cell)
    _, state = network(pictures)
    np.testing.assert_allclose(state.hidden[0], hidden, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(state.cell[0], cell, rtol=1e-3, atol=1e-5)
    assert np.abs(hidden).max() > 0.01


@torch.inference_mode()
def test_how_frames_are_grouped_into_calls_changes_nothing() -> None:
    network = thin()
    whole, last = network(frames(), unroll=unroll(0, 6))
    for sizes in ((1,) * 6, (2, 3, 1)):
        state, start, parts = None, 0, []
        for size in sizes:
            part, state = network(frames()[:, start : start + size], state, unroll=unroll(start, start + size))
            parts.append(part)
            start += size
        torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-3)
        for name in ("past", "hidden", "cell"):
            torch.testing.assert_close(getattr(state, name), getattr(last, name), rtol=1e-4, atol=1e-5)
    # After a cut a video is as a new one; before, it is not.
    alone, _ = network(frames()[:1, 4:])
    torch.testing.assert_close(alone[0], whole[0, 4:], rtol=1e-4, atol=1e-3)
    late, _ = network(frames()[:1, 3:4])
    assert not torch.allclose(late[0, 0], whole[0, 3], atol=1e-2)


@torch.inference_mode()
def test_what_fills_up_a_shorter_video_changes_nothing() -> None:
    network = thin()
    padded = Unroll.of([[True, False, False]] * 2, fresh_steps=1, lengths=[3, 1])
    _, state = network(frames()[:, :3], unroll=padded)
    _, alone = network(frames()[1:, :1])
    for name in ("past", "hidden", "cell"):
        torch.testing.assert_close(getattr(state.row(1), name), getattr(alone, name), rtol=1e-4, atol=1e-5)
    # A video that begins beside one that goes on is joined as zeros.
    zeros = alone.map(torch.zeros_like)
    both = RMDNState.join([state.row(0), zeros])
    density, _ = network(frames()[:, 3:4], both, unroll=Unroll.of([[False], [True]], fresh_steps=1))
    torch.testing.assert_close(density[1], network(frames()[1:, 3:4])[0][0], rtol=1e-4, atol=1e-3)


def test_a_state_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="must be an RMDNState, got a Memory"):
        thin()(frames(), Memory.none(2))


def test_a_run_that_goes_on_has_the_state_again(tmp_path: Path) -> None:
    make_stills(tmp_path / "set")
    config = TrainConfig(
        output=tmp_path / "run",
        datasets=(tmp_path / "set",),
        preset="rmdn",
        width=THIN,
        schedule=ScheduleOptions(passes=1, average_decay=0),
        device="cpu",
    )
    config.output.mkdir()
    before, after = (TrainingRun(config, torch.device("cpu"), 3) for _ in range(2))
    before.carried = thin()(frames())[1].detach()
    before.save()
    after.resume()
    assert isinstance(after.carried, RMDNState)
    for name, value in vars(before.carried).items():
        assert torch.equal(getattr(after.carried, name), value)
