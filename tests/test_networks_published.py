"""Published weight files of other systems, written here in their layouts: npz, caffemodel, pth, Keras's HDF5, text."""

from __future__ import annotations

import pickle
import struct
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from keras_files import write_layer
from scipy.ndimage import zoom
from scipy.signal import convolve2d
from test_networks import THIN as THINNER
from test_networks import dva_stages, edn_stages, pixels, pooled, thin

from vidsal.cli import main
from vidsal.errors import CheckpointError
from vidsal.model.checkpoint import read_any_checkpoint
from vidsal.model.networks.catalogue import build_network
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.formats.caffemodel import read_caffemodel
from vidsal.model.networks.published import import_network
from vidsal.model.networks.salnet import SalNet
from vidsal.preprocess import Preprocessor

THIN = 1 / 32
LAYERS = {"conv1": 7, "conv2": 5, "conv3": 3, "conv4": 5, "conv5": 5, "conv6": 7, "conv7": 11, "conv8": 11, "conv9": 13}


# SalGAN.


def salgan_arrays(seed: int = 0) -> list[np.ndarray]:
    """W and b of 27 layers, as Lasagne keeps them: the decoder's kernels are for a true convolution."""
    random = np.random.default_rng(seed)
    shapes = [tuple(value.shape) for value in build_network(NetworkConfig("salgan", THIN)).state_dict().values()]
    return [(0.3 * random.standard_normal(shape)).astype(np.float32) for shape in shapes]


def lasagne(arrays: list[np.ndarray], picture: np.ndarray) -> np.ndarray:
    """The generator's logits from the arrays, by SciPy: correlated in the encoder, truly convolved in the decoder."""
    from scipy.signal import convolve2d, correlate2d

    x, layers = picture.astype(np.float64), list(zip(arrays[::2], arrays[1::2], strict=True))
    down, up = {2, 4, 7, 10}, {16, 19, 22, 24}
    for number, (weight, bias) in enumerate(layers):
        if number in down:
            x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).max(axis=(2, 4))
        if number in up:
            x = x.repeat(2, axis=1).repeat(2, axis=2)
        apply = correlate2d if number < 13 else convolve2d
        x = np.stack([sum(apply(a, k, "same") for a, k in zip(x, row, strict=True)) for row in weight])
        x += bias[:, None, None]
        x = x if number == 26 else np.maximum(x, 0)
    return x[0]


def test_salgans_arrays_become_the_network_that_lasagne_runs(tmp_path: Path) -> None:
    arrays = salgan_arrays()
    np.savez(tmp_path / "gen.npz", *arrays)
    path = import_network(tmp_path / "gen.npz", name="salgan", output=tmp_path / "out.safetensors", width=THIN)
    network, preprocess, card = read_any_checkpoint(path)
    assert preprocess.fit == "stretch" and "gen.npz, sha256 " in card.initialisation and "MIT" in card.licence
    picture = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        own = network.stages(picture)["logits"][0, 0].numpy()  # type: ignore[operator]
    expected = lasagne(arrays, picture[0].numpy())
    assert np.abs(own - expected).max() < 1e-4 * np.abs(expected).max() and expected.std() > 1e-3
    # A decoder that is not turned is another network.
    for number in range(26, 54, 2):
        arrays[number] = arrays[number][:, :, ::-1, ::-1]
    assert np.abs(own - lasagne(arrays, picture[0].numpy())).max() > 1e-2 * np.abs(expected).max()


def test_an_npz_that_is_not_the_generators_is_refused_by_what_is_wrong(tmp_path: Path) -> None:
    def refused(says: str, *arrays: np.ndarray) -> None:
        np.savez(tmp_path / "bad.npz", *arrays)
        with pytest.raises(CheckpointError, match=says):
            import_network(tmp_path / "bad.npz", name="salgan", output=tmp_path / "out.safetensors", width=THIN)
        assert not (tmp_path / "out.safetensors").exists()

    arrays = salgan_arrays()
    refused(r"arr_0 to arr_53; arr_53\.npy", *arrays[:-1])
    refused(r"arr_54\.npy", *arrays, arrays[0])
    refused(
        r"arr_2\.npy is \(1, 1\) float32, expected \(2, 2, 3, 3\)", *arrays[:2], arrays[0][0, :1, :1, 0], *arrays[3:]
    )
    refused("float64", arrays[0].astype(np.float64), *arrays[1:])
    spoilt = [array.copy() for array in arrays]
    spoilt[4].flat[0] = np.nan
    refused("not finite", *spoilt)
    # A pickle inside is not opened.
    refused("object", np.array([print], dtype=object), *arrays[1:])
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(CheckpointError, match=r"not an \.npz"):
        import_network(tmp_path / "bad.npz", name="salgan", output=tmp_path / "out.safetensors", width=THIN)
    with pytest.raises(CheckpointError, match="no such file"):
        import_network(tmp_path / "none.npz", name="salgan", output=tmp_path / "out.safetensors", width=THIN)


# SalNet.


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(values: np.ndarray, *, old: bool) -> bytes:
    data = field(5, values.astype("<f4").tobytes())
    if old:
        sides = (1,) * (4 - values.ndim) + values.shape
        return b"".join(varint(place << 3) + varint(side) for place, side in enumerate(sides, start=1)) + data
    return field(7, field(1, b"".join(map(varint, values.shape)))) + data


def caffemodel(network: SalNet, *, old: bool = False) -> bytes:
    """What Caffe writes of a net: its name, then layers with names, types and blobs."""
    content = field(1, b"deep_net")
    for name in (*LAYERS, "deconv1"):
        layer = network.get_submodule(name)
        blobs = [value.detach().numpy() for value in layer.parameters()]
        names = (field(4, name.encode()) if old else field(1, name.encode())) + (
            b"" if old else field(2, b"Convolution")
        )
        layer_content = names + b"".join(field(6 if old else 7, blob(one, old=old)) for one in blobs)
        content += field(2 if old else 100, layer_content)
    return content


def thin_salnet() -> SalNet:
    torch.manual_seed(0)
    network = SalNet(NetworkConfig("salnet", THIN)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    return network


def caffe(blobs: dict[str, list[np.ndarray]], x: np.ndarray) -> np.ndarray:
    """The deep network's map from the blobs of its file, by SciPy and loops, as Caffe's layers are described."""
    from scipy.signal import correlate2d

    def pooled(x: np.ndarray) -> np.ndarray:
        rows, columns = (-(-(side - 3) // 2) + 1 for side in x.shape[1:])
        cells = [[x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2)) for j in range(columns)] for i in range(rows)]
        return np.array(cells).transpose(2, 0, 1)

    for name in LAYERS:
        weight, bias = blobs[name]
        x = np.stack([sum(correlate2d(a, k, "same") for a, k in zip(x, row, strict=True)) for row in weight])
        x += bias[:, None, None]
        if name == "conv9":
            break
        x = np.maximum(x, 0)
        if name == "conv1":
            squares = np.stack([(x[max(c - 2, 0) : c + 3] ** 2).sum(0) for c in range(len(x))])
            x = x / (1 + 1e-4 / 5 * squares) ** 0.75
        if name in ("conv1", "conv2"):
            x = pooled(x)
    rows, columns = x.shape[1:]
    spread = np.zeros((4 * rows + 4, 4 * columns + 4))
    for i in range(rows):
        for j in range(columns):
            spread[4 * i : 4 * i + 8, 4 * j : 4 * j + 8] += x[0, i, j] * blobs["deconv1"][0][0, 0]
    return spread[2:-2, 2:-2]


@pytest.mark.parametrize("old", [False, True], ids=["layer", "layers"])
def test_salnets_blobs_become_the_network_that_was_written(old: bool, tmp_path: Path) -> None:
    network = thin_salnet()
    (tmp_path / "deep.caffemodel").write_bytes(caffemodel(network, old=old))
    path = import_network(tmp_path / "deep.caffemodel", name="salnet", output=tmp_path / "o.safetensors", width=THIN)
    read, preprocess, _ = read_any_checkpoint(path)
    assert preprocess.fit == "inside"
    for name, value in network.state_dict().items():
        torch.testing.assert_close(read.state_dict()[name], value, rtol=0, atol=0)


def test_the_network_gives_what_caffes_layers_make_of_the_same_file(tmp_path: Path) -> None:
    network = thin_salnet()
    (tmp_path / "deep.caffemodel").write_bytes(caffemodel(network))
    picture = torch.randn(1, 3, 41, 56, generator=torch.Generator().manual_seed(0))
    expected = caffe(read_caffemodel(tmp_path / "deep.caffemodel"), picture[0].double().numpy())
    with torch.inference_mode():
        own = network.stages(picture)["map"][0, 0].numpy()
    # Pools round up: of 41 rows 20 and then 10 are left, which the last layer makes 40.
    assert own.shape == expected.shape == (40, 56)
    assert np.abs(own - expected).max() < 1e-4 * np.abs(expected).max() and expected.std() > 1e-4 * abs(expected.mean())
    # Turned kernels are another network.
    turned = {
        name: [blobs[0][:, :, ::-1, ::-1], *blobs[1:]]
        for name, blobs in read_caffemodel(tmp_path / "deep.caffemodel").items()
    }
    assert np.abs(own - caffe(turned, picture[0].double().numpy())).max() > 1e-3 * np.abs(expected).max()


def test_a_damaged_caffemodel_is_refused_by_what_is_wrong(tmp_path: Path) -> None:
    path, whole = tmp_path / "deep.caffemodel", caffemodel(thin_salnet())

    def refused(content: bytes, says: str) -> None:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=says):
            import_network(path, name="salnet", output=tmp_path / "out.safetensors", width=THIN)

    for length in (1, 5, len(whole) // 2, len(whole) - 1):
        refused(whole[:length], "not a .caffemodel|has no")
    refused(b"", "without weights")
    refused(b"\x80\x02}q\x00.", "not a .caffemodel")
    refused(whole.replace(b"conv5", b"conf5"), "layer conv5 has no weight; it has layers conv1")
    other = SalNet(NetworkConfig("salnet", THIN * 2))
    refused(caffemodel(other), r"conv1\.weight is \(6, 3, 7, 7\), expected \(3, 3, 7, 7\)")
    lying = field(100, field(1, b"conv1") + field(7, field(7, field(1, varint(9))) + field(5, struct.pack("<f", 1))))
    refused(lying, r"a blob of \[9\] holds 1 numbers")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_caffemodel(tmp_path / "none.caffemodel")


# DVA.

# Names of the authors' file, in its order, with those of our modules.
DVA_LAYERS = {
    f"conv{block}_{place}": f"backbone.blocks.{block - 1}.{place - 1}"
    for block, count in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))
    for place in range(1, count + 1)
} | {
    "deconv5_1": "ups.0.0",
    "deconv5_2": "ups.0.1",
    "deconv5_3": "ups.0.2",
    "deconv5_4": "ups.0.3",
    "attention1_pred": "outs.0",
    "deconv4_1": "ups.1.0",
    "deconv4_2": "ups.1.1",
    "deconv4_3": "ups.1.2",
    "attention2_pred": "outs.1",
    "deconv3_1": "ups.2.0",
    "deconv3_2": "ups.2.1",
    "attention3_pred": "outs.2",
    "final_attention_pred": "fusion",
}


def dva_file(path: Path, network: torch.nn.Module, **changed: np.ndarray | None) -> Path:
    """Caffe's blobs; a transposed convolution has those of (in, out, rows, columns), as PyTorch's."""
    content = field(1, b"VGG_ILSVRC_16")
    for name, module in DVA_LAYERS.items():
        layer = network.get_submodule(module)
        blobs = [changed.get(f"{name}_{part}", getattr(layer, part).detach().numpy()) for part in ("weight", "bias")]
        blobs_content = b"".join(field(7, blob(one, old=False)) for one in blobs if one is not None)
        content += field(100, field(1, name.encode()) + field(2, b"Convolution") + blobs_content)
    path.write_bytes(content)
    return path


def test_dvas_blobs_become_the_network_that_caffe_runs(tmp_path: Path) -> None:
    network = thin("dva")
    file = dva_file(tmp_path / "attention_final", network)
    path = import_network(file, name="dva", output=tmp_path / "out.safetensors", width=THINNER)
    read, preprocess, card = read_any_checkpoint(path)
    assert preprocess.mean == (128, 128, 128) and "ask its authors" in card.licence
    with torch.inference_mode():
        own = read.stages(pixels())["logits"][0].numpy()  # type: ignore[operator]
    expected = dva_stages(pixels()[0].double().numpy(), network)["logits"]
    assert np.abs(own - expected).max() < 1e-4 * np.abs(expected).max() and expected.std() > 1e-4
    # Kernels that are turned, and branches in the other order, are another network.
    weight = network.get_submodule("fusion").weight.detach().numpy()  # type: ignore[union-attr, operator]
    for other in (weight[:, :, ::-1, ::-1], weight[:, ::-1]):
        wrong = dva_file(tmp_path / "wrong", network, final_attention_pred_weight=other)
        import_network(wrong, name="dva", output=path, width=THINNER, overwrite=True)
        with torch.inference_mode():
            own = read_any_checkpoint(path)[0].stages(pixels())["logits"][0].numpy()  # type: ignore[operator]
        assert np.abs(own - expected).max() > 1e-3 * np.abs(expected).max()


def test_a_file_that_is_not_dvas_is_refused_by_what_is_wrong(tmp_path: Path) -> None:
    network = thin("dva")
    whole = dva_file(tmp_path / "whole", network).read_bytes()
    spoilt = np.array([np.nan], np.float32)
    wrong: dict[str, tuple[bytes, str]] = {
        "missing": (
            dva_file(tmp_path / "a", network, deconv4_2_bias=None).read_bytes(),
            "layer deconv4_2 has no bias",
        ),
        "shape": (
            dva_file(tmp_path / "a", network, attention2_pred_weight=np.zeros((1, 1, 4, 4))).read_bytes(),
            r"outs\.1\.weight is \(1, 1, 4, 4\), expected \(1, 1, 3, 3\)",
        ),
        "nan": (
            dva_file(tmp_path / "a", network, attention3_pred_bias=spoilt).read_bytes(),
            r"outs\.2\.bias .*not finite",
        ),
        "truncated": (whole[: len(whole) // 2], "ends early|has no"),
        "pickle": (b"\x80\x02}q\x00.", "not a .caffemodel"),
        "other": (caffemodel(thin_salnet()), "layer conv1_1 has no weight; it has layers conv1, conv2"),
    }
    for name, (content, says) in wrong.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=says):
            import_network(tmp_path / name, name="dva", output=tmp_path / "out.safetensors", width=THINNER)
    assert not (tmp_path / "out.safetensors").exists()


# DeepGaze I.

# Places of AlexNet's convolutions: channels in and out, kernel, padding.
ALEXNET = {0: (3, 64, 11, 2), 3: (64, 192, 5, 2), 6: (192, 384, 3, 1), 8: (384, 256, 3, 1), 10: (256, 256, 3, 1)}


def deepgaze1_tensors() -> dict[str, torch.Tensor]:
    """The state dict of the authors' model, of few channels, with a classifier that nobody asks."""
    generator = torch.Generator().manual_seed(0)
    found: dict[str, torch.Tensor] = {}
    for place, (inputs, outputs, kernel, _) in ALEXNET.items():
        inputs, outputs = (count if count == 3 else round(count * THIN) for count in (inputs, outputs))
        weight = torch.randn(outputs, inputs, kernel, kernel, generator=generator) * (2 / (inputs * kernel**2)) ** 0.5
        found[f"features.features.1.features.{place}.weight"] = weight
        found[f"features.features.1.features.{place}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
    for place in (1, 4, 6):
        found[f"features.features.1.classifier.{place}.weight"] = torch.randn(4, 4, generator=generator)
        found[f"features.features.1.classifier.{place}.bias"] = torch.randn(4, generator=generator)
    found["readout_network.conv0.weight"] = torch.randn(1, 8, 1, 1, generator=generator)
    found["finalizer.center_bias_weight"] = torch.tensor([0.7])
    found["finalizer.gauss.sigma"] = torch.tensor(3.3)
    return found


def deepgaze1_density(
    tensors: dict[str, torch.Tensor], picture: np.ndarray, bias: np.ndarray | None = None
) -> np.ndarray:
    """The authors' log density of (H, W, 3) from 0 to 255, by SciPy; with Clarke and Tatler's centre bias where none is
    given."""
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import correlate2d

    arrays = {name: value.double().numpy() for name, value in tensors.items()}
    height, width = picture.shape[:2]
    x = (picture[::2, ::2] / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    x = x.transpose(2, 0, 1)
    for place, (_, _, _, padding) in ALEXNET.items():
        if place in (3, 6):
            x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max((3, 4))
        kernels, biases = (arrays[f"features.features.1.features.{place}.{part}"] for part in ("weight", "bias"))
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
        x = np.stack([sum(correlate2d(a, k, "valid") for a, k in zip(x, row, strict=True)) for row in kernels])
        x = (x[:, ::4, ::4] if place == 0 else x) + biases[:, None, None]
        if place != 10:
            x = np.maximum(x, 0)

    def nearest(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
        return x[np.arange(rows) * x.shape[0] // rows][:, np.arange(columns) * x.shape[1] // columns]

    features = np.stack([nearest(one, -(-height // 8), -(-width // 8)) for one in x])
    readout = np.tensordot(arrays["readout_network.conv0.weight"][0, :, 0, 0], features, 1)
    out, sigma = nearest(readout, height // 4, width // 4), float(arrays["finalizer.gauss.sigma"])
    for axis in (0, 1):
        out = gaussian_filter1d(out, sigma, axis=axis, mode="nearest", radius=int(np.ceil(3 * sigma)))
    across = (2 * np.arange(width) + 1) / width - 1
    down = ((2 * np.arange(height) + 1) / height - 1) * height / width
    centre = -(down[:, None] ** 2) / (2 * 0.22 * 0.45) - across**2 / (2 * 0.22)
    if bias is not None:
        centre = zoom(bias, (height / bias.shape[0], width / bias.shape[1]), order=0, mode="nearest")
    out = nearest(out + arrays["finalizer.center_bias_weight"][0] * centre[::4, ::4], height, width)
    return np.asarray(out - np.log(np.exp(out).sum()))


def test_deepgazes_tensors_become_the_network_that_its_authors_run(tmp_path: Path) -> None:
    tensors = deepgaze1_tensors()
    torch.save(tensors, tmp_path / "deepgaze1.pth")
    made = import_network(tmp_path / "deepgaze1.pth", name="deepgaze-1", output=tmp_path / "o.safetensors", width=THIN)
    network, options, card = read_any_checkpoint(made)
    assert "deepgaze1.pth, sha256 " in card.initialisation and "ask its authors" in card.licence
    assert any("centre bias of MIT1003" in one for one in card.limits)
    picture = np.random.default_rng(0).integers(0, 256, (136, 192, 3), dtype=np.uint8)
    with torch.inference_mode():
        own = network(Preprocessor(options)(picture[None])[None])[0][0, 0].numpy()
    expected = deepgaze1_density(tensors, picture)
    assert np.abs(own - expected).max() < 1e-4 * np.ptp(expected)
    # The picture matters, not the centre alone; and so do blue and red, and which way kernels lie.
    assert np.abs(own - deepgaze1_density(tensors, picture[:, :, ::-1])).max() > 1e-2 * np.ptp(expected)
    key = "features.features.1.features.3.weight"
    turned = {**tensors, key: tensors[key].flip(2, 3)}
    assert np.abs(own - deepgaze1_density(turned, picture)).max() > 1e-2 * np.ptp(expected)


class Touches:
    """Makes a file when it is unpickled by whoever runs code from pickles."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_file_that_is_not_deepgazes_is_refused_by_what_is_wrong(tmp_path: Path) -> None:
    path, tensors = tmp_path / "deepgaze1.pth", deepgaze1_tensors()

    def refused(says: str, content: object) -> None:
        torch.save(content, path)
        refused_file(says)

    def refused_file(says: str) -> None:
        with pytest.raises(CheckpointError, match=says) as caught:
            import_network(path, name="deepgaze-1", output=tmp_path / "out.safetensors", width=THIN)
        assert "\n" not in str(caught.value) and not (tmp_path / "out.safetensors").exists()

    sigma, readout = "finalizer.gauss.sigma", "readout_network.conv0.weight"
    refused(f"has no {sigma}", {key: value for key, value in tensors.items() if key != sigma})
    refused(rf"{readout} is \(8, 1, 1\) float32, expected \(1, 8, 1, 1\)", {**tensors, readout: torch.zeros(8, 1, 1)})
    refused(rf"{readout} is \(1, 8, 1, 1\) int64", {**tensors, readout: torch.zeros(1, 8, 1, 1, dtype=torch.int64)})
    # As large as it says it is not: one number, shown many times.
    refused("is .* float32, expected", {**tensors, readout: torch.zeros(1).expand(1, 1 << 40)})
    refused("sigma .*not finite", {**tensors, sigma: torch.tensor(float("nan"))})
    refused("fixations is left over", {**tensors, "fixations": torch.zeros(1)})
    refused("has no .*; it has conv1_1", {"conv1_1": torch.zeros(1)})
    refused("it has nothing", {})
    refused("holds a list, expected a state dict", [tensors])
    refused("'state_dict' is no array of numbers", {"state_dict": tensors})
    refused("is no array of numbers", {**tensors, sigma: torch.zeros(2, 2).to_sparse()})
    refused("with code in it, which is never run", {**tensors, "more": Touches(tmp_path / "touched")})
    assert not (tmp_path / "touched").exists()
    torch.save(tensors, path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-1], b"", b"junk", b"PK\x03\x04", b"\x80\x02}q\x00."):
        path.write_bytes(content)
        refused_file("not a state dict that can be read|has no")
    # A pickle of another hand, of which torch warns.
    path.write_bytes(pickle.dumps({"a": [1, 2]}, protocol=0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused_file("not a state dict that can be read|is no array of numbers")
    path.unlink()
    refused_file("no such file")
    path.mkdir()
    refused_file("a folder, expected a file")


# The SALICON network.


def opensalicon_blobs() -> dict[str, list[np.ndarray]]:
    """Layers as in OpenSALICON's salicon.prototxt, of few channels."""
    random = np.random.default_rng(1)
    found: dict[str, list[np.ndarray]] = {}
    for prefix in ("", "sec_"):
        inputs = 3
        for block, (outputs, count) in enumerate(((2, 2), (4, 2), (8, 3), (16, 3), (16, 3)), start=1):
            for place in range(1, count + 1):
                weight = random.standard_normal((outputs, inputs, 3, 3)) * (2 / (9 * inputs)) ** 0.5
                found[f"{prefix}conv{block}_{place}"] = [weight, 0.1 * random.standard_normal(outputs)]
                inputs = outputs
    found["saliency_map"] = [random.standard_normal((1, 32, 1, 1)), random.standard_normal(1)]
    return found


def opensalicon_file(path: Path, blobs: dict[str, list[np.ndarray]]) -> Path:
    content = field(1, b"Salicon")
    for name, arrays in blobs.items():
        layer = field(1, name.encode()) + field(2, b"Convolution")
        content += field(100, layer + b"".join(field(7, blob(one, old=False)) for one in arrays))
    path.write_bytes(content)
    return path


def opensalicon_logits(blobs: dict[str, list[np.ndarray]], fine: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """What goes into the sigmoid, by SciPy, as the prototxt and the layer in Python beside it say."""
    from scipy.ndimage import zoom
    from scipy.signal import correlate2d

    ends = []
    for prefix, x in (("sec_", coarse), ("", fine)):
        for block, count in enumerate((2, 2, 3, 3, 3), start=1):
            for place in range(1, count + 1):
                weight, bias = blobs[f"{prefix}conv{block}_{place}"]
                sums = [sum(correlate2d(a, k, "same") for a, k in zip(x, row, strict=True)) for row in weight]
                x = np.maximum(np.stack(sums) + bias[:, None, None], 0)
            x = pooled(x, "ceil")
        ends.append(x)
    ratios = [target / own for target, own in zip(ends[1].shape, ends[0].shape, strict=True)]
    joined = np.concatenate([zoom(ends[0], ratios, order=1, mode="nearest"), ends[1]])
    weight, bias = blobs["saliency_map"]
    return np.asarray(np.tensordot(weight[0, :, 0, 0], joined, 1) + bias)


def test_opensalicons_blobs_become_the_network_that_caffe_runs(tmp_path: Path) -> None:
    blobs = opensalicon_blobs()
    file = opensalicon_file(tmp_path / "salicon_osie.caffemodel", blobs)
    path = import_network(file, name="salicon-net", output=tmp_path / "out.safetensors", width=THIN)
    network, options, card = read_any_checkpoint(path)
    assert (options.height, options.width) == (1200, 1600) and "ask its authors" in card.licence
    fine = np.random.default_rng(2).standard_normal((3, 80, 144))
    coarse = fine.reshape(3, 40, 2, 72, 2).mean((2, 4))
    with torch.inference_mode():
        own = network.stages(torch.tensor(fine[None], dtype=torch.float32))["logits"][0, 0].numpy()  # type: ignore[operator]
    expected = opensalicon_logits(blobs, fine, coarse)
    assert own.shape == expected.shape == (3, 5)
    assert np.abs(own - expected).max() < 1e-4 * np.ptp(expected)
    # The streams in each other's place, or a picture of the other order of channels, are another network.
    other = {
        name.removeprefix("sec_") if name.startswith("sec_") else f"sec_{name}": one for name, one in blobs.items()
    }
    other["saliency_map"] = other.pop("sec_saliency_map")
    for wrong in (opensalicon_logits(other, fine, coarse), opensalicon_logits(blobs, fine[::-1], coarse[::-1])):
        assert np.abs(own - wrong).max() > 1e-2 * np.ptp(expected)


def test_a_file_that_is_not_opensalicons_is_refused_by_what_is_wrong(tmp_path: Path) -> None:
    blobs = opensalicon_blobs()
    whole = opensalicon_file(tmp_path / "whole", blobs).read_bytes()

    def changed(name: str, *arrays: np.ndarray) -> bytes:
        return opensalicon_file(tmp_path / "a", {**blobs, name: list(arrays)}).read_bytes()

    weight, bias = blobs["sec_conv3_2"]
    spoilt = bias.copy()
    spoilt[1] = np.nan
    for content, says in (
        (changed("sec_conv3_2"), "layer sec_conv3_2 has no weight"),
        (changed("sec_conv3_2", weight), "layer sec_conv3_2 has no bias"),
        (changed("sec_conv3_2", weight[:, :4], bias), r"\(8, 4, 3, 3\), expected \(8, 8, 3, 3\)"),
        (changed("sec_conv3_2", weight, spoilt), r"coarse\.blocks\.2\.1\.bias .*not finite"),
        (whole[: len(whole) // 2], "ends early|has no"),
        (whole.replace(b"sec_", b"cs1_"), "layer sec_conv1_1 has no weight; it has layers conv1_1"),
        (caffemodel(thin_salnet()), "has no weight; it has layers conv1, conv2"),
        (b"\x80\x02}q\x00.", "not a .caffemodel"),
    ):
        (tmp_path / "wrong").write_bytes(content)
        with pytest.raises(CheckpointError, match=says):
            import_network(tmp_path / "wrong", name="salicon-net", output=tmp_path / "out.safetensors", width=THIN)
    assert not (tmp_path / "out.safetensors").exists()


# ML-Net.


def ml_net_arrays() -> list[np.ndarray]:
    """W and b of 15 convolutions, as Theano keeps them, and the prior."""
    state = dict(thin("ml-net").state_dict())
    prior = state.pop("prior")
    return [value.numpy()[..., ::-1, ::-1] if value.ndim == 4 else value.numpy() for value in (*state.values(), prior)]


def ml_net_file(path: Path, arrays: list[np.ndarray], *, first: int = 1, **further: list[np.ndarray]) -> Path:
    """As Keras 1.1 saved it, layers without weights among the others."""
    layers: dict[str, list[np.ndarray]] = {"input_1": []}
    for number in range(15):
        layers[f"convolution2d_{first + number}"] = arrays[2 * number : 2 * number + 2]
        if number in (1, 3, 6, 9):
            layers[f"maxpooling2d_{first + number}"] = []
    layers |= {"dropout_1": [], "eltwiseproduct_1": arrays[30:], "activation_1": [], **further}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([name.encode() for name in layers])
        for name, held in layers.items():
            write_layer(file, name, held)
    return path


def theano_ml_net(arrays: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """ML-Net's map from its file's arrays by SciPy: true convolutions, Theano's pools, the prior as a factor."""
    rules = {1: "theano2", 3: "theano2", 6: "theano2", 9: "theano1"}
    kept = []
    for number in range(15):
        weight, bias = arrays[2 * number : 2 * number + 2]
        if number == 13:
            x = np.concatenate([*kept, x])
        x = np.stack([sum(convolve2d(a, k, "same") for a, k in zip(x, row, strict=True)) for row in weight])
        x = np.maximum(x + bias[:, None, None], 0)
        if number in rules:
            x = pooled(x, rules[number])
            kept += [x] if number in (6, 9) else []
    at = [(np.arange(size) - 4) / 10 for size in x.shape[1:]]
    down = np.stack([np.interp(at[0], np.arange(6), column) for column in arrays[30].T], 1)
    return np.maximum(x[0] * (1 + np.stack([np.interp(at[1], np.arange(8), row) for row in down])), 0)


def test_ml_nets_arrays_become_the_network_that_theano_runs(tmp_path: Path) -> None:
    arrays = ml_net_arrays()
    # Counters run on where a session had made other layers before.
    file = ml_net_file(tmp_path / "mlnet_salicon_weights.pkl", arrays, first=8)
    path = import_network(file, name="ml-net", output=tmp_path / "out.safetensors", width=THINNER)
    read, preprocess, card = read_any_checkpoint(path)
    assert (preprocess.height, preprocess.width) == (
        480,
        640,
    ) and "mlnet_salicon_weights.pkl, sha256" in card.initialisation
    with torch.inference_mode():
        own = read.stages(pixels())["relevance"][0].numpy()  # type: ignore[operator]
    expected = theano_ml_net(arrays, pixels()[0].double().numpy())
    assert np.abs(own - expected).max() < 1e-4 * expected.max() and expected.std() > 1e-3 * expected.mean()
    # Kernels that are not turned are another network.
    plain = [array[:, :, ::-1, ::-1] if array.ndim == 4 else array for array in arrays]
    assert np.abs(own - theano_ml_net(plain, pixels()[0].double().numpy())).max() > 1e-2 * expected.max()


def test_a_file_that_is_not_ml_nets_is_refused_by_what_is_wrong(tmp_path: Path) -> None:
    arrays = ml_net_arrays()

    def refused(file: Path, says: str) -> None:
        with pytest.raises(CheckpointError, match=says):
            import_network(file, name="ml-net", output=tmp_path / "out.safetensors", width=THINNER)
        assert not (tmp_path / "out.safetensors").exists()

    file = tmp_path / "weights.pkl"
    refused(ml_net_file(file, arrays[:30]), "0 named eltwiseproduct, expected 1")
    refused(ml_net_file(file, arrays, convolution2d_99=arrays[:2]), "16 named convolution2d, expected 15")
    refused(ml_net_file(file, arrays, dense_1=arrays[:2]), "dense_1 is left over")
    refused(ml_net_file(file, [*arrays[:30], arrays[30].T]), r"eltwiseproduct_1 holds arrays of \[\(8, 6\)\], expected")
    without = [array for place, array in enumerate(arrays) if place != 5]
    refused(ml_net_file(file, without), "convolution2d_3 holds arrays of")
    other = [array.transpose(2, 3, 1, 0) if array.ndim == 4 else array for array in arrays]
    refused(ml_net_file(file, other), r"convolution2d_1 holds arrays of \[\(3, 3, 3, 1\)")
    spoilt = [array.copy() for array in arrays]
    spoilt[6].flat[0] = np.inf
    refused(ml_net_file(file, spoilt), "not finite")
    whole = ml_net_file(file, arrays).read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    refused(file, "truncated|not a readable file")
    file.write_bytes(b"\x80\x02}q\x00.")
    refused(file, "a pickle, which vidsal never opens")
    refused(dva_file(tmp_path / "dva", thin("dva")), "not an HDF5 file")


# eDN.


def edn_files(folder: Path, count: int, *, suffix: str = "-cntr") -> tuple[Path, np.ndarray, np.ndarray]:
    """Both text files as published, of random numbers: the weights' file, the weights, means and deviations."""
    random = np.random.default_rng(0)
    weights = random.normal(0, 0.01, count).round(18)
    whitening = np.stack([random.normal(0, 0.02, count), random.uniform(0.001, 0.05, count)], 1).round(14)
    head = f"solver_type L2R_L2LOSS_SVC_DUAL\nnr_class 2\nlabel 1 0\nnr_feature {count}\nbias -1\nw\n"
    file = folder / f"svm-slm{suffix}"
    file.write_text(head + "".join(f"{weight:.18f}\n" for weight in weights))
    (folder / f"whiten-slm{suffix}").write_text("".join(f"{mean:.14f} {std:.14f}\n" for mean, std in whitening))
    return file, weights, whitening


@pytest.mark.parametrize("centre", [True, False])
def test_edns_text_files_become_the_readout_that_liblinear_computes(centre: bool, tmp_path: Path) -> None:
    network = thin("edn")
    count = network.get_parameter("readout.weight").numel() - (not centre)
    file, weights, whitening = edn_files(tmp_path, count, suffix="-cntr" if centre else "")
    path = import_network(file, name="edn", output=tmp_path / "out.safetensors", width=THINNER)
    read, preprocess, card = read_any_checkpoint(path)
    assert preprocess.fit == "inside" and f"{file.name}, sha256 " in card.initialisation
    assert f"and whiten{file.name[3:]}, sha256 " in card.initialisation
    picture = pixels()[0].double().numpy()
    seen = edn_stages(picture, network)["features"][0 if centre else 1 :]
    expected = np.tensordot(weights, (seen - whitening[:, 0, None, None]) / whitening[:, 1, None, None], 1)
    with torch.inference_mode():
        own = read.stages(pixels())["decision"][0].numpy()  # type: ignore[operator]
    assert np.abs(own - expected).max() < 1e-4 * np.abs(expected).max() and expected.std() > 1e-3
    # Features in another order are another model.
    turned = np.tensordot(weights[::-1], (seen - whitening[:, 0, None, None]) / whitening[:, 1, None, None], 1)
    assert np.abs(own - turned).max() > 1e-2 * np.abs(expected).max()


def test_text_files_that_are_not_edns_are_refused_by_what_is_wrong(tmp_path: Path) -> None:
    count = thin("edn").get_parameter("readout.weight").numel()
    file, _, _ = edn_files(tmp_path, count)
    beside = tmp_path / "whiten-slm-cntr"
    good = {one: one.read_text() for one in (file, beside)}

    def refused(one: Path, content: str | bytes, says: str) -> None:
        one.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(CheckpointError, match=says):
            import_network(file, name="edn", output=tmp_path / "out.safetensors", width=THINNER)
        assert not (tmp_path / "out.safetensors").exists()
        one.write_text(good[one])

    lines = good[file].splitlines(keepends=True)
    refused(file, "".join(lines[:-1]), rf"{count - 1} weights of nr_feature {count}; the file is damaged")
    refused(file, "".join([*lines[:-1], "0.1 0.2\n"]), "weights of nr_feature")
    refused(file, good[file].replace("label 1 0", "label 0 1"), "label 0 1, expected label 1 0")
    refused(file, good[file].replace("bias -1", "bias 1"), "bias 1, expected bias -1")
    refused(file, "".join([*lines[:-1], "nan\n"]), "not finite")
    refused(file, "".join([*lines[:-1], "none\n"]), "is not of numbers")
    refused(file, good[beside], "not a model of liblinear")
    refused(file, "", "not a model of liblinear")
    refused(file, b"\x80\x02}q\x00.", "not a text file|not a model")
    more, _, _ = edn_files(tmp_path, count + 3, suffix="-more")
    refused(file, more.read_text(), f"{count + 3} features; expected {count}, or {count - 1}")
    refused(beside, good[file], "line 1 is not of numbers")
    refused(beside, "".join(good[beside].splitlines(keepends=True)[:-2]), f"whiten-slm-cntr: {count - 2} features")
    refused(beside, good[beside].replace(" 0.", " -0."), "deviations below 0")
    refused(beside, good[beside] + "1 2 3\n", f"line {count + 1} has 3 numbers, expected 2")
    beside.unlink()
    with pytest.raises(CheckpointError, match="whiten-slm-cntr: cannot be read"):
        import_network(file, name="edn", output=tmp_path / "out.safetensors", width=THINNER)
    other = file.rename(tmp_path / "weights.txt")
    with pytest.raises(CheckpointError, match="leave its name as published: svm-slm-cntr"):
        import_network(other, name="edn", output=tmp_path / "out.safetensors", width=THINNER)


def test_the_command_wants_to_know_where_to_and_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "deep.caffemodel").write_bytes(caffemodel(thin_salnet()))
    asked = ["weights", "import", str(tmp_path / "deep.caffemodel"), "--as", "salnet"]
    assert main(asked) == 2
    assert "--output" in capsys.readouterr().err
    # A thin file is not what was published.
    assert main([*asked, "--output", str(tmp_path / "out.safetensors")]) == 1
    assert "expected (96, 3, 7, 7)" in capsys.readouterr().err
