"""What a CUDA device is asked to do, and in which order, told by a processor that keeps a diary.

That the results are right is asked of a real device (tests marked gpu). That nothing is read before it is there, and no
memory given away too early, shows there only by chance, here always.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from test_pipe_many import saliency
from test_sinks_device import HEIGHT, WIDTH, Film

from vidsal.pipe.downloads import Downloads
from vidsal.render import RenderOptions
from vidsal.sinks.device import DeviceDrawer


class Cuda(str):
    """The processor, under the name of a CUDA device."""

    type = "cuda"


CUDA: Any = Cuda("cpu")


class OnCuda(torch.Tensor):
    """A tensor that says that it lies on the device."""

    is_cuda = True
    is_cpu = False
    diary: ClassVar[list[str]] = []

    def record_stream(self, stream: Any) -> None:
        self.diary.append(f"keep {tuple(self.shape)} for {stream}")


def on_cuda(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_subclass(OnCuda)


@pytest.fixture
def diary(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    written: list[str] = []
    empty = torch.empty

    class Stream:
        def __init__(self, name: Any) -> None:
            self.name = f"own stream of {name}" if isinstance(name, Cuda) else name

        def wait_stream(self, other: Any) -> None:
            written.append(f"{self} waits for {other}")

        def __str__(self) -> str:
            return str(self.name)

    current = [Stream("current stream")]

    class Event:
        def __init__(self, *, blocking: bool = False) -> None:
            self.kind = "blocking" if blocking else "busy"

        def record(self, stream: Any = None) -> None:
            written.append(f"{self.kind} mark in {stream or current[-1]}")

        def synchronize(self) -> None:
            written.append(f"wait for the {self.kind} mark")

    @contextmanager
    def within(stream: Stream) -> Iterator[None]:
        current.append(stream)
        yield
        current.pop()

    def reserve(*size: Any, pin_memory: bool = False, **options: Any) -> torch.Tensor:
        if pin_memory:
            written.append("page-locked memory")
        return empty(*size, **options)

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current[-1])
    monkeypatch.setattr(torch, "empty", reserve)
    monkeypatch.setattr(OnCuda, "diary", written)
    return written


def test_a_batch_is_drawn_in_a_stream_of_its_own_and_handed_out_once_it_is_there(diary: list[str]) -> None:
    film = Film(2)
    wanted = film.planes()
    drawer = DeviceDrawer(CUDA, render=RenderOptions(), size=(HEIGHT, WIDTH), colorspace=6, full_range=False)
    drawing = drawer.draw(film.pictures, on_cuda(film.log_density), film.scales)
    first = next(drawing)
    own = "own stream of cpu"
    assert diary == [
        "page-locked memory",
        f"{own} waits for current stream",
        f"keep (2, 3, 5) for {own}",
        "page-locked memory",
        f"blocking mark in {own}",
        "wait for the blocking mark",
    ]
    np.testing.assert_array_equal([first.copy(), *drawing], wanted)
    assert len(diary) == 6


def test_what_comes_down_is_waited_for_when_the_next_batch_is_queued(diary: list[str]) -> None:
    downloads = Downloads(CUDA)
    given = [saliency(number) for number in (1, 2)]
    there = [dataclasses.replace(batch, log_density=on_cuda(batch.log_density)) for batch in given]
    queued = ["page-locked memory", "blocking mark in current stream"]
    assert downloads.update(there[:1]) == []
    assert diary == queued
    (one,) = downloads.update(there[1:])
    assert diary == [*queued, *queued, "wait for the blocking mark"]
    (other,) = downloads.flush()
    for batch, before in ((one, given[0]), (other, given[1])):
        assert type(batch.log_density) is torch.Tensor
        assert torch.equal(batch.log_density, before.log_density)
