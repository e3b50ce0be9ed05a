"""Recurrent mixture density network: features of the last sixteen frames, an LSTM over them, a mixture of Gaussians."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.history import Clips
from vidsal.model.networks.parts import OtherNetwork, normalised
from vidsal.model.recurrent import Unroll
from vidsal.model.state import VideoState
from vidsal.stages import PreprocessOptions

__all__ = ["RMDN", "RMDNState"]

_FRAMES = 16
_UNITS = 128
_GAUSSIANS = 20
# The canvas of the authors, in whose pixels means and variances are.
_ROWS, _COLUMNS = 128, 171
# What C3D leaves of a clip on that canvas: frames, rows, columns.
_CELLS = (2, 8, 10)
# C3D's layers, by published channels, and the pool before each, over frames and cells.
_LAYERS: tuple[tuple[str, int, tuple[int, int] | None], ...] = (
    ("conv1", 64, None),
    ("conv2", 128, (1, 2)),
    ("conv3a", 256, (2, 2)),
    ("conv3b", 256, None),
    ("conv4a", 512, (2, 2)),
    ("conv4b", 512, None),
    ("conv5a", 512, (2, 2)),
    ("conv5b", 512, None),
)
# As the mixture begins: Gaussians on a grid of 4 x 5, half as wide as their distance.
_GRID = (4, 5)
_FIRST_DEVIATION = 16.0


@dataclass(frozen=True, eq=False, repr=False)
class RMDNState(VideoState):
    """What the network remembers of B videos between calls."""

    past: torch.Tensor
    """The last 15 frames, (B, 15, 3, H, W), as the preprocessing made them."""
    hidden: torch.Tensor
    """h of the LSTM, (B, units) float32."""
    cell: torch.Tensor
    """c of the LSTM, (B, units) float32."""


class RMDN(OtherNetwork):
    """Bazzani, Larochelle and Torresani, "Recurrent mixture density network for spatiotemporal visual attention",
    ICLR 2017.

    Their own code is not public; made as the authors of DR(eye)VE made it again in Keras 1: C3D up to conv 5b on clips
    of 16 frames, BGR from 0 to 255 without a mean taken off; an LSTM of 128 units, one step a frame, whose gates are
    Keras's hard sigmoids; dropout of .5; 20 Gaussians with weights (softmax), means (ReLU, in pixels of 128x171),
    variances (exp, plus 1) and covariances (tanh). The density is the mixture at the middle of each pixel, over its
    sum.

    Assumed: until a shot has 16 frames, its first frame is repeated; LSTM and clips begin afresh at cuts. They never
    begin afresh within a recording and predict nothing for the first 15 frames.

    Different: C3D, which they take from Sports-1M and do not train, begins at random and is trained, unless
    `--c3d-weights` names the file of its weights. The Gaussians begin on a grid over the picture, 16 pixels wide;
    theirs begin in a corner. It is trained with the losses of `vidsal.losses`; theirs is the log-likelihood of the
    next frame's map, with 1e-7 added to the mixture. On another canvas features are averaged to 8x10 cells, and its
    pixels lie over 128x171.
    """

    state_type = RMDNState
    takes_neighbours = True
    trains_c3d = False
    preprocess = PreprocessOptions(
        height=_ROWS,
        width=_COLUMNS,
        channel_order="bgr",
        divisor=1.0,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        resize="bilinear",
        fit="stretch",
    )
    """The input of the authors of DR(eye)VE."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.units = config.channels(_UNITS)
        inputs = 3
        self.encoder = nn.ModuleDict()
        for name, published, _ in _LAYERS:
            self.encoder[name] = nn.Conv3d(inputs, config.channels(published), 3, padding=1)
            inputs = config.channels(published)
        # In the order of Keras: input, forget, content, output.
        self.gates_input = nn.Linear(inputs * math.prod(_CELLS), 4 * self.units)
        self.gates_hidden = nn.Linear(self.units, 4 * self.units, bias=False)
        self.dropout = nn.Dropout(0.5)
        self.weights = nn.Linear(self.units, _GAUSSIANS)
        self.means = nn.Linear(self.units, 2 * _GAUSSIANS)
        self.variances = nn.Linear(self.units, 2 * _GAUSSIANS)
        self.covariances = nn.Linear(self.units, _GAUSSIANS)
        for gate in self.gates_hidden.weight.data.chunk(4):
            nn.init.orthogonal_(gate)
        with torch.no_grad():
            self.gates_input.bias.zero_()
            self.gates_input.bias[self.units : 2 * self.units] = 1
            self.variances.bias.fill_(math.log(_FIRST_DEVIATION**2))
            across, along = (
                (torch.arange(cells) + 0.5) * (size / cells)
                for cells, size in zip(_GRID, (_ROWS, _COLUMNS), strict=True)
            )
            self.means.bias.copy_(torch.cartesian_prod(across, along).flatten())

    def c3d_layers(self) -> dict[str, dict[str, nn.Conv3d]]:
        """See `OtherNetwork.c3d_layers`."""
        return {"encoder": {name: cast(nn.Conv3d, layer) for name, layer in self.encoder.items()}}

    def forward(
        self, frames: torch.Tensor, state: VideoState | None = None, *, unroll: Unroll | None = None
    ) -> tuple[torch.Tensor, RMDNState]:
        """See `Network.forward`."""
        unroll = self.unrolled(frames, state, unroll, stride=1)
        if state is not None and not isinstance(state, RMDNState):
            raise ValueError(f"the state must be an RMDNState, got a {type(state).__name__}")
        batch, times, _, height, width = frames.shape
        clips = Clips(frames, None if state is None else state.past, unroll=unroll, length=_FRAMES)
        nothing = torch.zeros(batch, self.units, device=frames.device)
        hidden, cell = (nothing, nothing) if state is None else (state.hidden, state.cell)
        densities = []
        for time in range(times):
            fresh = [row[time] for row in unroll.fresh]
            hidden, cell = (_rows(fresh, nothing, before) for before in (hidden, cell))
            now = self.step(self.stages(clips.at(time))["encoding"], hidden, cell)
            shown = [time < length for length in unroll.lengths]
            hidden, cell = (_rows(shown, *both) for both in zip(now, (hidden, cell), strict=True))
            densities.append(normalised(self.log_mixture(now[0], height, width)))
        return torch.stack(densities, 1), RMDNState(clips.past, hidden, cell)

    def stages(self, clips: torch.Tensor) -> dict[str, torch.Tensor]:
        """From (N, 16, 3, H, W) to "encoding", (N, C) by channel, time, row and column, with what each layer gives."""
        found: dict[str, torch.Tensor] = {}
        x = clips.transpose(1, 2)
        for name, _, pool in _LAYERS:
            if pool is not None:
                over = (pool[0], pool[1], pool[1])
                x = F.max_pool3d(x, over, over)
            x = found[name] = F.relu(self.encoder[name](x))
        return {**found, "encoding": F.adaptive_avg_pool3d(x, _CELLS).flatten(1)}

    def step(
        self, encoding: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The LSTM's next h and c, (N, units) float32, after an encoding, (N, C), and those before."""
        into, forget, content, out = (self.gates_input(encoding) + self.gates_hidden(hidden)).float().chunk(4, 1)
        cell = _hard_sigmoid(forget) * cell + _hard_sigmoid(into) * torch.tanh(content)
        return _hard_sigmoid(out) * torch.tanh(cell), cell

    def log_mixture(self, hidden: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """The log of the mixture's density at the middle of each pixel.

        Args:
            hidden: h of the LSTM, (N, units).
            height: rows of the canvas.
            width: columns.

        Returns:
            (N, height, width) float32, for an area of one of the 128x171 pixels. What lies beyond is left out.
        """
        # Exponentials and small differences: float32 under autocast too.
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = self.dropout(hidden.float())
            weight = torch.log_softmax(self.weights(hidden), -1)[..., None, None]
            means = torch.unflatten(F.relu(self.means(hidden)), 1, (_GAUSSIANS, 2))
            y, x = (one[..., None, None] for one in means.unbind(-1))
            # No picture is so large that a variance of e^20 is too small.
            variances = torch.unflatten(self.variances(hidden).clamp_max(20).exp() + 1, 1, (_GAUSSIANS, 2))
            down, across = (one[..., None, None] for one in variances.unbind(-1))
            both = torch.tanh(self.covariances(hidden))[..., None, None]
            rows, columns = (
                (torch.arange(size, device=hidden.device) + 0.5) * (own / size) - 0.5
                for size, own in ((height, _ROWS), (width, _COLUMNS))
            )
            dy, dx = rows[:, None] - y, columns - x
            # In float32 the covariance may reach 1, and the variances come down to it.
            determinant = (down * across - both**2).clamp_min(1e-6)
            distance = (across * dy**2 - 2 * both * dy * dx + down * dx**2) / determinant
            return torch.logsumexp(weight - distance / 2 - determinant.log() / 2 - math.log(2 * math.pi), 1)


def _hard_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """Keras's, which is not PyTorch's."""
    return (0.2 * x + 0.5).clamp(0, 1)


def _rows(chosen: Sequence[bool], yes: torch.Tensor, no: torch.Tensor) -> torch.Tensor:
    """Row by row one of two; cut and joined, never indexed: an index would have to be copied to the device."""
    return torch.cat([(yes if one else no)[row : row + 1] for row, one in enumerate(chosen)])
