"""Checkpoints of one architecture in, one with the mean of their weights and a calibrated density out.

    python tools/average_checkpoints.py A.safetensors B.safetensors --shares .5 .5 --output MEAN.safetensors \\
        --calibrate DATA/osie DATA/eyecrowd ...

Weights of runs that went on from one another are near enough for their mean to be a model, often a better one than each
(Wortsman et al. 2022, model soups). The card is the last one's; its `training` tells of the mean.

`--calibrate` looks for the temperature T at which softmax(logits / T) has the least KL from the recorded densities over
training pictures (single frames, every set counts alike), prints the KL at each, and divides the last layer by the
best.
A T of 1 says that the density is as sharp as viewers are.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import torch

from vidsal.data.fixations import density_from_fixations
from vidsal.data.layouts import LabelledSequence
from vidsal.data.sets import open_simple_stills
from vidsal.errors import CheckpointError, VidsalError
from vidsal.model.checkpoint import SaliencyModel, read_checkpoint, save_checkpoint
from vidsal.model.sam import SaliencyAttentiveModel

TEMPERATURES = tuple(0.7 + 0.05 * step for step in range(15))


def averaged(paths: list[str], shares: list[float]) -> SaliencyAttentiveModel:
    """The network whose weights are the mean."""
    networks = [read_checkpoint(path)[0] for path in paths]
    if any(network.config != networks[0].config for network in networks):
        raise CheckpointError("the checkpoints are of different architectures: only like can be averaged")
    states = [network.state_dict() for network in networks]
    result = networks[-1]
    with torch.no_grad():
        for name, value in result.state_dict().items():
            if value.is_floating_point():
                total = sum(share * state[name].double() for share, state in zip(shares, states, strict=True))
                value.copy_(total / sum(shares))
    return result


@torch.inference_mode()
def divergences(model: SaliencyModel, still: LabelledSequence) -> list[float]:
    """KL of the prediction from the recorded density, at each temperature."""
    frame = still.first_frame()
    picture, seen = frame.picture(), frame.fixations()
    if seen is None:
        raise ValueError(f"{still.name} has no record of fixations")
    log_density, _ = model(model.preprocessor(picture[None])[None])
    view = model.preprocessor.viewport(*picture.shape[:2])
    logits = log_density[0, 0, view.top : view.top + view.height, view.left : view.left + view.width]
    scale = torch.tensor([view.width / seen.width, view.height / seen.height])
    points = (torch.from_numpy(seen.points) * scale).numpy()
    sigma = seen.spread * view.width / seen.width
    truth = torch.from_numpy(density_from_fixations(points, height=view.height, width=view.width, sigma=sigma))
    entropy = torch.special.entr(truth).sum()
    results = []
    for temperature in TEMPERATURES:
        scaled = logits / temperature
        results.append(float(-entropy - (truth * (scaled - scaled.logsumexp((0, 1)))).sum()))
    return results


def best_temperature(model: SaliencyModel, sets: list[Path], *, pictures: int) -> float:
    """The best temperature, after printing them all."""
    means = []
    for root in sets:
        stills = open_simple_stills(root).training[:pictures]
        rows = torch.tensor([divergences(model, still) for still in stills])
        means.append(rows.mean(0))
        print(f"{root.name:12s}" + " ".join(f"{value:6.3f}" for value in means[-1].tolist()), flush=True)
    total = torch.stack(means).mean(0)
    print(f"{'mean':12s}" + " ".join(f"{value:6.3f}" for value in total.tolist()))
    print(f"{'temperature':12s}" + " ".join(f"{value:6.2f}" for value in TEMPERATURES))
    return TEMPERATURES[int(total.argmin())]


def main() -> int:
    """Average, calibrate where asked, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--shares", nargs="+", type=float, help="one a checkpoint; default: all alike")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--calibrate", nargs="+", type=Path, default=[], help="folders in the simple layout")
    parser.add_argument("--pictures", type=int, default=80, help="training pictures of each set to calibrate on")
    arguments = parser.parse_args()
    shares = arguments.shares or [1.0] * len(arguments.checkpoints)
    if len(shares) != len(arguments.checkpoints) or min(shares) < 0 or sum(shares) == 0:
        parser.error(f"--shares takes a share of at least 0 for each of the {len(arguments.checkpoints)} checkpoints")
    network = averaged(arguments.checkpoints, shares)
    _, preprocess, card = read_checkpoint(arguments.checkpoints[-1])
    temperature = 1.0
    if arguments.calibrate:
        copy = averaged(arguments.checkpoints, shares)
        model = SaliencyModel(copy, preprocess=preprocess, card=card, device="cpu")
        temperature = best_temperature(model, arguments.calibrate, pictures=arguments.pictures)
        with torch.no_grad():
            for parameter in network.head.out.parameters():
                parameter /= temperature
    recipe = json.loads(card.training) if card.training else {}
    recipe["averaged_with_shares"] = shares
    recipe["temperature"] = round(temperature, 2)
    card = dataclasses.replace(card, training=json.dumps(recipe, sort_keys=True), scores={})
    save_checkpoint(arguments.output, network, preprocess=preprocess, card=card)
    print(f"wrote {arguments.output} (temperature {temperature:.2f})")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
