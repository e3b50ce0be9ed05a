"""Features of frames and a state in, hidden states and the new state out: the attentive ConvLSTM of SAM.

Notation as in Cornia et al. (2018): X features, H hidden, C cell, A attention; `*` is a 'same' convolution.

    Z  = V_a * tanh(W_a * H + U_a * X + b_a)
    A  = softmax of Z over all cells (times the number of cells where `attention_scale="cells"`)
    X~ = A . X
    I, F, O = sigmoid(W_{i,f,o} * X~ + U_{i,f,o} * H + b_{i,f,o});  G = tanh(W_c * X~ + U_c * H + b_c)
    C' = F . C + I . G;  H' = O . tanh(C')
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from vidsal.model.groups import Groups
from vidsal.model.options import AttentionScale
from vidsal.model.state import VideoState

__all__ = ["AttentionScale", "AttentiveConvLSTM", "SAMState", "Unroll"]


@dataclass(frozen=True, eq=False, repr=False)
class SAMState(VideoState):
    """What the model remembers of B videos between calls. All zeros is the authors' start."""

    hidden: torch.Tensor
    """H: (B, channels, h, w) float32."""
    cell: torch.Tensor
    """C: (B, channels, h, w) float32."""
    seen: torch.Tensor | None = None
    """Features of the last frame, (B, c, 2 h, 2 w) float32, where the model compares frames (`MotionBranch`)."""

    def __post_init__(self) -> None:
        if self.hidden.ndim != 4 or self.hidden.shape != self.cell.shape:
            raise ValueError(
                f"hidden and cell must both be (B, C, h, w), got {tuple(self.hidden.shape)}, {tuple(self.cell.shape)}"
            )
        if self.seen is not None and (self.seen.ndim != 4 or self.seen.shape[0] != self.hidden.shape[0]):
            raise ValueError(
                f"seen must be (B, c, rows, columns) of {self.hidden.shape[0]} videos, got {tuple(self.seen.shape)}"
            )


@dataclass(frozen=True)
class Unroll:
    """How T frames of B videos go through the recurrence. Hashable: a pass recorded on a GPU is found again by it.

    Example:
        >>> Unroll.of([[True, False], [False, False]], fresh_steps=4)
        Unroll(fresh=((True, False), (False, False)), fresh_steps=4, carry_steps=1, lengths=(2, 2))
    """

    fresh: tuple[tuple[bool, ...], ...]
    """B rows of T flags: True where a frame starts from the zero state (after a cut)."""
    fresh_steps: int
    """Refinement steps on a frame that starts from zero."""
    carry_steps: int
    """Refinement steps on a frame that goes on from the state."""
    lengths: tuple[int, ...]
    """Frames of each video that count, B numbers from 0 to T. The rest of a row is padding, whose results mean
    nothing."""

    def __post_init__(self) -> None:
        if len({len(row) for row in self.fresh}) != 1:
            raise ValueError(f"fresh must be rows of one length, a video each, got {[len(row) for row in self.fresh]}")
        if len(self.lengths) != self.streams or not all(0 <= length <= self.times for length in self.lengths):
            raise ValueError(f"lengths must be {self.streams} numbers from 0 to {self.times}, got {self.lengths}")
        for name in ("fresh_steps", "carry_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @classmethod
    def of(
        cls,
        fresh: Sequence[Sequence[bool]],
        *,
        fresh_steps: int,
        carry_steps: int = 1,
        lengths: Sequence[int] | None = None,
    ) -> Unroll:
        """Make one from any sequences; the arguments are the fields. Without `lengths` every frame counts."""
        lengths = [len(row) for row in fresh] if lengths is None else lengths
        return cls(tuple(tuple(map(bool, row)) for row in fresh), fresh_steps, carry_steps, tuple(lengths))

    @property
    def streams(self) -> int:
        """B."""
        return len(self.fresh)

    @property
    def times(self) -> int:
        """T."""
        return len(self.fresh[0])


class AttentiveConvLSTM(nn.Module):
    """Attentive ConvLSTM: refines a state by looking at features through an attention it computes itself.

    Source: Cornia, Baraldi, Serra, Cucchiara, "Predicting human eye fixations via an LSTM-based saliency
    attentive model", IEEE TIP 2018.
    """

    def __init__(self, inputs: int, channels: int, *, attention_scale: AttentionScale = "none") -> None:
        """Make the cell with 3x3 kernels.

        Args:
            inputs: channels of X.
            channels: channels of H and C.
            attention_scale: "none" as published; "cells" multiplies A by the number of cells, so that its mean
                is one and X~ keeps the magnitude of X.
        """
        super().__init__()
        self.channels = channels
        self.attention_scale = attention_scale
        self.attention_hidden = nn.Conv2d(channels, channels, 3, padding=1)  # W_a, acts on H
        self.attention_input = nn.Conv2d(inputs, channels, 3, padding=1)  # U_a, acts on X
        self.attention_score = nn.Conv2d(channels, 1, 3, padding=1, bias=False)  # V_a
        self.gates_input = nn.Conv2d(inputs, 4 * channels, 3, padding=1)  # W_i, W_f, W_c, W_o, act on X~
        self.gates_hidden = nn.Conv2d(channels, 4 * channels, 3, padding=1)  # U_i, U_f, U_c, U_o, act on H
        # W normal (sigma .05), U orthogonal a gate, V_a zero, biases zero, as the authors.
        for convolution in (self.attention_hidden, self.gates_input):
            nn.init.normal_(convolution.weight, std=0.05)
        nn.init.orthogonal_(self.attention_input.weight)
        for gate in self.gates_hidden.weight.data.chunk(4):
            nn.init.orthogonal_(gate)
        nn.init.zeros_(self.attention_score.weight)
        for convolution in (self.attention_hidden, self.attention_input, self.gates_input, self.gates_hidden):
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)

    def initial_state(self, features: torch.Tensor) -> SAMState:
        """The zero state for (B, inputs, h, w) features: float32, on their device."""
        batch, _, height, width = features.shape
        zeros = torch.zeros(batch, self.channels, height, width, device=features.device)
        zeros = zeros.contiguous(memory_format=torch.channels_last)
        return SAMState(zeros, zeros)

    def precompute(self, features: torch.Tensor) -> torch.Tensor:
        """U_a * X of (N, inputs, h, w) features: the same for every step, so made once."""
        result: torch.Tensor = self.attention_input(features)
        return result

    def step(self, features: torch.Tensor, attended: torch.Tensor, state: SAMState | None) -> SAMState:
        """One refinement step.

        Args:
            features: X, (B, inputs, h, w).
            attended: `precompute(features)`, (B, channels, h, w).
            state: H and C of the same B videos; None for zero, where the convolutions of H are their biases.
        """
        if state is None:
            inner = _as_map(self.attention_hidden.bias)
            from_hidden = _as_map(self.gates_hidden.bias)
        else:
            inner = self.attention_hidden(state.hidden)
            from_hidden = self.gates_hidden(state.hidden)
        attention = self._attention(self.attention_score(torch.tanh(inner + attended)))
        gates = self.gates_input(features * attention) + from_hidden  # (B, 4 C, h, w)
        into, forget, content, out = gates.float().chunk(4, dim=1)
        # The cell adds up over the whole video: it stays in float32 under autocast.
        cell = torch.sigmoid(into) * torch.tanh(content)
        if state is not None:
            cell = cell + torch.sigmoid(forget) * state.cell
        return SAMState(torch.sigmoid(out) * torch.tanh(cell), cell)

    def _attention(self, score: torch.Tensor) -> torch.Tensor:
        """A of Z, (B, 1, h, w) float32."""
        attention = torch.softmax(score.flatten(1).float(), dim=1).view_as(score)
        if self.attention_scale == "cells":
            attention = attention * (score.shape[-1] * score.shape[-2])
        return attention

    def rows_at_once(self, cells: int) -> int | None:
        """Most rows of `cells` cells that go through a step together; None for all."""
        return None

    def forward(
        self,
        features: torch.Tensor,
        state: SAMState | None = None,
        *,
        unroll: Unroll,
        groups: Groups | None = None,
    ) -> tuple[torch.Tensor, SAMState]:
        """Run T frames of B videos through the recurrence, in order.

        A stretch of frames that starts from zero does not depend on what was before it, so all stretches of all
        videos advance side by side: with every frame fresh, all B * T frames go through each step at once.

        Args:
            features: X, (B, T, inputs, h, w).
            state: of the B videos after the frame before, or None for zero.
            unroll: which frames start from zero, and the steps on each.
            groups: which of the B * T frames go together through what is computed once a frame; None: all.

        Returns:
            H after each frame, (B, T, channels, h, w), and the state after each video's last frame.
        """
        batch, times = features.shape[:2]
        groups = groups or Groups(batch * times)
        attended = groups.joined(self.precompute(some) for (some,) in groups.of(features.flatten(0, 1)))
        attended = torch.unflatten(attended, 0, (batch, times))
        stretches = _stretches(unroll)
        # What each stretch has reached, and H after each frame.
        reached: dict[_Stretch, SAMState] = {}
        hidden: dict[tuple[int, int], torch.Tensor] = {}
        for offset in range(max((stretch.length for stretch in stretches), default=0)):
            alike = defaultdict[tuple[bool, int], list[_Stretch]](list)
            for stretch in stretches:
                if stretch.length > offset:
                    zero = offset == 0 and (stretch.fresh or state is None)
                    steps = unroll.fresh_steps if offset == 0 and stretch.fresh else unroll.carry_steps
                    alike[zero, steps].append(stretch)
            for (zero, steps), members in alike.items():
                for some in _portions(members, self.rows_at_once(features.shape[-1] * features.shape[-2])):
                    places = [(stretch.stream, stretch.start + offset) for stretch in some]
                    before: SAMState | None = None
                    if not zero:
                        before = SAMState.join([reached[s] if offset else _row(state, s.stream) for s in some])
                    after = self.refine(_pick(features, places), _pick(attended, places), before, steps)
                    for place, (stretch, at) in enumerate(zip(some, places, strict=True)):
                        reached[stretch] = after.row(place)
                        hidden[at] = reached[stretch].hidden
        ends = {stretch.stream: reached[stretch] for stretch in stretches}
        last = [ends.get(n) or _row(state or self.initial_state(features[:, 0]), n) for n in range(batch)]
        nothing = torch.zeros_like(last[0].hidden)
        rows = [hidden.get((b, t), nothing) for b in range(batch) for t in range(times)]
        return torch.unflatten(torch.cat(rows), 0, (batch, times)), SAMState.join(last)

    def refine(self, features: torch.Tensor, attended: torch.Tensor, state: SAMState | None, steps: int) -> SAMState:
        """At least one `step`, the same features at each."""
        for _ in range(steps):
            state = self.step(features, attended, state)
        if state is None:
            raise ValueError(f"steps must be at least 1, got {steps}")
        return state


@dataclass(frozen=True)
class _Stretch:
    """Frames `start` to `start + length` of one video, of which only the first may start from zero."""

    stream: int
    start: int
    length: int
    fresh: bool


def _stretches(unroll: Unroll) -> list[_Stretch]:
    result = []
    for stream, (flags, length) in enumerate(zip(unroll.fresh, unroll.lengths, strict=True)):
        bounds = [t for t in range(length) if t == 0 or flags[t]] + [length]
        result += [_Stretch(stream, start, end - start, flags[start]) for start, end in itertools.pairwise(bounds)]
    return result


def _portions(members: list[_Stretch], most: int | None) -> list[list[_Stretch]]:
    most = most or len(members)
    return [members[first : first + most] for first in range(0, len(members), most)]


def _pick(x: torch.Tensor, places: list[tuple[int, int]]) -> torch.Tensor:
    """Frames of (B, T, ...) by (stream, time), without a copy where they lie in a row. Never waits for a device."""
    times = x.shape[1]
    order = [stream * times + t for stream, t in places]
    flat = x.flatten(0, 1)
    step = order[1] - order[0] if len(order) > 1 else 1
    if step > 0 and order == list(range(order[0], order[0] + step * len(order), step)):
        return flat[order[0] : order[-1] + 1 : step]
    return torch.cat([flat[at : at + 1] for at in order])


def _row(state: SAMState | None, row: int) -> SAMState:
    if state is None:
        raise ValueError("there is no state to continue from")
    # What was seen of the last frame is not the recurrence's business.
    return SAMState(state.hidden[row : row + 1], state.cell[row : row + 1])


def _as_map(bias: torch.Tensor | None) -> torch.Tensor | float:
    return 0.0 if bias is None else bias.view(1, -1, 1, 1)
