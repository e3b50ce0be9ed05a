"""Features of frames and a state in, hidden states and the new state out: the attentive ConvLSTM of SAM.

Notation as in Cornia et al. (2018): X features, H hidden, C cell, A attention; `*` is a 'same' convolution.

    Z  = V_a * tanh(W_a * H + U_a * X + b_a)
    A  = softmax of Z over all cells (times the number of cells where `attention_scale="cells"`)
    X~ = A . X
    I, F, O = sigmoid(W_{i,f,o} * X~ + U_{i,f,o} * H + b_{i,f,o});  G = tanh(W_c * X~ + U_c * H + b_c)
    C' = F . C + I . G;  H' = O . tanh(C')
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

__all__ = ["AttentionScale", "AttentiveConvLSTM", "SAMState"]

AttentionScale = Literal["none", "cells"]


@dataclass(frozen=True, eq=False)
class SAMState:
    """What the model remembers of B streams between calls. All zeros is the authors' start."""

    hidden: torch.Tensor
    """H: (B, channels, h, w) float32."""
    cell: torch.Tensor
    """C: (B, channels, h, w) float32."""

    def __post_init__(self) -> None:
        if self.hidden.ndim != 4 or self.hidden.shape != self.cell.shape:
            raise ValueError(
                f"hidden and cell must both be (B, C, h, w), got {tuple(self.hidden.shape)}, {tuple(self.cell.shape)}"
            )

    def select(self, streams: Sequence[int]) -> SAMState:
        """The state of some of the streams, in the order given."""
        index = torch.as_tensor(list(streams), device=self.hidden.device)
        return SAMState(self.hidden[index], self.cell[index])

    def detach(self) -> SAMState:
        """The same values, cut off from the graph (truncated back-propagation)."""
        return SAMState(self.hidden.detach(), self.cell.detach())

    def __repr__(self) -> str:
        return f"SAMState(hidden={tuple(self.hidden.shape)}, cell={tuple(self.cell.shape)})"


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
        self._initialise()

    def _initialise(self) -> None:
        """W normal (sigma .05), U orthogonal a gate, V_a zero, biases zero, as the authors."""
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

    def step(self, features: torch.Tensor, attended: torch.Tensor, state: SAMState) -> SAMState:
        """One refinement step.

        Args:
            features: X, (B, inputs, h, w).
            attended: `precompute(features)`, (B, channels, h, w).
            state: H and C of the same B streams.
        """
        score = self.attention_score(torch.tanh(self.attention_hidden(state.hidden) + attended))  # (B, 1, h, w)
        attention = torch.softmax(score.flatten(1).float(), dim=1).view_as(score)
        if self.attention_scale == "cells":
            attention = attention * (score.shape[-1] * score.shape[-2])
        gates = self.gates_input(features * attention) + self.gates_hidden(state.hidden)  # (B, 4 C, h, w)
        into, forget, content, out = gates.float().chunk(4, dim=1)
        # The cell adds up over the whole video: it stays in float32 under autocast.
        cell = torch.sigmoid(forget) * state.cell + torch.sigmoid(into) * torch.tanh(content)
        return SAMState(torch.sigmoid(out) * torch.tanh(cell), cell)

    def forward(
        self,
        features: torch.Tensor,
        state: SAMState | None = None,
        *,
        fresh: Sequence[Sequence[bool]],
        fresh_steps: int,
        carry_steps: int,
    ) -> tuple[torch.Tensor, SAMState]:
        """Run T frames of B streams through the recurrence, in order.

        Args:
            features: X, (B, T, inputs, h, w).
            state: of the B streams after the frame before, or None for zero.
            fresh: B rows of T flags: True where a frame starts from the zero state.
            fresh_steps: steps on a frame that starts from zero.
            carry_steps: steps on a frame that goes on from the state.

        Returns:
            H after each frame, (B, T, channels, h, w), and the state after the last.
        """
        batch, times = features.shape[:2]
        attended = self.precompute(features.flatten(0, 1))
        attended = attended.reshape(batch, times, *attended.shape[1:])
        zero = self.initial_state(features[:, 0])
        if state is None:
            state = zero
        hidden = []
        for t in range(times):
            starting = [b for b in range(batch) if fresh[b][t]]
            if len(starting) == batch:
                state = self._refine(features[:, t], attended[:, t], zero, fresh_steps)
            elif not starting:
                state = self._refine(features[:, t], attended[:, t], state, carry_steps)
            else:
                going_on = [b for b in range(batch) if not fresh[b][t]]
                parts = [
                    self._refine(features[rows, t], attended[rows, t], source.select(rows), steps)
                    for rows, source, steps in ((starting, zero, fresh_steps), (going_on, state, carry_steps))
                ]
                joined = SAMState(
                    torch.cat([p.hidden for p in parts]),
                    torch.cat([p.cell for p in parts]),
                )
                order = starting + going_on
                state = joined.select([order.index(b) for b in range(batch)])
            hidden.append(state.hidden)
        return torch.stack(hidden, 1), state

    def _refine(self, features: torch.Tensor, attended: torch.Tensor, state: SAMState, steps: int) -> SAMState:
        for _ in range(steps):
            state = self.step(features, attended, state)
        return state
