"""Which smoothing, and how far it reaches: `SmoothOptions` in, a `Smoother` for one video out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from vidsal.errors import Setting
from vidsal.options import Checked, Range

if TYPE_CHECKING:
    from vidsal.smooth.contract import Smoother

__all__ = ["SmoothOptions"]


@dataclass(frozen=True)
class SmoothOptions(Checked):
    """How densities are steadied over time."""

    smoothing: Literal["none", "exponential", "motion", "gaussian"] = "exponential"
    """Average maps over time: none, exponential (past only, adds no delay), motion (the same, the past moved along with
    the picture by optical flow on the CPU) or gaussian (past and future, no lag)."""
    time_constant_seconds: Annotated[
        float, Range(above=0, otherwise=(Setting("smoothing", "none"), " for no smoothing"))
    ] = 0.15
    """Reach of the average in seconds: time constant of exponential and motion, standard deviation of the gaussian."""

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
