"""Published weight files come in bit for bit, bad ones are refused in a sentence; the cache is whole and checked."""

from __future__ import annotations

import dataclasses
import http.server
import pickle
import re
import socket
import sys
import threading
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import h5py
import hostile_readers
import numpy as np
import numpy.typing as npt
import published_reference as reference
import pytest
import torch
from keras_files import Unwritten, unwritten_layers, write_layer, write_published
from processes import Child
from published_reference import Layers, NetworkName

import vidsal.model.release as release
from vidsal import open_video, predict
from vidsal.cli import main
from vidsal.errors import CheckpointError, EncodeError
from vidsal.model import keras_hdf5, store
from vidsal.model.checkpoint import PRESETS, find_weights, load_model, read_checkpoint
from vidsal.model.keras_hdf5 import PublishedWeights, read_published
from vidsal.model.sam import SaliencyAttentiveModel
from vidsal.pipe.options import RecurrenceOptions
from vidsal.smooth.options import SmoothOptions

NETWORKS: tuple[NetworkName, ...] = ("sam-resnet", "sam-vgg")


def status_of(*arguments: str | Path) -> int:
    """What the process would exit with."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("VIDSAL_CACHE", str(folder))
    return folder


# What a file holds arrives, at its place.


@dataclasses.dataclass
class Published:
    """A file and what went into it."""

    network: NetworkName
    layers: Layers
    path: Path
    read: PublishedWeights
    picture: npt.NDArray[np.uint8]
    stages: dict[str, reference.Array]
    """What the reference makes of the picture on a canvas as small."""


ROWS, COLUMNS = 64, 80
"""Of the small canvas; test_published.py compares the networks on the published one."""


@pytest.fixture(scope="module", params=NETWORKS)
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    network: NetworkName = request.param
    # From 9 on, the order of the names is not that of their numbers: "convolution2d_10" < "convolution2d_9".
    layers = reference.random_layers(network, seed=3, first_counter=9)
    small = np.random.default_rng(5).integers(0, 256, (12, 15, 3), np.uint8)
    picture = np.asarray(cv2.resize(small, (COLUMNS, ROWS), interpolation=cv2.INTER_CUBIC))
    stages = reference.run(network, layers, picture, rows=ROWS, columns=COLUMNS, balance=True)
    path = write_published(tmp_path_factory.mktemp("published") / f"{network}_salicon_weights.pkl", layers)
    return Published(network, layers, path, read_published(path), picture, stages)


def rotated(array: Any) -> Any:
    return array[:, :, ::-1, ::-1] if array.ndim == 4 else array


def prints_of(arrays: list[Any]) -> list[tuple[tuple[int, ...], int]]:
    return sorted((array.shape, zlib.crc32(np.ascontiguousarray(array))) for array in arrays)


def test_every_array_is_taken_once_and_nothing_else(published: Published) -> None:
    theirs = [rotated(array) for arrays in published.layers.values() for array in arrays]
    ours = []
    for name, value in published.read.state.items():
        if name.endswith("num_batches_tracked"):
            continue
        assert value.dtype == torch.float32
        parts = value.numpy().reshape(4, -1, *value.shape[1:]) if ".gates_" in name else [value.numpy()]
        ours += list(parts)
    assert prints_of(ours) == prints_of(theirs)


PLACES: dict[NetworkName, dict[tuple[str, int], str]] = {
    "sam-resnet": {
        ("conv1", 0): "backbone.conv1.weight",
        ("conv1", 1): "backbone.conv1.bias",
        ("bn_conv1", 0): "backbone.bn1.weight",
        ("bn_conv1", 1): "backbone.bn1.bias",
        ("bn_conv1", 2): "backbone.bn1.running_mean",
        ("bn_conv1", 3): "backbone.bn1.running_var",
        ("res2a_branch1", 0): "backbone.stages.0.0.shortcut.0.weight",
        ("bn2a_branch1", 3): "backbone.stages.0.0.shortcut.1.running_var",
        ("res3a_branch2a", 0): "backbone.stages.1.0.conv1.weight",
        ("res3d_branch2b", 0): "backbone.stages.1.3.conv2.weight",
        ("bn4f_branch2c", 2): "backbone.stages.2.5.bn3.running_mean",
        ("res5c_branch2b", 1): "backbone.stages.3.2.conv2.bias",
        ("res5b_branch2c", 0): "backbone.stages.3.1.conv3.weight",
        ("convolution2d_9", 0): "backbone.project.weight",
        ("convolution2d_10", 0): "head.out.weight",
        ("convolution2d_10", 1): "head.out.bias",
    },
    "sam-vgg": {
        ("block1_conv1", 0): "backbone.blocks.0.0.weight",
        ("block1_conv2", 1): "backbone.blocks.0.2.bias",
        ("block3_conv3", 0): "backbone.blocks.2.4.weight",
        ("block5_conv2", 0): "backbone.blocks.4.2.weight",
        ("convolution2d_9", 0): "head.out.weight",
    },
}
BOTH = {
    ("attentiveconvlstm_9", 0): "recurrence.attention_hidden.weight",
    ("attentiveconvlstm_9", 1): "recurrence.attention_hidden.bias",
    ("attentiveconvlstm_9", 2): "recurrence.attention_input.weight",
    ("attentiveconvlstm_9", 3): "recurrence.attention_input.bias",
    ("attentiveconvlstm_9", 4): "recurrence.attention_score.weight",
    ("learningprior_9", 0): "priors.0.parameters_vector",
    ("learningprior_10", 0): "priors.1.parameters_vector",
    ("atrousconvolution2d_9", 0): "prior_convolutions.0.weight",
    ("atrousconvolution2d_10", 1): "prior_convolutions.1.bias",
}
# W_i b U_i b W_f b U_f b W_c b U_c b W_o b U_o b, behind the five arrays of the attention; ours are i, f, c, o.
GATES = [(5 + 4 * gate + 2 * on_hidden, gate, on_hidden) for gate in range(4) for on_hidden in (0, 1)]


def test_each_kind_of_array_goes_where_a_table_made_by_hand_says(published: Published) -> None:
    state = published.read.state
    for (layer, index), key in (PLACES[published.network] | BOTH).items():
        assert np.array_equal(state[key].numpy(), rotated(published.layers[layer][index])), key
    recurrence = published.layers["attentiveconvlstm_9"]
    for index, gate, on_hidden in GATES:
        key = f"recurrence.gates_{'hidden' if on_hidden else 'input'}"
        rows = slice(512 * gate, 512 * (gate + 1))
        assert np.array_equal(state[f"{key}.weight"][rows].numpy(), rotated(recurrence[index]))
        assert np.array_equal(state[f"{key}.bias"][rows].numpy(), recurrence[index + 1])


def test_a_kernel_that_is_not_rotated_would_be_seen(published: Published) -> None:
    key, layer = (
        ("backbone.conv1.weight", "conv1")
        if "resnet" in published.network
        else (
            "backbone.blocks.0.0.weight",
            "block1_conv1",
        )
    )
    assert not np.array_equal(published.read.state[key].numpy(), published.layers[layer][0])


def test_what_was_read_fits_the_network_and_is_told_apart_by_its_layers(published: Published) -> None:
    assert published.read.network == published.network
    own = SaliencyAttentiveModel.without_weights(PRESETS[published.network].config).state_dict()
    assert {name: value.shape for name, value in published.read.state.items()} == {
        name: value.shape for name, value in own.items()
    }
    assert published.read.sha256 == sha256(published.path.read_bytes()).hexdigest()


@pytest.mark.parametrize("published", ["sam-vgg"], indirect=True)
def test_an_imported_file_is_in_the_cache_bit_for_bit_with_its_card_and_record(
    published: Published, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("weights", "import", published.path) == 0
    out, err = capsys.readouterr()
    path = cache / f"{published.network}.safetensors"
    assert out == f"{path}\n" and f"taken as {published.network}, by its layers" in err
    network, preprocess, card = read_checkpoint(path)
    state = network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in published.read.state.items())
    preset = PRESETS[published.network]
    assert (network.config, preprocess) == (preset.config, preset.preprocess)
    assert card.name == published.network and card.licence.startswith("MIT") and "Cornia" in card.description
    assert "2015" in card.training_data[0] and published.read.sha256 in card.initialisation
    record = store.read_record(published.network)
    assert record is not None
    assert (record.bytes, record.sha256) == (path.stat().st_size, sha256(path.read_bytes()).hexdigest())
    assert (record.source, record.source_sha256) == (str(published.path), published.read.sha256)
    assert {p.name for p in cache.iterdir()} == {path.name, f"{path.stem}.json", f"{path.stem}.lock"}


# From the file to the map.


def test_a_file_imported_and_run_gives_the_map_of_the_equations(
    published: Published,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The judge convolves, in NumPy, the arrays that went into the file; the pipe only knows the file."""
    preset = PRESETS[published.network]
    canvas = dataclasses.replace(preset.preprocess, height=ROWS, width=COLUMNS)
    monkeypatch.setitem(PRESETS, published.network, dataclasses.replace(preset, preprocess=canvas))
    wanted = published.stages["final map"] / published.stages["final map"].sum()
    cv2.imwrite(str(tmp_path / "picture.png"), published.picture[:, :, ::-1])

    assert status_of("weights", "import", published.path) == 0
    # In full precision, from the pipe that `vidsal run` uses.
    settings = {"recurrence": RecurrenceOptions(state="reset"), "smooth": SmoothOptions(smoothing="none")}
    model = load_model(published.network, device="cpu", precision="fp32")
    with open_video(tmp_path / "picture.png", size=model.preprocessor.frame_size) as frames:
        (batch,) = predict(frames, model, **settings)
    got = batch.density[0].double().numpy()
    assert np.abs(got - wanted).max() <= 1e-4 * wanted.max()
    # The file of maps keeps the log in half precision: 0.4 % of the density, down to exp(-16).
    arguments = ["--state", "reset", "--smoothing", "none", "--maps", "npz", "--no-video", "--table", "none"]
    run = ["run", tmp_path / "picture.png", "--model", published.network, "--device", "cpu", "--precision", "fp32"]
    capsys.readouterr()
    assert status_of(*run, *arguments) == 0
    (written_to,) = capsys.readouterr().out.splitlines()
    kept = np.exp(np.load(written_to)["log_density"][0].astype(np.float64))
    seen = got > np.exp(-15.9)
    assert seen.mean() > 0.5 and np.abs(kept[seen] / got[seen] - 1).max() < 0.0045


# Files that differ from the published ones, and may or may not be read. Zeros are enough for these.


def written(path: Path, network: NetworkName = "sam-vgg", **changed: list[Any] | None) -> Path:
    """A file of zeros, with some layers replaced, added, or (None) left out."""
    layers = unwritten_layers(network) | changed
    return write_published(path, {name: arrays for name, arrays in layers.items() if arrays is not None})


def test_the_file_of_a_whole_model_is_read_too(tmp_path: Path) -> None:
    path = write_published(tmp_path / "model.h5", unwritten_layers("sam-vgg"), group="model_weights")
    assert read_published(path).network == "sam-vgg"


def test_one_file_is_not_taken_for_both_releases(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "_save", lambda target, *_: target.write_bytes(b"x"))
    monkeypatch.setattr(release, "read_published", lambda _: PublishedWeights("sam-resnet", {}, "0"))
    assert status_of("weights", "import", tmp_path / "a.h5") == 0
    assert "--as sam-resnet-2017" in capsys.readouterr().err
    assert status_of("weights", "import", tmp_path / "a2017.h5") == 1
    assert "in the cache as sam-resnet already" in capsys.readouterr().err
    assert status_of("weights", "import", tmp_path / "a2017.h5", "--overwrite") == 0


def test_a_checkpoint_is_not_written_under_another_ending(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(EncodeError, match=r"end in \.safetensors"):
        release.import_weights(tmp_path / "a.h5", name="sam-vgg", output=tmp_path / "a.pt")


def test_the_list_sees_a_cached_file_without_its_record_or_of_another_size(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "_save", lambda target, *_: target.write_bytes(b"whole"))
    monkeypatch.setattr(release, "read_published", lambda _: PublishedWeights("sam-vgg", {}, "0"))
    assert status_of("weights", "import", tmp_path / "a.h5") == 0
    assert find_weights("sam-vgg").state == "cached"
    path = find_weights("sam-vgg").path
    path.write_bytes(b"cut")
    assert find_weights("sam-vgg").state == "damaged"
    assert status_of("weights", "path", "sam-vgg") == 1
    path.write_bytes(b"whole")
    assert status_of("weights", "path", "sam-vgg") == 0
    path.with_suffix(".json").unlink()
    assert find_weights("sam-vgg").state == "damaged"
    capsys.readouterr()
    assert status_of("weights", "list") == 0
    assert "vidsal weights verify sam-vgg" in capsys.readouterr().out


def test_a_published_file_given_as_the_model_is_pointed_to_the_import(tmp_path: Path) -> None:
    for begin, told in ((b"\x89HDF\r\n\x1a\n", "vidsal weights import"), (b"\x80\x02}q", "never opens")):
        path = tmp_path / "weights.pkl"
        path.write_bytes(begin + bytes(100))
        with pytest.raises(CheckpointError, match=told):
            read_checkpoint(path)


def test_the_2017_release_is_known_by_its_name_or_by_what_it_is_told(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "_save", lambda target, *_: target.write_bytes(b"x"))
    # Another file each time.
    monkeypatch.setattr(release, "read_published", lambda path: PublishedWeights("sam-resnet", {}, path.name))
    for name, flags, wanted in (
        ("sam-resnet_salicon_weights.pkl", [], "sam-resnet"),
        ("sam-resnet_salicon2017_weights.pkl", [], "sam-resnet-2017"),
        ("weights.pkl", ["--as", "sam-resnet-2017", "--overwrite"], "sam-resnet-2017"),
        ("of_2017.pkl", ["--as", "sam-resnet", "--overwrite"], "sam-resnet"),
    ):
        assert status_of("weights", "import", tmp_path / name, *flags) == 0
        out, err = capsys.readouterr()
        assert out == f"{cache / wanted}.safetensors\n"
        assert f"taken as {wanted}, " in err and ("2017 in its name" in err) == ("salicon2017" in name)
    assert status_of("weights", "import", tmp_path / "weights.pkl", "--as", "sam-vgg") == 1
    assert (
        "the weights of sam-resnet, not of sam-vgg: use them as sam-resnet or sam-resnet-2017"
        in capsys.readouterr().err
    )


def open_for_change(path: Path) -> Any:
    return h5py.File(path, "r+")


def make_tensorflow_ordered(path: Path) -> None:
    layers = unwritten_layers("sam-vgg")
    for arrays in layers.values():
        for array in arrays:
            if array.ndim == 4:
                out, into, rows, columns = array.shape
                array.shape = (rows, columns, into, out)
    write_published(path, layers)


def make_saved_by_tensorflow(path: Path) -> None:
    with open_for_change(written(path)) as file:
        file.attrs["backend"] = np.bytes_("tensorflow")


def make_truncated(path: Path) -> None:
    written(path, block1_conv1=[np.ones((64, 3, 3, 3), np.float32), np.ones(64, np.float32)])
    path.write_bytes(path.read_bytes()[:-5000])


def make_classifier(path: Path) -> None:
    layers = {name: arrays for name, arrays in unwritten_layers("sam-vgg").items() if name.startswith("block")}
    with h5py.File(path, "w") as file:
        for name, size in (("fc1", 4096), ("fc2", 4096), ("predictions", 1000)):
            layers[name] = [Unwritten((25088 if name == "fc1" else 4096, size)), Unwritten((size,))]
        file.attrs["layer_names"] = np.array([name.encode() for name in layers])
        for name, arrays in layers.items():
            write_layer(file, name, arrays)


def make_stranger(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"dense_1", b"dense_2"])
        for name in ("dense_1", "dense_2"):
            write_layer(file, name, [Unwritten((4, 4)), Unwritten((4,))])


def make_other_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)


def replace_bias(path: Path, replace: Callable[[Any], None]) -> None:
    """The bias of the first layer goes, and `replace` puts something else under its name into the group."""
    with open_for_change(written(path)) as file:
        del file["block1_conv1/block1_conv1_b"]
        replace(file["block1_conv1"])


def make_virtual(path: Path) -> None:
    def replace(group: Any) -> None:
        layout = h5py.VirtualLayout(shape=(64,), dtype="f4")
        layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "x", shape=(64,))
        group.create_virtual_dataset("block1_conv1_b", layout)

    replace_bias(path, replace)


def make_external(path: Path) -> None:
    path.with_name("secret").write_bytes(bytes(256))
    where = [(str(path.with_name("secret")), 0, 256)]
    replace_bias(path, lambda group: group.create_dataset("block1_conv1_b", (64,), "f4", external=where))


def make_linked_out(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["b"] = np.zeros(64, np.float32)
    link = h5py.ExternalLink(str(path.with_name("other.h5")), "b")
    replace_bias(path, lambda group: group.__setitem__("block1_conv1_b", link))


def make_object(path: Path) -> None:
    replace_bias(path, lambda group: group.create_dataset("block1_conv1_b", (64,), h5py.string_dtype()))


def make_whole_numbers(path: Path) -> None:
    replace_bias(path, lambda group: group.create_dataset("block1_conv1_b", (64,), np.int32))


def make_group_for_array(path: Path) -> None:
    replace_bias(path, lambda group: group.create_group("block1_conv1_b"))


def make_unlisted(path: Path) -> None:
    with open_for_change(written(path)) as file:
        file["block1_conv1/more"] = np.zeros(3)
        file.create_group("stowaway")


def make_repeated(path: Path) -> None:
    with open_for_change(written(path)) as file:
        file["block1_conv1"].attrs["weight_names"] = np.array([b"block1_conv1_W"] * 2)


def make_nan(path: Path) -> None:
    bias = np.ones(64, np.float32)
    bias[7] = np.nan
    written(path, block1_conv1=[np.ones((64, 3, 3, 3), np.float32), bias])


def make_negative_variance(path: Path) -> None:
    arrays = [np.ones(64, np.float32), np.ones(64, np.float32), np.ones(64, np.float32), np.ones(64, np.float32)]
    arrays[3][5] = -0.1
    written(path, "sam-resnet", bn_conv1=arrays)


LEAVES_A_MARK = b"cos\nsystem\n(S'touch MARK'\ntR."

BAD_FILES: list[tuple[Callable[[Path], object], str]] = [
    (make_tensorflow_ordered, r"kernels in TensorFlow's order.*block1_conv1 is \(3, 3, 3, 64\)"),
    (make_saved_by_tensorflow, "saved with the backend tensorflow"),
    (make_truncated, "the file is truncated"),
    (
        make_classifier,
        r"not those of sam-vgg: 6 missing \(.*and 2 more\), 3 left over \(fc1, fc2, predictions\)",
    ),
    (make_stranger, r"weights of another network \(its layers with weights: dense_1, dense_2\)"),
    (make_other_hdf5, "an HDF5 file, but not one that Keras 1 saved"),
    (make_virtual, "block1_conv1 lies in another file"),
    (make_external, "block1_conv1 lies in another file"),
    (make_linked_out, "is a link to another place"),
    (make_object, "block1_conv1 holds object, expected floating point"),
    (make_whole_numbers, "block1_conv1 holds int32, expected floating point"),
    (make_group_for_array, "block1_conv1 holds something that is no array"),
    (make_unlisted, r"2 left over \(stowaway, block1_conv1/more\)"),
    (make_repeated, "weight_names of block1_conv1 is not a list of different names"),
    (make_nan, "1 values of block1_conv1 are not finite"),
    (make_negative_variance, "bn_conv1 holds negative variances"),
    (lambda path: written(path, learningprior_2=None), r"1 missing \(learningprior_2\)"),
    (lambda path: written(path, block4_conv2=None), r"1 missing \(block4_conv2\)"),
    (lambda path: written(path, "sam-resnet", bn3b_branch2b=None), r"sam-resnet: 1 missing \(bn3b_branch2b\)"),
    (lambda path: written(path, learningprior_3=[Unwritten((64,))]), r"1 left over \(learningprior_3\)"),
    (
        lambda path: written(path, learningprior_2=[Unwritten((60,))]),
        r"shape \(learningprior_2 is \(60,\), expected \(64,\)\)",
    ),
    (lambda path: written(path, block1_conv1=[Unwritten((64, 3, 3, 3))]), "block1_conv1 holds 1 arrays, expected 2"),
    (lambda path: path.write_bytes(LEAVES_A_MARK), "a pickle, which vidsal never opens"),
    *[
        (
            lambda path, p=protocol: path.write_bytes(pickle.dumps({"a": [1, 2]}, protocol=p)),
            "a pickle, which vidsal never",
        )  # type: ignore[misc]
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ],
    (lambda path: path.write_text("<!DOCTYPE html><html>Not found"), "a page of a web site"),
    (lambda path: path.write_text("hello"), "not an HDF5 file"),
    (lambda path: path.write_bytes(b""), "the file is empty"),
    (lambda path: path.mkdir(), "directory"),
    (lambda path: None, "no such file"),
]


@pytest.mark.parametrize(("make", "says"), BAD_FILES)
def test_a_file_that_is_not_as_published_is_refused_in_one_line(
    make: Callable[[Path], object],
    says: str,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pkl"
    make(path)
    assert status_of("weights", "import", path) == 1
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert re.search(says, err) and err.startswith(f"vidsal: error: {path}: ")
    assert not (tmp_path / "MARK").exists() and not list(cache.glob("*.safetensors"))


def test_a_file_that_crashes_the_library_is_an_error_like_any_other(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "weights.pkl")
    monkeypatch.setattr(keras_hdf5, "read_arrays", hostile_readers.crash)
    assert status_of("weights", "import", path) == 1
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(
        rf"vidsal: error: {path} cannot be read: the library that reads it crashed .*\n", err
    )


def test_the_unchanged_file_of_zeros_is_read_so_the_changes_are_what_is_refused(tmp_path: Path) -> None:
    assert read_published(written(tmp_path / "a.pkl")).network == "sam-vgg"


def test_the_quick_file_has_the_shapes_of_the_full_one(published: Published) -> None:
    quick = unwritten_layers(published.network, first_counter=9)
    assert list(published.layers) == list(quick)
    for name, arrays in published.layers.items():
        assert [array.shape for array in arrays] == [array.shape for array in quick[name]]


def test_without_h5py_the_extra_is_named(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.pkl")
    monkeypatch.setitem(sys.modules, "h5py", None)
    for arguments in (["import", path], ["fetch", "sam-vgg"]):
        assert status_of("weights", *arguments) == 1
        assert "pip install 'vidsal[hdf5]'" in capsys.readouterr().err


# The cache.


def put(content: bytes = b"weights", name: str = "sam-vgg", source: str = "a.pkl") -> Path:
    return store.keep(name, lambda path: path.write_bytes(content) and None, source=source, source_sha256="0" * 64)


def test_the_cache_is_where_the_variable_says_or_the_platforms_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDSAL_CACHE", "~/here")
    assert store.cached_path("x") == Path("~/here/x.safetensors").expanduser()
    monkeypatch.setenv("VIDSAL_CACHE", "")
    assert store.cache_folder().is_absolute() and "vidsal" in store.cache_folder().parts


def test_what_was_put_is_found_and_what_was_changed_is_not_used(cache: Path) -> None:
    path = put()
    assert store.verified_path("sam-vgg") == path
    path.write_bytes(b"weightS")
    with pytest.raises(CheckpointError, match=r"not the file that was put there.*fetch sam-vgg --overwrite"):
        load_model("sam-vgg", device="cpu")
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(CheckpointError, match="record of sam-vgg cannot be read"):
        load_model("sam-vgg", device="cpu")
    path.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match="has no record beside it"):
        load_model("sam-vgg", device="cpu")
    path.unlink()
    with pytest.raises(CheckpointError, match=r"no weights here.*vidsal weights fetch sam-vgg"):
        load_model("sam-vgg", device="cpu")


def test_a_write_that_fails_leaves_what_was_there(cache: Path) -> None:
    path = put(b"old")

    def fail(target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(EncodeError, match=r"cannot write .*No space left on device"):
        store.keep("sam-vgg", fail, source="b.pkl", source_sha256="1" * 64)
    assert path.read_bytes() == b"old" and store.verified_path("sam-vgg") == path
    assert {p.name for p in cache.iterdir()} == {"sam-vgg.safetensors", "sam-vgg.json"}


def test_a_cache_that_cannot_be_written_is_told_with_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VIDSAL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(EncodeError, match="VIDSAL_CACHE"), store.claim("sam-vgg"):
        pass


def test_two_processes_do_not_write_the_same_weights(cache: Path, tmp_path: Path) -> None:
    with store.claim("sam-vgg"):
        with pytest.raises(CheckpointError, match="another process is writing the weights of sam-vgg"):
            release.fetch_weights("sam-vgg")
        with store.claim("sam-resnet"):
            pass
    with store.claim("sam-vgg"):
        pass


WRITER = """
import sys
from vidsal.model import keras_hdf5, store
for turn in range(100):
    store.keep("sam-vgg", lambda path: path.write_bytes(bytes([turn % 251]) * 4096) and None,
               source="loop", source_sha256=str(turn))
"""


def test_who_reads_while_another_process_writes_never_meets_half_of_it(cache: Path) -> None:
    put()
    readings = 0
    writer = Child(WRITER)
    while writer.process.is_alive():
        store.verified_path("sam-vgg")
        readings += 1
    record = store.read_record("sam-vgg")
    assert writer.wait().returncode == 0 and readings > 5 and record is not None and record.source == "loop"


# Fetching: what is meant by `file` here is any bytes.


ANY = store.Expected(1 << 30)
SIGNATURE = keras_hdf5.SIGNATURE


class Shelf(http.server.ThreadingHTTPServer):
    """A server with one file, and ways to misbehave."""

    daemon_threads = False  # closing it waits for every answer, so that none reaches into the next test

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = SIGNATURE + np.random.default_rng(0).bytes(700_000 - len(SIGNATURE))
        self.tag: str | None = '"one"'
        self.breaks_after: int | None = None
        self.ignores_range = False
        self.ignores_conditions = False
        self.answers: int | None = None
        self.leads_to: str | None = None
        self.waits_for: threading.Event | None = None
        self.says_length = True
        self.asked: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights.pkl"

    def change(self, size: int = 700_000) -> None:
        self.content = SIGNATURE + np.random.default_rng(1).bytes(size - len(SIGNATURE))
        self.tag = '"two"' if self.tag else None


class Handler(http.server.BaseHTTPRequestHandler):
    server: Shelf

    def do_GET(self) -> None:
        shelf = self.server
        shelf.asked.append(dict(self.headers))
        if shelf.waits_for is not None:
            shelf.waits_for.wait(10)
        if shelf.answers is not None:
            self.send_error(shelf.answers)
            return
        if shelf.leads_to is not None:
            self.send_response(302)
            self.send_header("Location", shelf.leads_to)
            self.end_headers()
            return
        # Used up before the answer: once the client has it, the test goes on and may ask for the next break.
        breaks_after, shelf.breaks_after = shelf.breaks_after, None
        size, start = len(shelf.content), 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if wanted and not shelf.ignores_range and (shelf.ignores_conditions or condition in (None, shelf.tag)):
            start = int(wanted[1])
            if start >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.end_headers()
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if shelf.tag:
            self.send_header("ETag", shelf.tag)
        if shelf.says_length:
            self.send_header("Content-Length", str(size - start))
        self.end_headers()
        with suppress(ConnectionError):  # a client that has seen enough
            self.wfile.write(shelf.content[start:][:breaks_after])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with Shelf() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(shelf: Shelf, *, url: str = "", **settings: Any) -> bytes:
    with store.claim("sam-vgg"):
        return store.download("sam-vgg", url or shelf.url, **{"expected": ANY, **settings}).read_bytes()


def break_off(shelf: Shelf, after: int = 300_000) -> None:
    shelf.breaks_after = after
    with pytest.raises(CheckpointError, match=f"broke off.*{after} bytes are kept in .*goes on from there"):
        fetch(shelf)
    assert store.cache_folder().joinpath("sam-vgg.download").read_bytes() == shelf.content[:after]


def test_a_file_is_fetched_and_the_progress_told(shelf: Shelf, cache: Path) -> None:
    told: list[tuple[int, int | None]] = []
    assert fetch(shelf, on_progress=lambda done, total: told.append((done, total))) == shelf.content
    assert told[0] == (0, 700_000) and told[-1] == (700_000, 700_000) and told == sorted(told)
    assert "Range" not in shelf.asked[0]
    assert fetch(shelf) == shelf.content and len(shelf.asked) == 1, "what is whole is not fetched again"


def test_a_fetch_that_broke_off_goes_on_from_there(shelf: Shelf, cache: Path) -> None:
    break_off(shelf)
    told: list[int] = []
    assert fetch(shelf, on_progress=lambda done, total: told.append(done)) == shelf.content
    assert shelf.asked[1]["Range"] == "bytes=300000-" and shelf.asked[1]["If-Range"] == '"one"'
    assert told[0] == 300_000


def ignore_range(shelf: Shelf) -> None:
    shelf.ignores_range = True


def change_and_ignore_conditions(shelf: Shelf) -> None:
    shelf.change()
    shelf.ignores_conditions = True


def shrink_and_ignore_conditions(shelf: Shelf) -> None:
    shelf.change(200_000)
    shelf.ignores_conditions = True


@pytest.mark.parametrize(
    ("change", "requests"),
    [
        (ignore_range, 2),
        (Shelf.change, 2),
        (change_and_ignore_conditions, 3),
        (shrink_and_ignore_conditions, 3),
        (lambda shelf: shelf.change(800_000), 2),
    ],
)
def test_what_cannot_be_gone_on_with_begins_anew(
    change: Callable[[Shelf], None], requests: int, shelf: Shelf, cache: Path
) -> None:
    break_off(shelf)
    change(shelf)
    assert fetch(shelf) == shelf.content
    assert len(shelf.asked) == requests and shelf.asked[1]["Range"] == "bytes=300000-"


def test_without_a_tag_another_length_shows_another_file(shelf: Shelf, cache: Path) -> None:
    shelf.tag = None
    break_off(shelf)
    assert fetch(shelf) == shelf.content and "If-Range" not in shelf.asked[1]
    store.discard_download("sam-vgg")
    break_off(shelf)
    shelf.change(800_000)
    assert fetch(shelf) == shelf.content


def test_what_came_from_another_address_is_not_gone_on_with(shelf: Shelf, cache: Path) -> None:
    break_off(shelf)
    assert fetch(shelf, url=f"{shelf.url}?mirror") == shelf.content and "Range" not in shelf.asked[1]


def test_a_server_that_says_no_is_quoted_with_the_address_and_the_way_by_hand(shelf: Shelf, cache: Path) -> None:
    shelf.answers = 404
    with pytest.raises(
        CheckpointError, match=rf"{shelf.url}: the server answered 404.*weights import FILE --as sam-vgg"
    ):
        fetch(shelf)
    assert [p.name for p in cache.iterdir()] == ["sam-vgg.lock"]


def test_a_server_that_fails_later_does_not_cost_what_has_come(shelf: Shelf, cache: Path) -> None:
    break_off(shelf)
    shelf.answers = 503
    with pytest.raises(CheckpointError, match=r"answered 503.*300000 bytes are kept"):
        fetch(shelf)
    shelf.answers = None
    assert fetch(shelf) == shelf.content and shelf.asked[2]["Range"] == "bytes=300000-"


def test_a_server_that_does_not_answer_is_given_up(shelf: Shelf, cache: Path) -> None:
    shelf.waits_for = threading.Event()
    try:
        with pytest.raises(CheckpointError, match=r"no answer within 0\.1 s"):
            fetch(shelf, timeout_seconds=0.1)
    finally:
        shelf.waits_for.set()


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_a_server_cannot_lead_to_a_file_of_this_machine(target: str, shelf: Shelf, cache: Path) -> None:
    shelf.leads_to = target
    with pytest.raises(CheckpointError, match="not safe to follow"):
        fetch(shelf)


def test_a_redirect_within_the_web_is_followed(shelf: Shelf, cache: Path) -> None:
    with Shelf() as second:
        second.leads_to = shelf.url
        logged_in = second.url.replace("http://", "http://me:hunter2@")
        thread = threading.Thread(target=second.handle_request)
        thread.start()
        assert fetch(second, url=logged_in) == shelf.content
        thread.join()
    assert "Authorization" in second.asked[0] and "Authorization" not in shelf.asked[0]


LONG = store.Expected(699_999)


@pytest.mark.parametrize("says_length", [True, False])
def test_no_more_is_taken_than_the_file_may_have(says_length: bool, shelf: Shelf, cache: Path) -> None:
    shelf.says_length = says_length
    told: list[int] = []
    with pytest.raises(CheckpointError, match="it has more than the 699999 bytes that the published file may have"):
        fetch(shelf, expected=LONG, on_progress=lambda done, total: told.append(done))
    assert max(told, default=0) < 699_999 and (says_length <= (not told))
    assert [p.name for p in cache.iterdir()] == ["sam-vgg.lock"]


def test_what_goes_on_is_bounded_too(shelf: Shelf, cache: Path) -> None:
    break_off(shelf)
    with pytest.raises(CheckpointError, match="more than the 400000 bytes"):
        fetch(shelf, expected=store.Expected(400_000))


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        (store.Expected(1 << 30, size=700_001), "it has 700000 bytes, but the published file has 700001"),
        (
            store.Expected(1 << 30, sha256="1" * 64),
            r"its sha256 is \w+…, but that of the published file is 111111111111…",
        ),
        (store.Expected(1 << 30, size=700_000, sha256="1" * 64), "its sha256 is"),
    ],
)
def test_a_file_of_another_size_or_hash_than_the_published_one_is_not_kept(
    expected: store.Expected, says: str, shelf: Shelf, cache: Path
) -> None:
    with pytest.raises(CheckpointError, match=rf"{says}.*weights import FILE --as sam-vgg"):
        fetch(shelf, expected=expected)
    assert [p.name for p in cache.iterdir()] == ["sam-vgg.lock"]
    right = store.Expected(700_000, size=700_000, sha256=sha256(shelf.content).hexdigest())
    assert fetch(shelf, expected=right) == shelf.content


def test_what_was_whole_before_is_checked_as_well(shelf: Shelf, cache: Path) -> None:
    fetch(shelf)
    with pytest.raises(CheckpointError, match="its sha256 is"):
        fetch(shelf, expected=store.Expected(1 << 30, sha256="1" * 64))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b" <!DOCTYPE html><html>please log in</html>", "a page of a web site, not a weight file"),
        (b"\x80\x02}q\x00.", "a pickle, which vidsal never opens"),
        (b"hello" + bytes(600_000), "not an HDF5 file"),
        (b"", "the file is empty"),
    ],
)
def test_what_is_no_weight_file_is_refused_by_its_first_bytes(
    content: bytes, says: str, shelf: Shelf, cache: Path
) -> None:
    shelf.content = content
    told: list[int] = []
    with pytest.raises(CheckpointError, match=f"what comes is no weight file: {says}"):
        release.fetch_weights("sam-vgg", url=shelf.url, on_progress=lambda done, total: told.append(done))
    assert max(told, default=0) == 0 and [p.name for p in cache.iterdir()] == ["sam-vgg.lock"]


def test_what_is_known_of_the_published_files_is_what_is_expected(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, store.Expected] = {}

    def note(name: str, url: str, *, expected: store.Expected, **_: Any) -> None:
        asked[name] = expected
        raise CheckpointError("enough")

    monkeypatch.setattr(store, "download", note)
    for name, entry in release.PUBLISHED.items():
        with pytest.raises(CheckpointError, match="enough"):
            release.fetch_weights(name)
        assert (asked[name].size, asked[name].sha256) == (entry.bytes, entry.sha256)
        assert asked[name].refuses(SIGNATURE) is None and asked[name].refuses(b"<html>") is not None
        if entry.bytes is not None:
            assert entry.bytes <= asked[name].most_bytes and len(entry.sha256 or "") == 64
    # 70,146,561 and 51,835,841 values of eight bytes, and room for what HDF5 keeps beside them.
    assert 8 * 70_146_561 < asked["sam-resnet"].most_bytes < 600e6
    assert 8 * 51_835_841 < asked["sam-vgg"].most_bytes < 450e6


def test_no_password_is_shown_or_kept(
    quick: None, shelf: Shelf, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = "hunter2", "abcdef123"
    url = shelf.url.replace("http://", "http://me:hunter2@") + "?token=abcdef123"
    shelf.answers = 404
    assert status_of("weights", "fetch", "sam-vgg", "--url", url) == 1
    shelf.answers, shelf.leads_to = None, "file://me:hunter2@host/x?token=abcdef123"
    assert status_of("weights", "fetch", "sam-vgg", "--url", url) == 1
    shelf.leads_to, shelf.breaks_after = None, 300_000
    assert status_of("weights", "fetch", "sam-vgg", "--url", url) == 1
    kept = (cache / "sam-vgg.download.json").read_text(encoding="utf-8")
    assert status_of("weights", "fetch", "sam-vgg", "--url", url) == 0
    assert status_of("weights", "fetch", "sam-vgg", "--url", url.replace("http:", "gopher:"), "--overwrite") == 1
    kept += (cache / "sam-vgg.json").read_text(encoding="utf-8")
    shown = "".join(capsys.readouterr())
    assert shelf.asked[-1]["Authorization"] == f"Basic {b64encode(b'me:hunter2').decode()}"
    assert (
        f"cannot fetch {shelf.url}?token=…: the server answered 404" in shown and r"/weights.pkl?token=\u2026" in kept
    )
    assert not [secret for secret in secrets if secret in shown + kept]


def test_a_refused_connection_and_a_strange_address_are_told_in_one_line(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/w.pkl"
        assert status_of("weights", "fetch", "sam-vgg", "--url", url) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and f"cannot fetch {url}: Connection refused" in err and "weights import" in err
    for url in ("ftp://example.org/w.pkl", "weights.pkl", "file:///nowhere/w.pkl"):
        assert status_of("weights", "fetch", "sam-vgg", "--url", url) == 1
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1 and f"cannot fetch {url}: " in err


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any bytes pass for weights of SAM-VGG, and are kept as they are: the import itself is tested above."""
    monkeypatch.setattr(release, "_save", lambda target, weights, *_: target.write_text(weights.sha256))
    monkeypatch.setattr(
        release, "read_published", lambda path: PublishedWeights("sam-vgg", {}, sha256(path.read_bytes()).hexdigest())
    )


def test_what_is_there_is_not_fetched_again_unless_damaged_or_asked_for(
    quick: None, shelf: Shelf, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cache / "sam-vgg.safetensors"
    for overwrite, requests in ((False, 1), (False, 1), (True, 2)):
        assert status_of("weights", "fetch", "sam-vgg", "--url", shelf.url, *["--overwrite"] * overwrite) == 0
        assert capsys.readouterr().out == f"{path}\n" and len(shelf.asked) == requests
    path.write_text("damaged")
    assert status_of("weights", "fetch", "sam-vgg", "--url", shelf.url) == 0
    assert path.read_text() == sha256(shelf.content).hexdigest() and len(shelf.asked) == 3
    record = store.read_record("sam-vgg")
    assert record is not None and record.source == shelf.url and record.source_sha256 == path.read_text()
    assert {p.name for p in cache.iterdir()} == {"sam-vgg.safetensors", "sam-vgg.json", "sam-vgg.lock"}


def test_a_file_that_has_changed_since_it_was_fetched_is_only_taken_if_that_is_asked_for(
    quick: None, shelf: Shelf, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetching = ["weights", "fetch", "sam-vgg", "--url", shelf.url]
    assert status_of(*fetching) == 0
    shelf.change()
    (cache / "sam-vgg.safetensors").unlink()
    assert status_of(*fetching) == 1
    assert "is not the file that was fetched on" in capsys.readouterr().err
    assert status_of(*fetching, "--overwrite") == 0
    assert (cache / "sam-vgg.safetensors").read_text() == sha256(shelf.content).hexdigest()


def test_a_fetch_that_is_stopped_says_that_it_can_go_on(
    shelf: Shelf, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(release, "read_published", stop)
    assert status_of("weights", "fetch", "sam-vgg", "--url", shelf.url) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert (cache / "sam-vgg.download").read_bytes() == shelf.content


def test_the_addresses_are_those_of_the_release() -> None:
    assert {name: entry.url.rsplit("/", 1)[1] for name, entry in release.PUBLISHED.items()} == {
        "sam-resnet": "sam-resnet_salicon_weights.pkl",
        "sam-resnet-2017": "sam-resnet_salicon2017_weights.pkl",
        "sam-vgg": "sam-vgg_salicon_weights.pkl",
    }
    prefix = "https://github.com/marcellacornia/sam/releases/download/1.0/"
    assert all(entry.url.startswith(prefix) for entry in release.PUBLISHED.values())
    assert set(release.PUBLISHED) == {name for name, preset in PRESETS.items() if preset.weights is None}


# The commands.


def test_a_fetched_file_is_listed_shown_verified_and_found(
    shelf: Shelf, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.content = written(tmp_path / "zeros.pkl").read_bytes()
    assert status_of("weights", "list") == 0
    states = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    embedded = {"sam-lite", "sam-lite-fast", "sam-lite-driver"}
    assert states == [[name, "embedded" if name in embedded else "absent"] for name in PRESETS]
    assert status_of("weights", "path", "sam-vgg") == 1
    assert capsys.readouterr().out == ""

    assert status_of("weights", "fetch", "sam-vgg", "--url", shelf.url) == 0
    path = cache / "sam-vgg.safetensors"
    assert capsys.readouterr().out == f"{path}\n"
    assert status_of("weights", "path", "sam-vgg") == 0
    assert capsys.readouterr().out == f"{path}\n"
    for command in (["weights", "list"], ["models"]):
        assert status_of(*command) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("sam-vgg")]
        assert "cached" in line
    for command in (["weights", "show", "sam-vgg"], ["models", "sam-vgg"]):
        assert status_of(*command) == 0
        shown = capsys.readouterr().out
        assert shelf.url in shown and "MIT" in shown and "SALICON" in shown and "vgg16" in shown
    assert status_of("weights", "verify") == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "sam-lite",
        "sam-lite-fast",
        "sam-lite-driver",
        "sam-vgg",
    ]

    with path.open("r+b") as file:
        file.seek(100_000_000)
        file.write(b"!")
    assert status_of("weights", "verify") == 1
    out, err = capsys.readouterr()
    assert out.startswith("sam-lite: whole") and "sam-vgg" not in out and "not the file that was put there" in err
    assert status_of("weights", "verify", "sam-resnet") == 1
    assert "no weights here" in capsys.readouterr().err


def test_an_import_goes_where_it_is_told_and_replaces_nothing_unasked(
    quick: None, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.pkl", tmp_path / "out.safetensors"
    source.write_bytes(b"one")
    command = ["weights", "import", source, "--output", target]
    assert status_of(*command, "--quiet") == 0
    assert capsys.readouterr() == (f"{target}\n", "") and not cache.exists()
    before = target.read_bytes()
    source.write_bytes(b"two")
    assert status_of(*command) == 1
    assert "--overwrite" in capsys.readouterr().err and target.read_bytes() == before
    assert status_of(*command, "--overwrite") == 0
    assert target.read_bytes() != before
    assert status_of("weights", "import", source, "-o", source, "--overwrite") == 1
    assert "is the file to import itself" in capsys.readouterr().err and source.read_bytes() == b"two"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "ACTION"),
        (
            ["fecth"],
            "no action 'fecth': use one of list, show, path, fetch, import, verify, average, score; did you mean fetch",
        ),
        (["remove"], "use one of list, show, path, fetch, import, verify, average"),
        (["fetch", "sam-lite"], "no published weights of 'sam-lite': use one of sam-resnet, sam-resnet-2017, sam-vgg"),
        (["import", "x.pkl", "--as", "sam-vg"], "did you mean sam-vgg?"),
        (["path", "sam-large"], "no model 'sam-large'"),
        (["verify", "nope"], "no model 'nope'"),
        (["list", "--al"], "unknown option --al"),
    ],
)
def test_bad_usage_is_status_2(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("weights", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and says in err


@pytest.mark.parametrize("action", ["fetch", "import"])
def test_the_help_names_the_published_weights(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    # That it does not wait for torch: test_cli.py.
    assert status_of("weights", action, "--help") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in release.PUBLISHED)
