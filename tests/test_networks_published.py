"""Published weight files of other systems, written here in their layout: Lasagne's .npz and Caffe's .caffemodel."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from vidsal.cli import main
from vidsal.errors import CheckpointError
from vidsal.model.checkpoint import read_any_checkpoint
from vidsal.model.networks.catalogue import build_network
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.formats.caffemodel import read_caffemodel
from vidsal.model.networks.published import import_network
from vidsal.model.networks.salnet import SalNet

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


def test_the_command_wants_to_know_where_to_and_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "deep.caffemodel").write_bytes(caffemodel(thin_salnet()))
    asked = ["weights", "import", str(tmp_path / "deep.caffemodel"), "--as", "salnet"]
    assert main(asked) == 2
    assert "--output" in capsys.readouterr().err
    # A thin file is not what was published.
    assert main([*asked, "--output", str(tmp_path / "out.safetensors")]) == 1
    assert "expected (96, 3, 7, 7)" in capsys.readouterr().err
