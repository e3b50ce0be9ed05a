"""Which of the other systems' networks, and how wide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vidsal.model.options import NetworkName
from vidsal.options import Checked, Range

__all__ = ["NetworkConfig"]


@dataclass(frozen=True)
class NetworkConfig(Checked):
    """The architecture of a network in `vidsal.model.networks`."""

    network: NetworkName
    """The system."""
    width: Annotated[float, Range(above=0, at_most=1)] = 1.0
    """Share of the published number of channels in every layer; published weights fit 1 only."""

    @property
    def steps(self) -> int:
        """1: none of them refines its state."""
        return 1

    def channels(self, published: int) -> int:
        """So many of a layer's published channels, at least 1."""
        return max(1, round(published * self.width))
