"""The mean of checkpoints, and the temperature of its density, against sums done by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from made import CANVAS, TINY, make_checkpoint, make_network, make_stills

from vidsal.cli import main
from vidsal.data.clips import make_clip
from vidsal.data.sets import open_simple_stills
from vidsal.errors import CheckpointError, ConfigError, EncodeError
from vidsal.model.checkpoint import ModelCard, read_checkpoint, save_checkpoint
from vidsal.train.average import TEMPERATURES, average_checkpoints


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [make_checkpoint(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2)]


def test_every_weight_is_the_mean_by_shares_and_the_card_says_so(two: list[Path], tmp_path: Path) -> None:
    assert average_checkpoints(two, tmp_path / "mean.safetensors", shares=[3, 1]) == 1.0
    mean, _, card = read_checkpoint(tmp_path / "mean.safetensors")
    first, second = (read_checkpoint(path)[0].state_dict() for path in two)
    for name, value in mean.state_dict().items():
        if value.is_floating_point():
            # Stored in half precision.
            torch.testing.assert_close(value, 0.75 * first[name] + 0.25 * second[name], atol=1e-3, rtol=1e-3)
    assert not torch.allclose(mean.head.out.weight, second["head.out.weight"], atol=1e-2)  # type: ignore[arg-type, union-attr]
    assert json.loads(card.training) == {"averaged_with_shares": [3, 1], "temperature": 1.0} and card.scores == {}


def test_the_density_gets_the_temperature_of_the_least_divergence(two: list[Path], tmp_path: Path) -> None:
    root, notes = make_stills(tmp_path / "stills"), list[str]()
    chosen = average_checkpoints(two[:1], tmp_path / "mean.safetensors", calibrate=[root], on_note=notes.append)
    told = {
        float(t): float(kl) for t, kl in (pair.split(": ") for pair in notes[0].split("temperature: ")[1].split(", "))
    }
    assert tuple(told) == TEMPERATURES and told[chosen] == min(told.values())
    network, _, _ = read_checkpoint(two[0])
    calibrated = read_checkpoint(tmp_path / "mean.safetensors")[0]
    torch.testing.assert_close(calibrated.head.out.weight * chosen, network.head.out.weight, atol=1e-3, rtol=1e-3)  # type: ignore[operator]
    assert told[chosen] == pytest.approx(divergence_of(calibrated, root), abs=2e-3)
    assert told[1.0] == pytest.approx(divergence_of(network, root), abs=2e-3)


@torch.inference_mode()
def divergence_of(network: torch.nn.Module, root: Path) -> float:
    """KL of the maps within the picture, by its definition."""
    found = []
    for still in open_simple_stills(root).training:
        clip = make_clip(still, times=1, preprocess=CANVAS, augment=None, random=np.random.default_rng(0))
        pixels = (torch.from_numpy(clip.frames[0]) / 255 - torch.tensor(CANVAS.mean)) / torch.tensor(CANVAS.std)
        maps = network(pixels.permute(2, 0, 1)[None, None])[0][0, 0].exp()
        view = clip.viewport
        inside = (slice(view.top, view.top + view.height), slice(view.left, view.left + view.width))
        p, q = torch.from_numpy(clip.density[0])[inside], maps[inside] / maps[inside].sum()
        found.append(float((p * (p / q).log())[p > 0].sum()))
    return float(np.mean(found))


def test_what_cannot_be_averaged_is_refused_and_nothing_is_replaced(two: list[Path], tmp_path: Path) -> None:
    wider = make_network(config=dataclasses.replace(TINY, recurrent_channels=16))
    save_checkpoint(tmp_path / "wider.safetensors", wider, preprocess=CANVAS, card=ModelCard(name="wider"))
    with pytest.raises(CheckpointError, match="different architectures"):
        average_checkpoints([*two, tmp_path / "wider.safetensors"], tmp_path / "mean.safetensors")
    for shares in ([1.0], [1.0, -1.0], [0.0, 0.0]):
        with pytest.raises(ConfigError, match="2 checkpoints"):
            average_checkpoints(two, tmp_path / "mean.safetensors", shares=shares)
    before = two[0].read_bytes()
    with pytest.raises(EncodeError, match="exists already"):
        average_checkpoints(two, two[0])
    assert two[0].read_bytes() == before and not (tmp_path / "mean.safetensors").exists()


def test_the_command_writes_the_mean_and_prints_its_path(
    two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["weights", "average", *map(str, two), "-o", str(tmp_path / "mean.safetensors")]
    assert main(call) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'mean.safetensors'}\n" and "the mean of 2, temperature 1.00" in err
    assert main([*call, "--overwrite", "-q", "--shares", "1"]) == 2
    assert "--shares must be a number of at least 0 for each of 2" in capsys.readouterr().err
    assert main(call) == 1
