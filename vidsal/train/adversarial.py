"""A generator's maps and recorded ones in, the losses of the generator and of its discriminator out, in turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F

from vidsal.errors import ConfigError, Setting
from vidsal.model.network import Network
from vidsal.model.networks.discriminator import Discriminator
from vidsal.model.networks.salgan import SalGAN
from vidsal.preprocess import PreprocessOptions
from vidsal.train.options import TrainConfig
from vidsal.train.start import make_optimizer

__all__ = ["Adversary", "Judged", "Turn", "content_loss"]

Turn = Literal["content", "generator", "discriminator"]
"""Whose step it is: "content" is the generator's, before there is a discriminator."""

# The authors compare maps of 48x64 cells, a quarter of the canvas each way.
_POOL = 4


@dataclass(frozen=True, eq=False)
class Judged:
    """The losses of a step."""

    moved: torch.Tensor
    """What the gradient of the one whose turn it is comes from."""
    content: torch.Tensor
    """How far the generator's maps are from the recorded ones."""


class Adversary:
    """SalGAN's discriminator while it is trained, and its optimiser.

    The steps of the run take turns once the passes of content loss alone are over: odd ones (the first is 1) move the
    discriminator, even ones the generator.
    """

    def __init__(
        self, network: Network, config: TrainConfig, preprocess: PreprocessOptions, device: torch.device
    ) -> None:
        """Make a discriminator with random weights.

        Raises:
            ConfigError: the network is none that has a discriminator.
        """
        if not isinstance(network, SalGAN):
            named = getattr(network.config, "network", "SAM's family")
            raise ConfigError(
                Setting("discriminator"), f" is for salgan, the only system here that has one; this run trains {named}"
            )
        self.network, self.options, self.preprocess = network, config.adversarial, preprocess
        made = Discriminator(network.config, height=preprocess.height, width=preprocess.width)
        self.discriminator = made.to(device)
        rate = self.options.discriminator_learning_rate
        groups = [
            {
                "params": [one for one in made.parameters() if (one.ndim > 1) == decays],
                "lr": rate,
                "weight_decay": decay,
            }
            for decays, decay in ((True, config.schedule.weight_decay), (False, 0.0))
        ]
        self.peaks = [rate] * len(groups)
        self.optimizer = make_optimizer(groups, config.schedule)
        self.running: float | None = None
        """Running mean of the discriminator's loss; ln 2 is that of a coin."""

    def turn(self, step: int, pass_index: int) -> Turn:
        """Whose turn a step is: its number and its pass, both from 0."""
        if pass_index < self.options.content_passes:
            return "content"
        return "discriminator" if step % 2 == 0 else "generator"

    def judge(
        self,
        turn: Turn,
        logits: torch.Tensor,
        *,
        frames: torch.Tensor,
        density: torch.Tensor,
        counts: torch.Tensor,
        inside: torch.Tensor,
    ) -> Judged:
        """The losses of a step.

        Args:
            turn: whose it is; gradients reach nobody else.
            logits: (N, H, W) float, whose sigmoid is the generator's map.
            frames: (N, 3, H, W) float, what the generator sees.
            density: (N, H, W) float, recorded; over its highest value it is the map that should have come out.
            counts: (N, H, W) float, fixations; a frame without any counts nothing.
            inside: (N, H, W) bool, where the canvas shows the picture.
        """
        looked = counts.flatten(1).sum(1) > 0
        wanted = density / density.amax((1, 2), keepdim=True).clamp_min(torch.finfo(density.dtype).tiny)
        content = _mean(content_loss(logits, wanted, inside), looked)
        self.discriminator.requires_grad_(turn == "discriminator")
        if turn == "content":
            return Judged(content, content)
        pictures, maps = _pictures(frames, self.preprocess), logits.sigmoid() * inside
        if turn == "generator":
            fooled = _against(self.discriminator(pictures, maps), truth=1.0)
            return Judged(_mean(fooled, looked) + self.options.content_weight * content, content)
        real, fake = self.discriminator(pictures, wanted), self.discriminator(pictures, maps.detach())
        seen_through = (_against(real, truth=1.0) + _against(fake, truth=0.0)) / 2
        loss = _mean(seen_through, looked)
        value = float(loss.detach())
        self.running = value if self.running is None else 0.98 * self.running + 0.02 * value
        return Judged(loss, content)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs of it."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "running": self.running,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.discriminator.load_state_dict(saved["discriminator"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.running = saved["running"]


def content_loss(logits: torch.Tensor, wanted: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of the maps, both averaged over 4x4 cells first.

    Args:
        logits: (N, H, W) float, whose sigmoid is the predicted map.
        wanted: (N, H, W) float, the recorded map, 0 to 1.
        inside: (N, H, W) bool, True where the canvas shows the picture; other cells count nothing.

    Returns:
        (N,) float32, in nats: the mean over the coarse cells.
    """
    mask = inside.float()
    share = F.avg_pool2d(mask, _POOL)
    # Rounding may take a mean of numbers up to 1 beyond it.
    predicted, recorded = (
        (F.avg_pool2d(one * mask, _POOL) / share.clamp_min(1 / _POOL**2)).clamp(0, 1)
        for one in (logits.float().sigmoid(), wanted.float())
    )
    loss = F.binary_cross_entropy(predicted, recorded, reduction="none")
    return (loss * share).sum((1, 2)) / share.sum((1, 2)).clamp_min(1 / _POOL**2)


def _pictures(frames: torch.Tensor, preprocess: PreprocessOptions) -> torch.Tensor:
    """What the preprocessing was given: (N, 3, H, W) float, RGB, 0 to 255."""
    mean, std = (torch.tensor(one, device=frames.device)[:, None, None] for one in (preprocess.mean, preprocess.std))
    pixels = (frames * std + mean) * preprocess.divisor
    return pixels.flip(1) if preprocess.channel_order == "bgr" else pixels


def _against(judged: torch.Tensor, *, truth: float) -> torch.Tensor:
    """(N,) binary cross-entropy of verdicts and the truth, 1 for "recorded"."""
    return F.binary_cross_entropy_with_logits(judged, torch.full_like(judged, truth), reduction="none")


def _mean(losses: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """The mean of those that count; 0 where none does."""
    return (losses * counted).sum() / counted.sum().clamp_min(1)
