"""Densities of what is worth a look come in, densities of where viewers of the video look go out.

A map says what draws the eye in a picture. Viewers of a video add something of their own:

- As a shot begins, they look at the middle of the picture, and from there go on to what is shown (Tseng, Carmi,
  Cameron, Munoz and Itti, Journal of Vision 9(7):4, 2009; for pictures Rothkegel, Trukenbrod, Schütt, Wichmann and
  Engbert, Journal of Vision 17(13):3, 2017).
- Eyes need time: they stay where they were before a cut until their first saccade. Saccades to something new take 0.1
  to 0.3 s, mostly 0.18 to 0.2 s, and the reciprocal of that time is distributed normally (Carpenter and Williams,
  Nature 377, 1995). After a cut the search for what to look at begins anew (Wang, Freeman, Merriam, Hasson and Heeger,
  Journal of Vision 12(1):16, 2012).
- Within a shot gaze trails things that move at random by about 0.11 s (Lukavský and Děchtěrenko, Attention, Perception,
  & Psychophysics, 2016, doi 10.3758/s13414-016-1178-4), and natural scenes by hardly anything, since viewers foresee
  what comes (Vig, Dorr, Martinetz and Barth, Cognitive Computation 3, 2011). The exponential smoothing before this
  stage trails by 0.15 s, so no more is added by default.
- A mean over many teachers, as which a network learns its maps, is less sharp than the gaze of the moment.

Everything is a function of presentation times: footage at 25 and at 50 frames a second gives the same at the same
instants, and where the input is cut into batches changes nothing. Where the constants come from stands at each of them,
and in docs/reports/state.md.
"""

from __future__ import annotations

import math

import torch

from vidsal.frames import SaliencyBatch
from vidsal.smooth.contract import ShotFollower
from vidsal.smooth.exponential import first_order_hold
from vidsal.stages import ViewerOptions

__all__ = ["ViewerOptions", "Viewers", "make_viewers", "share_at_centre", "share_not_moved"]

CENTRE_SIGMA = (0.14, 0.12)
"""Standard deviations of the middle, as shares of the picture's width and height: those of the first fixations of 1,340
pictures with recorded gaze (OSIE, Eye crowd, Scene: 0.12 to 0.15 and 0.10 to 0.12)."""

LATENCY_SPREAD = 0.38
"""Standard deviation of the reciprocal latency as a share of its mean: that of the first saccades on the pictures of
OSIE and Eye crowd (0.37 to 0.48)."""


class Viewers:
    """Lets the densities of one video follow its viewers.

    With t the time since the shot began, D the density, G a Gaussian in the middle and B the gaze just before the cut:

        gaze = s(t) B + (1 - s(t)) (c(t) G + (1 - c(t)) D),    c(t) = `centre_share` exp(-t / `centre_seconds`),

    and s(t) the share of viewers whose first saccade has not come yet, 0 in the first shot. What comes out is gaze to
    the power `sharpness`, brought back to sum 1.

    Frames with equal timestamps count as no time passing, and so does a step back in time.
    """

    def __init__(self, options: ViewerOptions | None = None) -> None:
        """Begin a video; None takes the defaults."""
        self.options = options or ViewerOptions()
        self._shots = ShotFollower()
        self.reset()

    def reset(self) -> None:
        """Forget the video."""
        self._shots.reset()
        self._centre: torch.Tensor | None = None  # (h, w), sums to 1
        self._before: torch.Tensor | None = None  # (h, w) where viewers looked at the moment of the cut
        self._followed: torch.Tensor | None = None  # (h, w) the density as gaze follows it, and the density itself
        self._density: torch.Tensor | None = None
        self._start = self._seconds = 0.0

    def update(self, batch: SaliencyBatch) -> list[SaliencyBatch]:
        """Take the next frames and return them.

        Args:
            batch: the frames that follow those given before; its tensors are not changed.

        Returns:
            One batch of the same frames. Densities sum to 1 and are nowhere below the smallest normal float32.

        Raises:
            ValueError: the maps changed their size within a shot.
        """
        looks = []
        for frame, seconds, begins in self._shots.follow(batch):
            density = frame.density[0]
            if begins:
                self._before = self._until(seconds, density.shape)
                self._start = seconds
            followed = self._follow(density, None if begins else seconds - self._seconds)
            looks.append(self._look(followed, seconds - self._start))
            self._density, self._followed, self._seconds = density, followed, seconds
        gaze = torch.stack(looks)
        if self.options.sharpness != 1:
            # The greatest is 1, so that no power of a density runs out of numbers.
            gaze = (gaze / gaze.amax((1, 2), keepdim=True)).pow_(self.options.sharpness)
        return [batch.with_density(gaze)]

    def flush(self) -> list[SaliencyBatch]:
        """End the video; nothing is held back."""
        self.reset()
        return []

    def _follow(self, density: torch.Tensor, seconds: float | None) -> torch.Tensor:
        """The density, so many seconds after the last one, as gaze follows it; None where a shot begins."""
        lag = self.options.gaze_inertia_seconds
        if not lag or seconds is None or self._followed is None or self._density is None:
            return density
        keep, before, now = first_order_hold(seconds / lag)
        return keep * self._followed + before * self._density + now * density

    def _until(self, seconds: float, size: torch.Size) -> torch.Tensor | None:
        """Where viewers look at the moment of a cut, the last picture shown until then; None where there was none."""
        if self._density is None or self._density.shape != size:  # maps of another size are of another picture
            return None
        seconds = max(seconds, self._seconds)
        return self._look(self._follow(self._density, seconds - self._seconds), seconds - self._start)

    def _look(self, density: torch.Tensor, seconds: float) -> torch.Tensor:
        """Where viewers look, so many seconds after the shot began."""
        share = share_at_centre(seconds, self.options)
        if share > _LEAST:
            density = torch.lerp(density, self._middle(density), share)
        if self._before is not None:
            share = share_not_moved(seconds, self.options.gaze_latency_seconds)
            if share > _LEAST:
                density = torch.lerp(density, self._before, share)
        return density

    def _middle(self, like: torch.Tensor) -> torch.Tensor:
        """The Gaussian in the middle, on the cells of a map."""
        if self._centre is None or self._centre.shape != like.shape or self._centre.device != like.device:
            axes = []
            for cells, sigma in zip(like.shape, reversed(CENTRE_SIGMA), strict=True):
                places = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells - 0.5
                axes.append(torch.exp(-((places / sigma) ** 2) / 2))
            centre = torch.outer(*axes)
            self._centre = (centre / centre.sum()).to(like)
        return self._centre


_LEAST = 1e-4
"""Shares below this are taken for none."""


def share_at_centre(seconds: float, options: ViewerOptions) -> float:
    """Share of those who look at the middle of the picture, so many seconds after a shot began.

    The defaults, .8 and .5 s, are those with which maps came nearest to the recorded gaze of 33 clips that nothing here
    was fitted to.

    Example:
        >>> share_at_centre(0.0, ViewerOptions()), round(share_at_centre(0.5, ViewerOptions()), 3)
        (0.8, 0.294)
    """
    return options.centre_share * math.exp(-seconds / options.centre_seconds)


def share_not_moved(seconds: float, latency_seconds: float) -> float:
    """Share of those whose eyes have not moved yet, so many seconds after a cut.

    This is LATER of Carpenter and Williams (1995): the reciprocal of the latency is normal, with mean
    1 / `latency_seconds` and `LATENCY_SPREAD` of it as its deviation. Those for whom it is below 0 are left out.

    Args:
        seconds: since the cut.
        latency_seconds: median latency; 0 for none.

    Example:
        >>> [round(share_not_moved(t, 0.18), 2) for t in (0.0, 0.1, 0.18, 0.4)]
        [1.0, 0.98, 0.5, 0.07]
    """
    if latency_seconds == 0:
        return 0.0
    if seconds <= 0:
        return 1.0
    never = _normal(-1 / LATENCY_SPREAD)
    return (_normal((latency_seconds / seconds - 1) / LATENCY_SPREAD) - never) / (1 - never)


def _normal(deviations: float) -> float:
    """Share of a normal distribution below so many deviations."""
    return math.erfc(-deviations / math.sqrt(2)) / 2


def make_viewers(options: ViewerOptions, *, driving: bool) -> Viewers | None:
    """The stage for one video; None where it changes nothing.

    Args:
        options: how; "auto" is on, but not for drivers, whose gaze belongs to the road.
        driving: whether the densities are of drivers' gaze.
    """
    wanted = not driving if options.viewers == "auto" else options.viewers == "on"
    return Viewers(options) if wanted else None
