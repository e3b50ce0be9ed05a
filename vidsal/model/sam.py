"""Normalised frames of B videos and their state in, log densities over the canvas and the new state out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.model.backbones import BackboneFeatures, build_backbone
from vidsal.model.config import SAMConfig
from vidsal.model.groups import Groups
from vidsal.model.heads import HeadName, PublishedHead, build_head
from vidsal.model.network import Network, NothingDrawn
from vidsal.model.priors import LearnedPriors
from vidsal.model.recurrent import AttentiveConvLSTM, SAMState, Unroll
from vidsal.model.state import VideoState

__all__ = ["HeadName", "MotionBranch", "SAMConfig", "SAMState", "SaliencyAttentiveModel", "Unroll"]


_MOST_TOGETHER = 4
"""Frames at most: of 8 frames of a video at 24 to 30 frames a second the network sees so many, and groups
are filled up."""


class SaliencyAttentiveModel(Network):
    """The Saliency Attentive Model over consecutive frames.

    Features of all frames are computed at once, only the recurrence runs frame by frame, the head again runs on
    all frames. Nothing about a video is stored here: the state goes in and comes out.

    Example:
        >>> model = SaliencyAttentiveModel(SAMConfig(recurrent_channels=8, priors=2)).eval()
        >>> frames = torch.zeros(1, 2, 3, 64, 64)
        >>> with torch.inference_mode():
        ...     log_density, state = model(frames)
        >>> log_density.shape, state
        (torch.Size([1, 2, 64, 64]), SAMState(hidden=(1, 8, 4, 4), cell=(1, 8, 4, 4)))
    """

    state_type = SAMState

    def __init__(self, config: SAMConfig) -> None:
        super().__init__()
        self.config: SAMConfig = config
        channels = config.recurrent_channels
        self.backbone = build_backbone(config.backbone, channels, stride_in=config.stride_in)
        self.recurrence = AttentiveConvLSTM(channels, channels, attention_scale=config.attention_scale)
        self.priors = nn.ModuleList(LearnedPriors(config.priors) for _ in range(config.prior_rounds))
        dilation = config.prior_dilation
        self.prior_convolutions = nn.ModuleList(
            nn.Conv2d(channels + config.priors, channels, 5, padding=2 * dilation, dilation=dilation)
            for _ in range(config.prior_rounds)
        )
        self.head = build_head(
            config.head, channels, stride=self.backbone.stride, skip_channels=self.backbone.skip_channels
        )
        self.dropout = nn.Dropout2d(config.dropout)
        self.pixels_at_once: int | None = None
        """Canvas pixels that go through the convolutions together; None for all frames of a call."""
        self.fills_groups = False
        """Whether groups are always full, filled up with zeros, so that rounding does not depend on how many frames
        come at once."""
        self.motion: MotionBranch | None = None
        if config.motion_channels:
            self.motion = MotionBranch(self.backbone.skip_channels[0], config.motion_channels, channels)

    @classmethod
    def without_weights(cls, config: SAMConfig) -> SaliencyAttentiveModel:
        """The network on torch's device "meta", where tensors have shapes and no values: weights are assigned to it."""
        with NothingDrawn(), torch.device("meta"):
            return cls(config)

    def forward(
        self,
        frames: torch.Tensor,
        state: VideoState | None = None,
        *,
        unroll: Unroll | None = None,
        one_by_one: bool = False,
    ) -> tuple[torch.Tensor, SAMState]:
        """Predict log densities.

        Args:
            frames: (B, T, 3, H, W) float, T consecutive frames of B videos, normalised by the model's
                preprocessing; H and W are multiples of the backbone's stride (16 for the light one).
            state: what the call before returned for the same videos; None starts every video from zero.
            unroll: which frames start from zero, and the steps on each. None: the first frame of each video where
                `state` is None, else none; `config.steps` on these and 1 on all others.
            one_by_one: every frame goes through the convolutions alone, where the network would take several together.

        Returns:
            The log density over the canvas, (B, T, H, W) float32, `exp` of it sums to 1 over (H, W); and the
            state after the last frame of each video.

        Raises:
            ValueError: if the shapes do not fit.
        """
        unroll = self.unrolled(frames, state, unroll, stride=self.backbone.stride)
        batch, times, _, height, width = frames.shape
        if state is not None and not isinstance(state, SAMState):
            raise ValueError(f"the state must be a SAMState, got a {type(state).__name__}")

        groups = Groups(batch * times, together=self._together(height * width, one_by_one), fill=self.fills_groups)
        features = self._look(frames.flatten(0, 1), groups)
        deep, seen = features.deep, None
        if self.motion is not None:
            finer = torch.unflatten(features.skips[0].float(), 0, (batch, times))
            moved = self.motion(finer, state, unroll.fresh, groups)
            deep = deep if moved is None else deep + moved.to(deep.dtype)
            seen = _last_of(finer, state, unroll.lengths)
        deep = torch.unflatten(self.dropout(deep), 0, (batch, times))
        hidden, after = self.recurrence(deep, state, unroll=unroll, groups=groups)
        state = SAMState(after.hidden, after.cell, seen)
        log_density = groups.joined(
            self.read_out(some, BackboneFeatures(deep, tuple(skips)), (height, width))
            for some, deep, *skips in groups.of(hidden.flatten(0, 1), features.deep, *features.skips)
        )
        return log_density.reshape(batch, times, height, width), state

    def one_frame(
        self, pixels: torch.Tensor, state: SAMState | None, *, steps: int, canvas: tuple[int, int]
    ) -> tuple[torch.Tensor, SAMState]:
        """`forward` for a frame of each of N videos alike, without choices that a graph could not hold.

        Args:
            pixels: (N, 3, H, W), normalised.
            state: after the frames before; None where these are fresh.
            steps: refinement steps.
            canvas: H and W.

        Returns:
            Log densities (N, H, W), and the state after them.
        """
        features = self.backbone(pixels)
        seen = None if self.motion is None else features.skips[0]
        if self.motion is not None and state is not None and state.seen is not None:
            features = features._replace(deep=features.deep + self.motion.read(features.skips[0], state.seen))
        attended = self.recurrence.precompute(features.deep)
        after = self.recurrence.refine(features.deep, attended, state, steps)
        return self.read_out(after.hidden, features, canvas), SAMState(after.hidden, after.cell, seen)

    def _together(self, pixels: int, one_by_one: bool) -> int | None:
        """How many frames of so many pixels go through the convolutions together; None for all."""
        if one_by_one:
            return 1
        if self.pixels_at_once is None:
            return None
        return min(max(1, round(self.pixels_at_once / pixels)), _MOST_TOGETHER)

    def is_pretrained(self, name: str) -> bool:
        """See `Network.is_pretrained`; what no ImageNet weights hold is new in a backbone, too."""
        part, _, inside = name.partition(".")
        return part == "backbone" and not self.backbone.is_new(inside)

    def _look(self, frames: torch.Tensor, groups: Groups) -> BackboneFeatures:
        """The backbone's features of (N, 3, H, W) frames."""
        parts = [self.backbone(some) for (some,) in groups.of(frames)]
        skips = zip(*(part.skips for part in parts), strict=True)
        return BackboneFeatures(groups.joined(part.deep for part in parts), tuple(map(groups.joined, skips)))

    def relevance(self, frames: torch.Tensor) -> torch.Tensor:
        """The published output before any post-processing: what the authors' network returns for single pictures.

        Args:
            frames: (N, 3, H, W) float, N pictures that have nothing to do with each other, normalised by the model's
                preprocessing.

        Returns:
            (N, 2 H, 2 W) float32, at least 0, of any scale. `forward` gives the log of the same, averaged two by two
            and divided by its sum.

        Raises:
            ValueError: if the head is not the published one, which alone has this output.
        """
        if not isinstance(self.head, PublishedHead):
            raise ValueError(f'only the head "published" has this output, this model has {self.config.head!r}')
        features = self.backbone(frames)
        unroll = Unroll.of([[True]] * len(frames), fresh_steps=self.config.steps)
        hidden, _ = self.recurrence(features.deep[:, None], unroll=unroll)
        return self.head.relevance(self._join_priors(hidden[:, 0]))

    def read_out(self, hidden: torch.Tensor, features: BackboneFeatures, size: tuple[int, int]) -> torch.Tensor:
        """What comes after the recurrence: priors and head.

        Args:
            hidden: H of N frames, (N, channels, h, w).
            features: of the same frames, as the backbone gave them.
            size: rows and columns of the canvas.

        Returns:
            The log density over the canvas, (N, H, W) float32.
        """
        log_density: torch.Tensor = self.head(self._join_priors(hidden), features.skips, size)
        return log_density

    def _join_priors(self, x: torch.Tensor) -> torch.Tensor:
        for priors, convolution in zip(self.priors, self.prior_convolutions, strict=True):
            maps = priors(*x.shape[-2:]).to(x.dtype).expand(x.shape[0], -1, -1, -1)
            x = F.relu(convolution(torch.cat([x, maps], 1)))
        return x


class MotionBranch(nn.Module):
    """What changed since the last frame, as something to add to the features that the recurrence works on.

    The backbone's finer features of this frame are compared with those of the one before. How much they differ within
    a cell, how much at most, and how much in the whole picture (which tells a moving camera from a moving thing) go
    through two convolutions without biases: where nothing changed, and on every frame that starts afresh, it adds
    exactly nothing. The last convolution starts at zero, so that a trained network can be given one.
    """

    def __init__(self, inputs: int, channels: int, outputs: int) -> None:
        """Make it without effect.

        Args:
            inputs: channels of the finer features.
            channels: its own channels.
            outputs: channels of the features it adds to.
        """
        super().__init__()
        self.mix = nn.Sequential(nn.Conv2d(3 * inputs, channels, 1, bias=False), nn.ReLU(inplace=True))
        self.out = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(
        self,
        finer: torch.Tensor,
        state: SAMState | None,
        fresh: Sequence[Sequence[bool]],
        groups: Groups | None = None,
    ) -> torch.Tensor | None:
        """What to add.

        Args:
            finer: (B, T, inputs, 2 h, 2 w) float32.
            state: of the B videos after the frame before, with `seen`; None where every video starts.
            fresh: B rows of T flags, True where a frame starts from the zero state.
            groups: which of the B * T frames go through the convolutions together; None: all.

        Returns:
            (B * T, outputs, h, w); None where every frame starts afresh and there is nothing to add.

        Raises:
            ValueError: if a video goes on and the state does not know its last frame.
        """
        goes_on = [[not flag and (t > 0 or state is not None) for t, flag in enumerate(row)] for row in fresh]
        if not any(map(any, goes_on)):
            return None
        if state is not None and state.seen is None and any(row[:1] == [True] for row in goes_on):
            raise ValueError("this model compares frames, but the state knows none: it comes from another model")
        groups = groups or Groups(finer.shape[0] * finer.shape[1])
        parts = groups.of(finer.flatten(0, 1), _before(finer, state, goes_on))
        return groups.joined(self.read(now, before) for now, before in parts)

    def read(self, finer: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """What to add for N frames, given the finer features of each and of the frame before it, (N, c, 2 h, 2 w)."""
        change = (finer - before).abs()
        mean, most = F.avg_pool2d(change, 2), F.max_pool2d(change, 2)
        overall = mean.mean((-1, -2), keepdim=True).expand_as(mean)
        added: torch.Tensor = self.out(self.mix(torch.cat([mean, most, overall], 1)))
        return added


def _before(finer: torch.Tensor, state: SAMState | None, goes_on: list[list[bool]]) -> torch.Tensor:
    """For each frame the features of the frame before it, its own where there is none: (B * T, c, rows, columns).

    Cut and joined, never indexed: an index would have to be copied to the device.
    """
    pieces: list[torch.Tensor] = []
    for stream, row in enumerate(goes_on):
        for t, on in enumerate(row):
            if not on or t > 0:
                pieces.append(finer[stream, t - on : t - on + 1])
            elif state is not None and state.seen is not None:
                pieces.append(state.seen[stream : stream + 1].to(finer.dtype))
    return torch.cat(pieces)


def _last_of(finer: torch.Tensor, state: SAMState | None, lengths: Sequence[int]) -> torch.Tensor:
    """The features of each video's last frame that counts, (B, c, rows, columns)."""
    rows = []
    for stream, length in enumerate(lengths):
        if length:
            rows.append(finer[stream, length - 1 : length])
        elif state is not None and state.seen is not None:
            rows.append(state.seen[stream : stream + 1])
        else:
            rows.append(torch.zeros_like(finer[stream, :1]))
    return torch.cat(rows)
