"""DR(eye)VE: sixteen frames of the picture, of its motion and of its classes, each judged coarsely and then finely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from vidsal.errors import CheckpointError
from vidsal.flow import BackwardFlow, motion_colours
from vidsal.model.heads import log_of_relevance, upsampling_matrix
from vidsal.model.network import Part
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.history import Clips
from vidsal.model.networks.parts import OtherNetwork
from vidsal.model.networks.segmentation import CLASSES, SegmentationModel
from vidsal.model.options import BranchName
from vidsal.model.recurrent import Unroll
from vidsal.model.state import VideoState
from vidsal.stages import CAFFE_MEAN, PreprocessOptions

__all__ = ["FRAMES", "Branch", "Dreyeve", "DreyeveState"]

FRAMES = 16
"""Of a clip: a frame and the fifteen before it."""

_INPUTS: dict[BranchName, int] = {"image": 3, "flow": 3, "segmentation": CLASSES}
# Convolutions over time and place: name, published channels, and the pool after it (frames, rows, columns).
_COARSE = (
    ("conv1", 64, (1, 2, 2)),
    ("conv2", 128, (2, 2, 2)),
    ("conv3a", 256, None),
    ("conv3b", 256, (2, 2, 2)),
    ("conv4a", 512, None),
    ("conv4b", 512, (4, 1, 1)),
)
_REFINE = (32, 16, 8, 1)
_SLOPE = 0.001
# The canvas is four times as large as what the coarse model sees, which is eight times as large as its cells.
_ENLARGED, _REFINED = 8, 4
# Rows and columns of the pictures between which motion is found: a sixteenth of 1080 and 1920, rounded up.
_FLOW_ROWS, _FLOW_COLUMNS = 68, 120
_GREY_OF_BGR = (0.114, 0.587, 0.299)


@dataclass(frozen=True, eq=False, repr=False)
class DreyeveState(VideoState):
    """What the network remembers of B videos: for each branch the last fifteen frames as its coarse model sees them.

    Of a branch that there is not, None. V is 1: the whole picture; in training 2: the part in its middle, too.
    """

    image: torch.Tensor | None
    """(B, 15, V, 3, H / 4, W / 4) float32, less the mean."""
    flow: torch.Tensor | None
    """(B, 15, V, 3, H / 4, W / 4) float32, colours of the motion."""
    segmentation: torch.Tensor | None
    """(B, 15, V, 19, H / 4, W / 4) float32, probabilities."""
    grey: torch.Tensor | None
    """(B, rows, columns) uint8, the last frame, to which the next one's motion is found; with the branch `flow`."""


class Dreyeve(OtherNetwork):
    """Palazzi, Abati, Calderara, Solera and Cucchiara, "Predicting the driver's focus of attention: the DR(eye)VE
    project", IEEE TPAMI 2018.

    As in the authors' code: a branch each for the picture, its motion and its classes; C3D's convolutions on sixteen
    frames of a quarter of the canvas, Theano's bilinear enlargement, a refinement with the last frame on the whole
    canvas, the sum of the branches; in training a second map, of the part around the middle, by the same coarse
    models. Pictures are stretched to 448x448 whatever their aspect. The density is the map over its sum.

    Different: their fixed mean picture is not at hand, ImageNet's mean colour is taken off instead. Motion is found by
    DIS between this frame and the one before, on 68x120 pixels, as if the picture were 16:9; theirs is Liu's
    between this frame and the next. A shot's first frame has no motion, and until there are sixteen, its first
    frame is repeated. Classes come from a segmentation model that the user names; where none is named, the branch
    of classes is left out of the sum. Unless `--c3d-weights` names the file of C3D's weights, all layers begin at
    random; theirs for the picture and for motion begin with them. A millionth of the map's mean is added. The last
    layers begin with positive weights.
    """

    stride = 32
    state_type = DreyeveState
    takes_neighbours = True
    preprocess = PreprocessOptions(
        height=448,
        width=448,
        channel_order="bgr",
        divisor=1.0,
        mean=CAFFE_MEAN,
        std=(1.0, 1.0, 1.0),
        resize="bilinear",
        fit="stretch",
    )
    """The authors' input, but for the mean."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.branches = nn.ModuleDict({name: Branch(config, _INPUTS[name]) for name in config.branches})
        self.segmentation = SegmentationModel(config.segmentation_bytes) if config.segmentation_bytes else None

    def is_pretrained(self, name: str) -> bool:
        """See `Network.is_pretrained`; the authors begin from C3D, and train all layers alike."""
        return False

    def c3d_layers(self) -> dict[str, dict[str, nn.Conv3d]]:
        """See `OtherNetwork.c3d_layers`: those of the branches that see three channels, as C3D does."""
        return {
            name: {layer: cast(nn.Conv3d, branch.get_submodule(layer)) for layer, *_ in _COARSE}
            for name, branch in self.branches.items()
            if _INPUTS[cast(BranchName, name)] == 3
        }

    def forward(
        self, frames: torch.Tensor, state: VideoState | None = None, *, unroll: Unroll | None = None
    ) -> tuple[torch.Tensor, DreyeveState]:
        """See `Network.forward`; frames are those of `preprocess`.

        Raises:
            CheckpointError: the branch of classes has no segmentation model, or it cannot be run.
        """
        fine, _, after = self._maps(frames, state, unroll, views=1)
        return log_of_relevance(fine), after

    def rehearse(
        self,
        frames: torch.Tensor,
        state: VideoState | None = None,
        *,
        unroll: Unroll | None = None,
        inside: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, DreyeveState, tuple[Part, ...]]:
        """See `Network.rehearse`: the part is the authors' crop, a little above and left of the middle."""
        fine, crop, after = self._maps(frames, state, unroll, views=2)
        top, left, height, width = _middle(*frames.shape[-2:])
        return log_of_relevance(fine), after, (Part(log_of_relevance(crop), top, left, height, width),)

    def _maps(
        self, frames: torch.Tensor, state: VideoState | None, unroll: Unroll | None, *, views: int
    ) -> tuple[torch.Tensor, torch.Tensor, DreyeveState]:
        """Both maps, (B, T, H, W) and (B, T, H / 4, W / 4), the latter of zeros where `views` is 1; and the state."""
        unroll = self.unrolled(frames, state, unroll, stride=self.stride)
        if state is not None and not isinstance(state, DreyeveState):
            raise ValueError(f"the state must be a DreyeveState, got a {type(state).__name__}")
        batch, times, _, height, width = frames.shape
        fine = torch.zeros(batch, times, height, width, device=frames.device)
        crop = torch.zeros(batch, times, height // 4, width // 4, device=frames.device)
        pasts: dict[str, torch.Tensor | None] = {"image": None, "flow": None, "segmentation": None}
        grey = None
        for name in self.config.branches:
            if name == "flow":
                seen, grey = _motion(frames, None if state is None else state.grey, unroll)
            else:
                seen = frames.float() if name == "image" else self._classes(frames, unroll)
            past = None if state is None else getattr(state, name)
            clips = Clips(_small(seen, views), past, unroll=unroll, length=FRAMES)
            branch = cast(Branch, self.branches[name])
            maps = [branch.maps(clips.at(t), seen[:, t]) for t in range(times)]
            with torch.autocast(frames.device.type, enabled=False):
                fine = fine + torch.stack([one[0] for one in maps], 1)
                if views > 1:
                    crop = crop + torch.stack([one[1] for one in maps if one[1] is not None], 1)
            pasts[name] = clips.past
        return F.relu(fine), F.relu(crop), DreyeveState(**pasts, grey=grey)

    def _classes(self, frames: torch.Tensor, unroll: Unroll) -> torch.Tensor:
        """(B, T, 19, H, W), the probabilities of classes in frames of `preprocess`."""
        if self.segmentation is None:
            raise CheckpointError(
                "the branch segmentation has no segmentation model: name one, or leave the branch out"
            )
        mean = torch.tensor(self.preprocess.mean, device=frames.device).view(3, 1, 1)
        size = frames.shape[-2:]
        rows = []
        for video, count in zip(frames, unroll.lengths, strict=True):
            found = video.new_zeros(len(video), CLASSES, *size, dtype=torch.float32)
            if count:
                rgb = (video[:count].float() + mean).clamp(0, 255).flip(1)
                scores = self.segmentation(rgb)
                found[:count] = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
            rows.append(found)
        return torch.stack(rows)


class Branch(nn.Module):
    """The coarse model of one kind of input, what refines it, and what judges the part around the middle."""

    def __init__(self, config: NetworkConfig, inputs: int) -> None:
        """Make it with random weights.

        Args:
            config: how wide.
            inputs: channels of a frame.
        """
        super().__init__()
        channels = inputs
        for name, published, _ in _COARSE:
            self.add_module(name, nn.Conv3d(channels, config.channels(published), 3, padding=1))
            channels = config.channels(published)
        self.coarse = nn.Conv2d(channels, 1, 3, padding=1)
        self.crop = nn.Conv2d(channels, 1, 3, padding=1)
        refine = []
        before = 1 + inputs
        for published in _REFINE:
            after = 1 if published == 1 else config.channels(published)
            refine.append(nn.Conv2d(before, after, 3, padding=1))
            before = after
        self.refine = nn.ModuleList(refine)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        for layer in refine[:-1]:
            nn.init.kaiming_normal_(layer.weight)
        # These go through a ReLU to the map: with random signs many draws would never train.
        for layer in (self.coarse, self.crop, refine[-1]):
            layer.weight.data.abs_()

    def maps(self, clips: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The map of each clip's last frame, and in training that of its part.

        Args:
            clips: (B, 16, V, c, H / 4, W / 4).
            frames: (B, c, H, W), the last frame.

        Returns:
            (B, H, W) float32, at least 0; and where V is 2 (B, H / 4, W / 4), else None.
        """
        fine = self.stages(clips[:, :, 0].transpose(1, 2), frames)["fine"][:, 0]
        if clips.shape[2] == 1:
            return fine.float(), None
        enlarged = self._coarsely(clips[:, :, 1].transpose(1, 2))["enlarged"]
        return fine.float(), F.relu(self.crop(enlarged))[:, 0].float()

    def stages(self, clips: torch.Tensor, frames: torch.Tensor) -> dict[str, torch.Tensor]:
        """From (N, c, 16, h, w) and (N, c, 4 h, 4 w) to "fine", (N, 1, 4 h, 4 w), at least 0, with what is between."""
        found = self._coarsely(clips)
        found["coarse"] = F.relu(self.coarse(found["enlarged"]))
        found["coarse_enlarged"] = _enlarged(found["coarse"], _REFINED)
        x = found["joined"] = torch.cat([found["coarse_enlarged"], frames.to(found["coarse_enlarged"].dtype)], 1)
        for number, layer in enumerate(self.refine, start=1):
            x = layer(x)
            x = F.relu(x) if number == len(self.refine) else F.leaky_relu(x, _SLOPE)
            found["fine" if number == len(self.refine) else f"refine{number}"] = x
        return found

    def _coarsely(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the coarse model makes of (N, c, 16, h, w), up to "enlarged", (N, channels, h, w)."""
        found = {}
        for name, _, pool in _COARSE:
            x = found[name] = F.relu(getattr(self, name)(x))
            if pool is not None:
                x = F.max_pool3d(x, pool)
        found["enlarged"] = _enlarged(x[:, :, 0], _ENLARGED)
        return found


def _enlarged(x: torch.Tensor, ratio: int) -> torch.Tensor:
    """(N, c, h, w) to (N, c, ratio h, ratio w), as Theano does it."""
    down, across = (upsampling_matrix(cells, ratio).to(x) for cells in x.shape[-2:])
    return down @ x @ across.T


def _middle(height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the part that is also judged by itself: 64 to 176 of 256 of each side."""
    return height // 4, width // 4, 7 * height // 16, 7 * width // 16


def _small(seen: torch.Tensor, views: int) -> torch.Tensor:
    """(B, T, c, H, W) to (B, T, views, c, H / 4, W / 4): all of it, and the part around the middle."""
    height, width = seen.shape[-2:]
    top, left, rows, columns = _middle(height, width)
    wholes = seen.flatten(0, 1)
    shown = [wholes, wholes[..., top : top + rows, left : left + columns]][:views]
    size = (height // 4, width // 4)
    small = torch.stack([F.interpolate(one, size=size, mode="bilinear", align_corners=False) for one in shown], 1)
    return torch.unflatten(small, 0, (seen.shape[0], seen.shape[1]))


def _motion(frames: torch.Tensor, before: torch.Tensor | None, unroll: Unroll) -> tuple[torch.Tensor, torch.Tensor]:
    """The colours of the motion that led to each frame, (B, T, 3, H, W) BGR less their own mean; and the last greys."""
    mean = Dreyeve.preprocess.mean
    batch, times, _, height, width = frames.shape
    weights = torch.tensor(_GREY_OF_BGR, device=frames.device).view(3, 1, 1)
    grey = (frames.float() * weights).sum(2) + float(np.dot(_GREY_OF_BGR, mean))
    grey = F.adaptive_avg_pool2d(grey, (_FLOW_ROWS, _FLOW_COLUMNS)).round().clamp(0, 255)
    pictures = cast(npt.NDArray[np.uint8], grey.to("cpu", torch.uint8).numpy())
    shape = (batch, _FLOW_ROWS, _FLOW_COLUMNS)
    last = np.zeros(shape, np.uint8) if before is None else before.cpu().numpy().copy()
    backward = BackwardFlow()
    seen = frames.new_zeros(batch, times, 3, height, width, dtype=torch.float32)
    for video, (flags, length) in enumerate(zip(unroll.fresh, unroll.lengths, strict=True)):
        for t in range(length):
            # What stands still is white, which less its mean is nothing: so is a frame that nothing came before.
            if not flags[t] and (t > 0 or before is not None):
                colours = motion_colours(-backward(last[video], pictures[video, t]))
                bgr = torch.from_numpy(colours[..., ::-1].copy()).to(frames.device).permute(2, 0, 1).float()
                large = F.interpolate(bgr[None], size=(height, width), mode="bilinear", align_corners=False)
                seen[video, t] = large[0] - large[0].double().mean((1, 2), keepdim=True).float()
            last[video] = pictures[video, t]
    return seen, torch.from_numpy(last).to(frames.device)
