"""Centre biases in training: estimated from the fixations of a run, or of a file; kept, refused."""

from __future__ import annotations

import csv
import json
import typing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from made import make_stills
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from test_centre_bias import made_bias
from test_networks import THIN, thin

from vidsal.cli import main
from vidsal.data.options import AugmentOptions
from vidsal.errors import CheckpointError, ConfigError, DatasetError
from vidsal.model.checkpoint import ModelCard, load_model, read_any_checkpoint, save_checkpoint
from vidsal.model.networks.catalogue import input_of
from vidsal.model.networks.parts import BiasedNetwork
from vidsal.preprocess import PreprocessOptions
from vidsal.train import ScheduleOptions, TrainConfig, train
from vidsal.train.centre_bias import CELLS, estimate_centre_bias, fitted
from vidsal.train.samples import OpenData

Array = npt.NDArray[np.float64]

# The estimate.


def counted(points: Array, cells: int = CELLS) -> Array:
    """(N, 2) x, y in shares of the picture, as counts of cells."""
    counts, *_ = np.histogram2d(points[:, 1], points[:, 0], bins=cells, range=[[0, 1], [0, 1]])
    result: Array = counts
    return result


def test_an_estimate_is_the_kernel_density_of_its_width_with_its_even_share() -> None:
    random = np.random.default_rng(0)
    points = random.normal((0.35, 0.6), (0.12, 0.05), (2000, 2))
    found = fitted(np.stack([counted(part) for part in np.split(points, 10)]))
    density = np.exp(found.log_density.astype(np.float64))
    assert density.sum() == pytest.approx(1, abs=1e-6)
    places = (np.arange(CELLS) + 0.5) / CELLS
    grid = np.stack(np.meshgrid(places[20:170:7], places[96:208:7]))
    direct = np.exp(
        logsumexp(
            [-((grid[0] - x) ** 2 + (grid[1] - y) ** 2) / (2 * found.width**2) for x, y in points.tolist()], axis=0
        )
    ) / (len(points) * 2 * np.pi * found.width**2)
    wanted = ((1 - found.even) * direct + found.even) / CELLS**2
    own = density[96:208:7, 20:170:7]
    np.testing.assert_allclose(own, wanted, atol=0.01 * wanted.max())
    # Near what the points were drawn from, and no nearer to it lying the other way round.
    truth = multivariate_normal((0.35, 0.6), np.diag([0.12**2, 0.05**2])).pdf(np.moveaxis(grid, 0, -1)) / CELLS**2
    assert np.abs(own - truth).max() < 0.2 * truth.max() < np.abs(density.T[96:208:7, 20:170:7] - truth).max()


def test_more_fixations_make_kernels_narrower_and_strays_make_more_of_it_even() -> None:
    random = np.random.default_rng(0)

    def parts(count: int, spread: float, strays: int = 0) -> Array:
        points = random.normal((0.5, 0.5), spread, (count, 2))
        points[:strays] = random.random((strays, 2))
        return np.stack([counted(part, 128) for part in np.array_split(random.permutation(points), 10)])

    few, many, dense = (fitted(parts(count, 0.08)) for count in (100, 1000, 20_000))
    assert few.width > 1.4 * many.width > 1.4 * dense.width
    # How much likelier than on an even map: the entropy of the Gaussian, in bits.
    assert dense.bits == pytest.approx(-np.log2(2 * np.pi * np.e * 0.08**2), abs=0.03)
    assert few.bits < many.bits < dense.bits
    # Narrow kernels do not reach a stray, what is even does.
    clean, strayed = (fitted(parts(500, 0.02, strays)) for strays in (0, 50))
    assert clean.even <= 0.001 and 0.03 <= strayed.even <= 0.3 and strayed.width < 0.02


def test_no_mass_is_lost_at_the_edges_of_the_picture() -> None:
    corner = np.zeros((2, 40, 60))
    corner[:, 0, -1] = 5
    density = np.exp(fitted(corner).log_density.astype(np.float64))
    assert density.sum() == pytest.approx(1, abs=1e-6) and density.argmax() == 59


def lopsided_stills(root: Path) -> Path:
    """The made pictures, looked at around a fifth of their width and 0.7 of their height."""
    make_stills(root)
    random = np.random.default_rng(5)
    with (root / "fixations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["x"] = str(float(row["width"]) * np.clip(random.normal(0.2, 0.04), 0, 0.99))
        row["y"] = str(float(row["height"]) * np.clip(random.normal(0.7, 0.04), 0, 0.99))
    with (root / "fixations.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return root


def training(root: Path, output: Path, **more: typing.Any) -> TrainConfig:
    settings: dict[str, typing.Any] = {
        "preset": "deepgaze-1",
        "width": THIN,
        "preprocess": PreprocessOptions(height=48, width=64, fit="inside", cells=4),
        "schedule": ScheduleOptions(passes=1, frames_per_step=4, clip_lengths={1: 1.0}, average_decay=0.9),
        "device": "cpu",
        **more,
    }
    return TrainConfig(output=output, datasets=(root,), **settings)


def test_a_run_estimates_the_bias_of_its_own_fixations_and_keeps_it(tmp_path: Path) -> None:
    root, notes = lopsided_stills(tmp_path / "set"), list[str]()
    config = training(root, tmp_path / "run", centre_bias=Path("fixations"))
    stopped = train(config, stop_after_steps=1, on_progress=lambda progress: notes.extend(progress.notes))
    assert stopped.suffix == ".pt"
    network, _, card = read_any_checkpoint(train(config))
    assert any("estimated from" in one and "spread evenly" in one for one in notes)
    assert "The centre bias is estimated from" in card.initialisation
    assert json.loads(card.training)["centre_bias"] == "fixations"
    bias = network.state_dict()["centre_log_density"]
    assert bias.shape == (CELLS, CELLS)
    row, column = divmod(int(bias.argmax()), CELLS)
    assert row / CELLS == pytest.approx(0.7, abs=0.1) and column / CELLS == pytest.approx(0.2, abs=0.1)
    assert bias.exp().sum() == pytest.approx(1, abs=1e-4)
    # Half precision and the running mean of the weights leave it alone: it is what another run on the same set gets.
    again = train(training(root, tmp_path / "again", centre_bias=Path("fixations"), seed=1))
    assert torch.equal(read_any_checkpoint(again)[0].state_dict()["centre_log_density"], bias)
    assert load_model(again, device="cpu").config == network.config


def test_a_run_takes_the_bias_of_a_file(tmp_path: Path) -> None:
    root, bias = lopsided_stills(tmp_path / "set"), made_bias(24, 32)
    np.save(tmp_path / "bias.npy", bias)
    config = training(root, tmp_path / "run", centre_bias=tmp_path / "bias.npy", preset="deepgaze-2")
    network, _, card = read_any_checkpoint(train(config))
    np.testing.assert_allclose(network.state_dict()["centre_log_density"], bias, atol=1e-5)
    assert "The centre bias comes from bias.npy, sha256 " in card.initialisation


def test_a_step_shows_the_network_pictures_without_their_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, shown = make_stills(tmp_path / "set"), set[tuple[int, ...]]()
    whole = BiasedNetwork.log_density

    def watched(self: BiasedNetwork, pictures: torch.Tensor) -> torch.Tensor:
        shown.add(tuple(pictures.shape[2:]))
        return whole(self, pictures)

    monkeypatch.setattr(BiasedNetwork, "log_density", watched)
    square = PreprocessOptions(height=64, width=64, fit="inside", cells=4)
    changes: dict[str, typing.Any] = {"preprocess": square, "augment": AugmentOptions(crop_probability=0)}
    train(training(root, tmp_path / "run", centre_bias=Path("fixations"), **changes), stop_after_steps=1)
    assert shown == {(48, 64)}
    # Bars that are shown in use are shown in training.
    shown.clear()
    changes["preprocess"] = PreprocessOptions(height=64, width=64)
    train(training(root, tmp_path / "barred", centre_bias=Path("fixations"), **changes), stop_after_steps=1)
    assert shown == {(64, 64)}


def test_a_bias_that_a_run_cannot_have_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = lopsided_stills(tmp_path / "set")

    def refused(says: str, **more: typing.Any) -> None:
        with pytest.raises((ConfigError, CheckpointError, DatasetError), match=says):
            train(training(root, tmp_path / "run", **more))

    refused("no such file", centre_bias=tmp_path / "none.npy")
    refused(
        "centre_bias is for a new deepgaze-1 or deepgaze-2, not for salgan", preset="salgan", centre_bias="fixations"
    )
    start = tmp_path / "start.safetensors"
    save_checkpoint(start, thin("deepgaze-1"), preprocess=input_of("deepgaze-1"), card=ModelCard(name="start"))
    refused("not for start_from, whose network keeps its own", start_from=start, centre_bias="fixations")
    with pytest.raises(ConfigError, match="none has any: name a file instead"):
        estimate_centre_bias(OpenData((), ()))
    # Of one picture there is nothing to hold out.
    table = root / "fixations.csv"
    head, *lines = table.read_text().splitlines()
    table.write_text("\n".join([head, *(line for line in lines if line.startswith("001.png"))]) + "\n")
    words = ["train", "--preset", "deepgaze-1", "--width", "0.02", "--datasets", f"[{root}]", "--device", "cpu"]
    assert main([*words, "--centre-bias", "fixations", "--output", str(tmp_path / "one")]) == 2
    said = capsys.readouterr().err
    assert "--centre-bias fixations needs recorded fixations on at least two pictures" in said
    assert not (tmp_path / "one").exists()
