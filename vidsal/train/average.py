"""Checkpoints of one architecture in, one with the mean of their weights and a calibrated density out."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from vidsal.data.clips import make_clip
from vidsal.data.layouts import LabelledSequence
from vidsal.data.sets import open_simple_stills
from vidsal.errors import CheckpointError, ConfigError, EncodeError, Setting
from vidsal.model.checkpoint import SaliencyModel, read_checkpoint, save_checkpoint
from vidsal.model.sam import SaliencyAttentiveModel

__all__ = ["TEMPERATURES", "average_checkpoints"]

TEMPERATURES = tuple(round(0.7 + 0.05 * step, 2) for step in range(15))
"""Those that are tried."""


def average_checkpoints(
    paths: Sequence[Path],
    output: Path,
    *,
    shares: Sequence[float] | None = None,
    calibrate: Sequence[Path] = (),
    pictures: int = 80,
    overwrite: bool = False,
    on_note: Callable[[str], None] | None = None,
) -> float:
    """Write the mean of the weights of checkpoints that went on from one another.

    Such weights are near enough for their mean to be a model, often a better one than each (Wortsman et al. 2022,
    model soups). The card is the last one's, without scores; its `training` says what was averaged.

    Args:
        paths: the checkpoints.
        output: the checkpoint to write.
        shares: of each in the mean, at least 0; they need not add up to 1. None: all alike.
        calibrate: folders in the simple layout. The last layer is divided by the one of `TEMPERATURES` at which
            softmax(logits / T) has the least KL from the recorded densities of training pictures, every set alike.
            A T of 1 says that the density is as sharp as viewers are. Without folders it is 1.
        pictures: of each set.
        overwrite: replaces a file that is there.
        on_note: called with a line for each set: the KL at each temperature.

    Returns:
        The temperature.

    Raises:
        CheckpointError: a file is no checkpoint, or they are of different architectures.
        ConfigError: the shares do not fit.
        DatasetError: a folder is not in the simple layout.
        EncodeError: the output exists or cannot be written.
    """
    chosen = [1.0] * len(paths) if shares is None else list(shares)
    if len(chosen) != len(paths) or min(chosen) < 0 or sum(chosen) == 0:
        raise ConfigError(
            Setting("shares"), f" must be a number of at least 0 for each of {len(paths)} checkpoints, got {chosen}"
        )
    if output.exists() and not overwrite:
        raise EncodeError(
            f"{output} exists already; use ", Setting("overwrite", True), " to replace it, or choose another path"
        )
    read = [read_checkpoint(path) for path in paths]
    network, preprocess, card = read[-1]
    if any(other.config != network.config for other, _, _ in read):
        raise CheckpointError("the checkpoints are of different architectures: only like can be averaged")
    _take_mean(network, [other for other, _, _ in read], chosen)
    temperature = 1.0
    if calibrate:
        # Of its own, because it is rewritten for prediction.
        fast = SaliencyModel(copy.deepcopy(network), preprocess=preprocess, card=card, device="cpu")
        temperature = _best_temperature(fast, calibrate, pictures, on_note)
        with torch.no_grad():
            for parameter in network.head.out.parameters():
                parameter.div_(temperature)
    training = json.loads(card.training) if card.training else {}
    training |= {"averaged_with_shares": chosen, "temperature": temperature}
    card = dataclasses.replace(card, training=json.dumps(training, sort_keys=True), scores={})
    save_checkpoint(output, network, preprocess=preprocess, card=card)
    return temperature


def _take_mean(
    network: SaliencyAttentiveModel, networks: Sequence[SaliencyAttentiveModel], shares: Sequence[float]
) -> None:
    """Put the mean into `network`, which may be one of them."""
    states = [one.state_dict() for one in networks]
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                total = sum(share * state[name].double() for share, state in zip(shares, states, strict=True))
                value.copy_(total / sum(shares))


def _best_temperature(
    model: SaliencyModel, roots: Sequence[Path], pictures: int, on_note: Callable[[str], None] | None
) -> float:
    means = []
    for root in roots:
        stills = open_simple_stills(root).training[:pictures]
        means.append(torch.tensor([_divergences(model, still) for still in stills]).mean(0))
        if on_note is not None:
            at = ", ".join(f"{t:.2f}: {kl:.3f}" for t, kl in zip(TEMPERATURES, means[-1].tolist(), strict=True))
            on_note(f"{root.name}: KL by temperature: {at}")
    return TEMPERATURES[int(torch.stack(means).mean(0).argmin())]


def _divergences(model: SaliencyModel, still: LabelledSequence) -> list[float]:
    """KL of the map from the recorded density, at each temperature."""
    clip = make_clip(
        still, times=1, preprocess=model.preprocessor.options, augment=None, random=np.random.default_rng(0)
    )
    view = clip.viewport
    logits = model(model.preprocessor(clip.frames)[None])[0][0, 0]
    truth = torch.from_numpy(clip.density[0][view.top : view.top + view.height, view.left : view.left + view.width])
    entropy = torch.special.entr(truth).sum()
    return [float(-entropy - (truth * view.crop(logits / temperature)).sum()) for temperature in TEMPERATURES]
