"""Batches on a device in, the same batches on the CPU out, without waiting for the device in between."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch

from vidsal.frames import SaliencyBatch

__all__ = ["Downloads"]


class Downloads:
    """Copies batches from CUDA into page-locked memory after the device's other work.

    The next `update` returns them, when their copies have long been made. What lies on the CPU passes through.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        begin_copy: Callable[[torch.Tensor], tuple[torch.Tensor, Callable[[], None]]] | None = None,
    ) -> None:
        """Begin with nothing held back.

        Args:
            device: where the batches come from.
            begin_copy: begins to copy a tensor; returns the copy, and what waits until it is filled. None: CUDA's own
                for a CUDA device, else nothing is held back.
        """
        self._begin_copy = begin_copy or (_begin_copy_from_cuda if device.type == "cuda" else None)
        self.reset()

    def reset(self) -> None:
        """Forget what is held back."""
        self._held: list[tuple[SaliencyBatch, Callable[[], None]]] = []

    def update(self, batches: Sequence[SaliencyBatch]) -> list[SaliencyBatch]:
        """Queue the next batches; returns those queued by the call before."""
        if self._begin_copy is None:
            return [
                batch if batch.log_density.is_cpu else dataclasses.replace(batch, log_density=batch.log_density.cpu())
                for batch in batches
            ]
        queued = []
        for batch in batches:
            copy, wait = self._begin_copy(batch.log_density)
            queued.append((dataclasses.replace(batch, log_density=copy), wait))
        ready = self.flush()
        self._held = queued
        return ready

    def flush(self) -> list[SaliencyBatch]:
        """Return what is held back."""
        held, self._held = self._held, []
        for _, wait in held:
            wait()
        return [batch for batch, _ in held]


def _begin_copy_from_cuda(source: torch.Tensor) -> tuple[torch.Tensor, Callable[[], None]]:
    target = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
    target.copy_(source, non_blocking=True)
    # Without `blocking` the waiting thread would keep a core busy.
    done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    done.record(torch.cuda.current_stream(source.device))
    return target, done.synchronize
