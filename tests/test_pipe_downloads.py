"""What comes from a device to the processor, told by a device that is none."""

from __future__ import annotations

import dataclasses

import torch
from test_pipe_many import saliency

from vidsal.pipe.downloads import Downloads


class Elsewhere(torch.Tensor):
    """A tensor that says that it is not the processor's."""

    is_cpu = False

    def cpu(self) -> torch.Tensor:  # type: ignore[override]
        return self.as_subclass(torch.Tensor)


def test_what_lies_elsewhere_comes_to_the_processor_and_what_is_there_is_handed_on() -> None:
    here = saliency(1)
    there = dataclasses.replace(saliency(2), log_density=saliency(2).log_density.as_subclass(Elsewhere))
    downloads = Downloads(torch.device("mps"))
    one, other = downloads.update([here, there])
    assert one is here
    assert type(other.log_density) is torch.Tensor
    assert torch.equal(other.log_density, saliency(2).log_density)
    assert other.index.tolist() == [2]
    assert downloads.flush() == []


def test_after_a_reset_nothing_of_the_video_before_is_handed_out() -> None:
    downloads = Downloads(torch.device("cpu"), begin_copy=lambda source: (source.clone(), lambda: None))
    assert downloads.update([saliency(0)]) == []
    downloads.reset()
    assert downloads.update([saliency(1)]) == []
    assert [batch.index.tolist() for batch in downloads.flush()] == [[1]]
