"""Centre biases of the networks' own: from a file, scaled to pictures, stored, exported, refused."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import typing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.ndimage import zoom
from scipy.special import logsumexp
from test_networks import REFERENCES, THIN, differing, own_centre, pixels, thin
from test_networks_published import deepgaze1_density, deepgaze1_tensors

from vidsal.cli import main
from vidsal.errors import CheckpointError, ConfigError
from vidsal.export import LARGEST_DIFFERENCE, export_network
from vidsal.frames import FrameBatch
from vidsal.model.checkpoint import ModelCard, SaliencyModel, read_any_checkpoint, save_checkpoint
from vidsal.model.ensemble import Ensemble, Member
from vidsal.model.networks.catalogue import build_network, input_of
from vidsal.model.networks.centre_bias import read_centre_bias
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.parts import BiasedNetwork
from vidsal.model.networks.published import import_network
from vidsal.model.options import NetworkName
from vidsal.pipe.options import PredictOptions
from vidsal.pipe.predict import predict
from vidsal.preprocess import Preprocessor
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import ViewerOptions

Array = npt.NDArray[np.float64]
both = pytest.mark.parametrize("name", ["deepgaze-1", "deepgaze-2"])


def made_bias(rows: int, columns: int, seed: int = 0) -> Array:
    """A log density whose every cell differs from its neighbours."""
    values = 2 * np.random.default_rng(seed).standard_normal((rows, columns))
    result: Array = values - logsumexp(values)
    return result


def biased(name: NetworkName, bias: Array) -> BiasedNetwork:
    """The thin network with a centre bias of its own."""
    rows, columns = bias.shape
    network = typing.cast(BiasedNetwork, build_network(NetworkConfig(name, THIN, centre_bias=(rows, columns))).eval())
    state = {**thin(name).state_dict(), "centre_log_density": torch.from_numpy(bias).float()}
    network.load_state_dict(state)
    return network


# Stages, by SciPy.


@both
@pytest.mark.parametrize("cells", [(37, 53), (101, 64), (256, 256)])
def test_every_stage_with_a_bias_of_its_own_is_that_of_the_description(
    name: NetworkName, cells: tuple[int, int]
) -> None:
    network = biased(name, made_bias(*cells))
    given = pixels(name)[..., :140, :204] if name == "deepgaze-1" else pixels(name)[..., :46, :78]
    x = given[0].double().numpy()
    found = REFERENCES[name](x, network)
    assert differing(found, network, given) == []
    # The bias is a part of it, and no other bias would do: turned over, of other cells, or not normalised.
    assert differing(REFERENCES[name](x, thin(name)), network, given) == ["biased"]
    for wrong in (made_bias(*cells[::-1]).T, made_bias(*cells)[::-1], made_bias(*cells)[:, ::-1]):
        assert differing(REFERENCES[name](x, biased(name, wrong.copy())), network, given) == ["biased"]
    raw = network.centre_log_density
    assert raw is not None
    every = 4 if name == "deepgaze-1" else 2
    size = given.shape[2] / cells[0], given.shape[3] / cells[1]
    weight = network.centre_weight.item()
    for order, less in ((0, 0.0), (1, None)):
        scaled = zoom(raw.double().numpy(), size, order=order, mode="nearest")
        scaled -= logsumexp(scaled) if less is None else less
        odd = {**found, "biased": found["blurred"] + weight * scaled[::every, ::every]}
        assert differing(odd, network, given) == ["biased"], "an error that nobody sees"


@both
@torch.inference_mode()
def test_without_a_readout_the_map_is_the_bias_of_the_picture(name: NetworkName) -> None:
    network = biased(name, made_bias(19, 31))
    for parameter in network.readout.parameters():  # type: ignore[union-attr]
        parameter.zero_()
    network.centre_weight.fill_(0.7)
    given = pixels(name)
    rows, columns = given.shape[2:]
    every = 4 if name == "deepgaze-1" else 2
    bias = own_centre(network, rows, columns)
    assert bias is not None
    weighted = 0.7 * bias[::every, ::every].repeat(every, 0).repeat(every, 1)
    wanted = torch.from_numpy(weighted - logsumexp(weighted)).float()
    torch.testing.assert_close(network(given[None])[0][0, 0], wanted)


@both
def test_in_training_the_bias_lies_over_the_picture_and_not_over_its_bars(name: NetworkName) -> None:
    network = biased(name, made_bias(23, 17))
    frames = torch.randn(2, 2, 3, 48, 64, generator=torch.Generator().manual_seed(3))
    inside = torch.ones(2, 2, 48, 64, dtype=torch.bool)
    inside[0, :, :, :11] = inside[0, :, :, -9:] = False
    inside[1, 1, :7] = False
    maps, _, parts = network.rehearse(frames, inside=inside)
    assert parts == () and maps.requires_grad
    alone = [frames[0, :, :, :, 11:-9], frames[1, :1], frames[1, 1:, :, 7:]]
    shown = [maps[0, :, :, 11:-9], maps[1, :1], maps[1, 1:, 7:]]
    for one, own in zip(alone, shown, strict=True):
        torch.testing.assert_close(own, network.log_density(one))
    assert not torch.allclose(network.rehearse(frames)[0][0, :, :, 11:-9], shown[0], atol=1e-2)


# Files.


def test_a_bias_goes_from_its_file_into_a_checkpoint_of_deepgaze_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    width = 1 / 32  # as `deepgaze1_tensors`
    tensors, bias = deepgaze1_tensors(), made_bias(41, 41)
    torch.save(tensors, tmp_path / "deepgaze1.pth")
    np.save(tmp_path / "centerbias_mit1003.npy", bias)
    path = import_network(
        tmp_path / "deepgaze1.pth",
        name="deepgaze-1",
        output=tmp_path / "o.safetensors",
        width=width,
        centre_bias=tmp_path / "centerbias_mit1003.npy",
    )
    network, options, card = read_any_checkpoint(path)
    assert "deepgaze1.pth, sha256 " in card.initialisation and "centerbias_mit1003.npy, sha256 " in card.initialisation
    assert not any("Clarke" in one for one in card.limits)
    assert network.config == NetworkConfig("deepgaze-1", width, centre_bias=(41, 41))
    picture = np.random.default_rng(0).integers(0, 256, (140, 188, 3), dtype=np.uint8)
    with torch.inference_mode():
        own = network(Preprocessor(options)(picture[None])[None])[0][0, 0].numpy()
    expected = deepgaze1_density(tensors, picture, bias)
    assert np.abs(own - expected).max() < 1e-4 * np.ptp(expected)
    for wrong in (None, bias.T, bias[::-1], np.exp(bias)):
        assert np.abs(own - deepgaze1_density(tensors, picture, wrong)).max() > 1e-2 * np.ptp(expected)
    assert main(["models", str(path)]) == 0
    assert "a centre bias of its own (41x41)" in capsys.readouterr().out


def test_the_command_line_hands_the_file_over_and_says_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def importing(*_: object, **given: object) -> Path:
        asked.append(given["centre_bias"])
        return tmp_path / "o.safetensors"

    monkeypatch.setattr("vidsal.model.networks.published.import_network", importing)
    words = ["weights", "import", "deepgaze1.pth", "--as", "deepgaze-1", "-o", str(tmp_path / "o.safetensors")]
    assert main([*words, "--centre-bias", "bias.npy"]) == 0 and main(words) == 0
    assert asked == [Path("bias.npy"), None]
    assert capsys.readouterr().err.count("Clarke and Tatler's centre bias takes the place") == 1
    assert main(["weights", "import", "x.npz", "--as", "salgan", "-o", "o.safetensors", "--centre-bias", "b.npy"]) == 2
    assert "--centre-bias is for --as deepgaze-1" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="a centre bias is for deepgaze-1, not for salgan"):
        monkeypatch.undo()
        import_network(tmp_path / "x", name="salgan", output=tmp_path / "o.safetensors", centre_bias=tmp_path / "b.npy")


def test_what_is_no_bias_is_refused_in_one_line(tmp_path: Path) -> None:
    good = made_bias(12, 20)
    path = tmp_path / "bias.npy"

    def refused(says: str) -> None:
        with pytest.raises(CheckpointError, match=says) as caught:
            read_centre_bias(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)

    refused("no such file")
    path.write_bytes(b"")
    refused("the file is empty")
    path.write_bytes(b"\x93NUMPY\x01\x00nonsense")
    refused("damaged")
    np.save(path, good)
    path.write_bytes(path.read_bytes()[:-5])
    refused("damaged")
    touched = tmp_path / "touched"
    np.save(path, np.array([Touches(touched)], dtype=object), allow_pickle=True)
    refused("damaged, or of another kind")
    assert not touched.exists()
    with path.open("wb") as file:
        np.savez(file, good)
    refused("an archive, as .npz and .pth are")
    not_finite = good.copy()
    not_finite[3, 4:6] = -np.inf, np.nan
    for values, says in (
        (good[0], r"an array \(20,\) of float64, expected a centre bias"),
        (good[None], r"an array \(1, 12, 20\)"),
        (np.zeros((2, 5000)), r"an array \(2, 5000\) of float64, .* at most 4096 each"),
        (np.zeros((4, 4), np.int64), "of int64"),
        (not_finite, "2 values are not finite"),
        (np.exp(good), "holds a density, not its log: save numpy.log"),
        (good / np.log(2), "its exponentials sum to .*, not to 1"),
        (np.zeros((10, 10)), "its exponentials sum to 100, not to 1"),
        (np.full((10, 10), 1e9), "its exponentials sum to"),
        (good - 1e4, "its exponentials sum to 0, not to 1"),
    ):
        np.save(path, values)
        refused(says)


class Touches:
    """Makes a file when it is unpickled by whoever runs code from pickles."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_bias_may_be_stored_in_any_floating_type_and_order_and_is_brought_to_sum_1(tmp_path: Path) -> None:
    good = made_bias(12, 20)
    for values in (good, good.astype(">f4"), np.asfortranarray(good), good + 5e-4):
        np.save(tmp_path / "bias.npy", values)
        found = read_centre_bias(tmp_path / "bias.npy")
        assert found.dtype == np.float32 and np.exp(found.astype(np.float64)).sum() == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(found, good, atol=2e-6)


# Checkpoints.


def test_a_checkpoint_in_half_precision_holds_the_bias_exactly_and_older_ones_are_read(tmp_path: Path) -> None:
    for name in ("deepgaze-1", "deepgaze-2"):
        network = biased(name, made_bias(30, 40))
        path = tmp_path / f"{name}.safetensors"
        save_checkpoint(path, network, preprocess=input_of(name), card=ModelCard(name=name), dtype=torch.float16)
        found = read_any_checkpoint(path)[0].state_dict()
        assert torch.equal(found["centre_log_density"], network.state_dict()["centre_log_density"])
        with safe_open(path, framework="pt") as file:
            kinds = {key: file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118 (no mapping)
        assert [key for key, kind in kinds.items() if kind != torch.float16] == ["centre_log_density"]
    # What was written before there was a choice.
    plain = thin("deepgaze-1")
    save_checkpoint(path, plain, preprocess=input_of("deepgaze-1"), card=ModelCard(name="old"), dtype=torch.float32)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["vidsal"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert "centre_log_density" not in tensors
    del header["config"]["centre_bias"]
    save_file(tensors, path, metadata={"vidsal": json.dumps(header)})
    old = read_any_checkpoint(path)[0]
    with torch.inference_mode():
        assert torch.equal(old(pixels("deepgaze-1")[None])[0], plain(pixels("deepgaze-1")[None])[0])
    # A header that promises what is not there.
    header["config"]["centre_bias"] = [4096, 4096]
    save_file(tensors, path, metadata={"vidsal": json.dumps(header)})
    with pytest.raises(CheckpointError, match="centre_log_density"):
        read_any_checkpoint(path)


def test_only_deepgaze_has_a_bias_and_its_size_is_bounded() -> None:
    with pytest.raises(ConfigError, match="is for deepgaze-1 and deepgaze-2; salgan has no centre bias"):
        NetworkConfig("salgan", centre_bias=(4, 4))
    for wrong in ((0, 4), (4,), (4, 4097), (4.0, 4), (True, 4)):
        with pytest.raises(ConfigError, match="must be rows and columns from 1 to 4096"):
            NetworkConfig("deepgaze-1", centre_bias=wrong)  # type: ignore[arg-type]


# Use.


def model_of(network: BiasedNetwork) -> SaliencyModel:
    name = network.config.network
    return SaliencyModel(network, preprocess=input_of(name), card=ModelCard(name=name))


def test_an_ensemble_of_networks_with_biases_is_the_mean_of_them() -> None:
    models = [model_of(biased("deepgaze-1", made_bias(20, 30, seed))) for seed in (0, 1)]
    ensemble = Ensemble([Member(one, 1.0) for one in models], card=ModelCard(name="two"))
    frames = np.random.default_rng(0).integers(0, 256, (1, 96, 128, 3), dtype=np.uint8)
    clip = FrameBatch(index=np.arange(1), pts_seconds=np.zeros(1), frames=frames, height=96, width=128)
    options = PredictOptions(smooth=SmoothOptions(smoothing="none"), viewers=ViewerOptions("off"))
    together, *alone = (next(iter(predict([clip], one, options))).density for one in (ensemble, *models))
    mean = torch.stack([one.log() for one in alone]).mean(0)
    torch.testing.assert_close(together, mean.flatten().softmax(0).view_as(mean), rtol=1e-4, atol=1e-9)
    assert (alone[0] - alone[1]).abs().max() > 0.1 * alone[0].max()


@pytest.mark.timeout(900)
@pytest.mark.skipif(
    any(importlib.util.find_spec(one) is None for one in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript and onnxruntime are not all installed: pip install 'vidsal[export]'",
)
@both
def test_a_network_with_a_bias_becomes_an_onnx_file(name: NetworkName, tmp_path: Path) -> None:
    network = biased(name, made_bias(37, 53))
    preprocess = dataclasses.replace(input_of(name), height=44, width=60)
    report = export_network(network, tmp_path / "a.onnx", preprocess=preprocess, card=ModelCard(name=name))
    assert report.difference is not None and report.difference <= LARGEST_DIFFERENCE
    pixels = torch.randn(2, 3, 44, 60, generator=torch.Generator().manual_seed(1))
    session = importlib.import_module("onnxruntime").InferenceSession(
        str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"]
    )
    (got,) = session.run(["log_density"], {"pixels": pixels.numpy()})
    with torch.inference_mode():
        wanted = network.log_density(pixels).exp().numpy()
    np.testing.assert_allclose(np.exp(got), wanted, atol=1e-4 * wanted.max())
    held = json.loads(session.get_modelmeta().custom_metadata_map["vidsal"])
    assert held["config"]["centre_bias"] == [37, 53]
