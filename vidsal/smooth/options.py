"""Which smoothing, and how far it reaches: `SmoothOptions` in, a `Smoother` for one video out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vidsal.errors import ConfigError

if TYPE_CHECKING:
    from vidsal.smooth.contract import Smoother

__all__ = ["SmoothOptions"]


@dataclass(frozen=True)
class SmoothOptions:
    """How densities are steadied over time."""

    smoothing: Literal["none", "exponential", "motion", "gaussian"] = "motion"
    """Average maps over time: none, exponential (past only, adds no delay), motion (the same, the past moved along with
    the picture by optical flow on the CPU) or gaussian (past and future, no lag)."""
    time_constant_seconds: float = 0.15
    """Reach of the average in seconds: time constant of exponential and motion, standard deviation of the gaussian."""

    def __post_init__(self) -> None:
        if self.smoothing not in ("none", "exponential", "motion", "gaussian"):
            raise ConfigError(f"smoothing is {self.smoothing!r}; choose none, exponential, motion or gaussian.")
        if not 0.0 < self.time_constant_seconds < math.inf:
            raise ConfigError(
                f"time_constant_seconds is {self.time_constant_seconds}; it must be a positive number of seconds. "
                "Use smoothing=none for none."
            )

    def make(self) -> Smoother:
        """A smoother for one video. A subclass that returns its own brings a smoothing of another kind.

        Example:
            >>> SmoothOptions(smoothing="gaussian").make().looks_ahead, SmoothOptions().make().looks_ahead
            (True, False)
        """
        from vidsal.smooth.contract import Unsmoothed
        from vidsal.smooth.exponential import Exponential
        from vidsal.smooth.gaussian import Gaussian
        from vidsal.smooth.motion import Motion

        kinds: dict[str, type[Unsmoothed | Exponential | Gaussian]] = {
            "none": Unsmoothed,
            "exponential": Exponential,
            "motion": Motion,
            "gaussian": Gaussian,
        }
        return kinds[self.smoothing](self.time_constant_seconds)
