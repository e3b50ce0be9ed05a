"""Recording and replaying passes of a network; a stand-in for CUDA's capture shows the bookkeeping on any machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from made import LIGHT, make_model, make_network

from vidsal.model.graphs import RecordedNetwork
from vidsal.model.sam import SaliencyAttentiveModel, Unroll


class FakeCapture:
    """Runs the work once while "recording", then again at every replay, on the buffers it was recorded with."""

    def __init__(self, network: SaliencyAttentiveModel) -> None:
        self.network = network
        self.replays = 0

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        work()

        def replay() -> None:
            self.replays += 1
            work()

        return replay


@pytest.fixture
def network() -> SaliencyAttentiveModel:
    return make_network(config=LIGHT)


def clip(seed: int, times: int = 2) -> torch.Tensor:
    return torch.randn(1, times, 3, 48, 64, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_replayed_passes_equal_called_ones_and_their_results_stay(network: SaliencyAttentiveModel) -> None:
    capture = FakeCapture(network)
    recorded = RecordedNetwork(network, capture=capture)
    state = expected_state = None
    results, expected = [], []
    for number in range(8):
        unroll = Unroll.of([[number == 0, False]], fresh_steps=2)
        log_density, state = recorded(clip(number), state, unroll=unroll)
        results.append(log_density)
        reference, expected_state = network(clip(number), expected_state, unroll=unroll)
        expected.append(reference)
    assert capture.replays == 8 - 1 - 2  # the first frame is a case of its own, the next comes twice before it pays
    for result, reference in zip(results, expected, strict=True):
        torch.testing.assert_close(result, reference)
    assert not torch.allclose(results[-1], results[-2])


@torch.inference_mode()
def test_every_case_has_its_own_recording_and_their_number_is_bounded(network: SaliencyAttentiveModel) -> None:
    recorded = RecordedNetwork(network, capture=FakeCapture(network))
    for number in range(4 * 3):
        cut = number % 4
        unroll = Unroll.of([[t == cut for t in range(4)]], fresh_steps=2)
        _, state = network(clip(0, 1))
        result, _ = recorded(clip(number, 4), state, unroll=unroll)
        torch.testing.assert_close(result, network(clip(number, 4), state, unroll=unroll)[0])
    assert recorded.recorded == 4
    for times in range(1, 12):
        for _ in range(3):
            recorded(clip(0, times))
    assert recorded.recorded == 8


@torch.inference_mode()
def test_a_failed_recording_falls_back_and_says_why(network: SaliencyAttentiveModel) -> None:
    attempts = 0

    def broken(work: Callable[[], None]) -> Callable[[], None]:
        nonlocal attempts
        attempts += 1
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    recorded = RecordedNetwork(network, capture=broken)
    for number in range(6):
        result, _ = recorded(clip(number))
        torch.testing.assert_close(result, network(clip(number))[0])
    assert attempts == 1
    assert recorded.failure == "CUDA graphs are off: operation not permitted when stream is capturing"


def test_a_model_says_that_its_passes_could_not_be_recorded(network: SaliencyAttentiveModel) -> None:
    model = make_model()
    assert model.notes == ()
    model._forward = RecordedNetwork(model.network)
    assert model.notes == ()
    model._forward.failure = "CUDA graphs are off: out of memory"
    assert model.notes == ("CUDA graphs are off: out of memory",)


@pytest.mark.gpu
@torch.inference_mode()
def test_cuda_graphs_give_the_same_maps(network: SaliencyAttentiveModel) -> None:
    network.to("cuda")
    recorded = RecordedNetwork(network)
    state = expected_state = None
    for number in range(6):
        log_density, state = recorded(clip(number).cuda(), state)
        reference, expected_state = network(clip(number).cuda(), expected_state)
        torch.testing.assert_close(log_density, reference, atol=1e-3, rtol=1e-3)
    assert recorded.failure is None
    assert recorded.recorded >= 1
