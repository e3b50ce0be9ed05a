"""Weight files as the authors of SalGAN and SalNet published them in, checkpoints out. Nothing is unpickled.

SalGAN: an .npz as NumPy wrote it, arrays arr_0 to arr_53, weight and bias of each layer in the network's order. Lasagne
convolves the decoder's kernels turned by half a turn and uses the encoder's as they are, so the former are turned here.

SalNet: a .caffemodel, a message of Protocol Buffers of which only the layers' names and blobs are read. Caffe
correlates, as torch does.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vidsal.errors import CheckpointError
from vidsal.files import sha256_of
from vidsal.model.checkpoint import ModelCard, save_checkpoint
from vidsal.model.networks.catalogue import describe, input_of, without_weights
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.options import NetworkName
from vidsal.model.release import check_target

__all__ = ["IMPORTED", "import_network", "read_caffemodel", "read_salgan", "read_salnet"]

_Array = npt.NDArray[np.float32]
_MOST_BYTES = 1 << 30
_LICENCE = "MIT, as the repository that published them ({})"
_ENCODER_LAYERS = 13


def import_network(path: Path, *, name: str, output: Path, width: float = 1.0, overwrite: bool = False) -> Path:
    """Make a checkpoint of a published weight file.

    Args:
        path: the file, as published.
        name: one of `IMPORTED`.
        output: the checkpoint to write.
        width: share of the published channels that the file has; 1 for what the authors published.
        overwrite: whether a checkpoint that is there may be replaced.

    Raises:
        CheckpointError: the file is missing or damaged, or its arrays are not those of the network.
        EncodeError: the checkpoint is there already, or cannot be written.
    """
    check_target(path, output, overwrite=overwrite)
    reader = {"salgan": read_salgan, "salnet": read_salnet}.get(name)
    if reader is None:
        raise CheckpointError(f"published files of {name} are not read; those of {', '.join(IMPORTED)} are")
    network_name: NetworkName = "salgan" if name == "salgan" else "salnet"
    config = NetworkConfig(network_name, width)
    state = reader(path, config)
    network = without_weights(config)
    network.load_state_dict({key: torch.tensor(value) for key, value in state.items()}, assign=True)
    card = ModelCard(
        name=name,
        description=" ".join(describe(network_name).partition("\n\n")[0].split()),
        licence=_LICENCE.format(IMPORTED[name]),
        training_data=("SALICON: pictures of MS COCO with attention traced by the mouse", "ImageNet before that"),
        initialisation=(
            f"converted from {path.name}, sha256 {sha256_of(path)}: its layers fit, but nothing in the file proves "
            "where it is from"
        ),
        limits=("Trained on still pictures only: motion as such does not attract it.", "Not scored by vidsal."),
    )
    save_checkpoint(output, network, preprocess=input_of(network_name), card=card, dtype=torch.float32)
    return output


IMPORTED = {
    "salgan": "github.com/imatge-upc/saliency-salgan-2017",
    "salnet": "github.com/imatge-upc/saliency-2016-cvpr",
}
"""Networks whose published files are read, and where these are described."""


def read_salgan(path: Path, config: NetworkConfig) -> dict[str, _Array]:
    """The state dict of the generator in an .npz.

    Raises:
        CheckpointError: see `import_network`.
    """
    network = without_weights(config)
    keys = list(network.state_dict())
    own = network.state_dict()
    wanted = {f"arr_{number}.npy": tuple(own[key].shape) for number, key in enumerate(keys)}
    state: dict[str, _Array] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            found = set(archive.namelist())
            if found != set(wanted):
                odd = sorted(found ^ set(wanted))[0]
                raise CheckpointError(f"{path}: expected arrays arr_0 to arr_{len(keys) - 1}; {odd} does not fit that")
            for number, (key, (member, shape)) in enumerate(zip(keys, wanted.items(), strict=True)):
                value = _read_npy(path, archive, member, shape)
                # W and b in turn, first those of the encoder.
                turned = value.ndim == 4 and number // 2 >= _ENCODER_LAYERS
                state[key] = (value[:, :, ::-1, ::-1] if turned else value).copy()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, struct.error) as error:
        raise CheckpointError(f"{path}: not an .npz that can be read ({error})") from error
    return _finite(path, state)


def _read_npy(path: Path, archive: zipfile.ZipFile, member: str, shape: tuple[int, ...]) -> _Array:
    """An array, once its header says that it is the one expected: nothing larger is unpacked."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        found, fortran, dtype = read(file)
        if found != shape or dtype != np.float32:
            raise CheckpointError(f"{path}: {member} is {found} {dtype}, expected {shape} float32")
        data = file.read(4 * math.prod(shape))
        if len(data) != 4 * math.prod(shape):
            raise CheckpointError(f"{path}: {member} ends early; the file is damaged")
    values = np.frombuffer(data, dtype)
    return np.asarray(values.reshape(shape[::-1]).T if fortran else values.reshape(shape), np.float32)


def read_salnet(path: Path, config: NetworkConfig) -> dict[str, _Array]:
    """The state dict of the deep network in a .caffemodel.

    Raises:
        CheckpointError: see `import_network`.
    """
    layers = read_caffemodel(path)
    state: dict[str, _Array] = {}
    for key, own in without_weights(config).state_dict().items():
        name, _, part = key.partition(".")
        blobs = layers.get(name, [])
        place = 0 if part == "weight" else 1
        if len(blobs) <= place:
            raise CheckpointError(f"{path}: layer {name} has no {part}; it has layers {', '.join(layers) or 'none'}")
        value = blobs[place]
        # An old file writes the bias as (1, 1, 1, n).
        if value.size != own.numel() or (part == "weight" and value.shape != tuple(own.shape)):
            raise CheckpointError(f"{path}: {key} is {value.shape}, expected {tuple(own.shape)}")
        state[key] = value.reshape(tuple(own.shape))
    return _finite(path, state)


def read_caffemodel(path: Path) -> dict[str, list[_Array]]:
    """The blobs of each layer that has some, of a Caffe model's file, old or new.

    Raises:
        CheckpointError: the file is missing, damaged or none of that kind.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise CheckpointError(f"{path}: {size} bytes; no published file has more than {_MOST_BYTES}")
        content = memoryview(path.read_bytes())
        layers: dict[str, list[_Array]] = {}
        for field, value in _fields(content):
            # NetParameter: layer = 100, in files before 2015 layers = 2.
            if field in (100, 2) and isinstance(value, memoryview):
                name, blobs = _layer(value, *((1, 7) if field == 100 else (4, 6)))
                if blobs:
                    layers[name] = blobs
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, IndexError, struct.error) as error:
        raise CheckpointError(f"{path}: not a .caffemodel, or damaged ({error})") from error
    if not layers:
        raise CheckpointError(f"{path}: not a .caffemodel, or one without weights")
    return layers


def _layer(content: memoryview, name_field: int, blobs_field: int) -> tuple[str, list[_Array]]:
    name, blobs = "", []
    for field, value in _fields(content):
        if isinstance(value, memoryview):
            if field == name_field:
                name = bytes(value).decode("utf-8", "replace")
            elif field == blobs_field:
                blobs.append(_blob(value))
    return name, blobs


def _blob(content: memoryview) -> _Array:
    """BlobProto: num, channels, height, width = 1 to 4, data = 5, shape = 7 with dim = 1."""
    old: dict[int, int] = {}
    shape: list[int] | None = None
    parts: list[_Array] = []
    for field, value in _fields(content):
        if isinstance(value, int) and 1 <= field <= 4:
            old[field] = value
        elif isinstance(value, memoryview) and field == 5:
            parts.append(np.frombuffer(value, "<f4").astype(np.float32))
        elif isinstance(value, memoryview) and field == 7:
            shape = []
            for inner, dimension in _fields(value):
                if inner == 1:
                    shape += [dimension] if isinstance(dimension, int) else list(_varints(dimension))
    sides = shape if shape is not None else [old.get(place, 1) for place in range(1, 5)]
    data = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if data.size != math.prod(sides):
        raise ValueError(f"a blob of {sides} holds {data.size} numbers")
    return data.reshape(sides)


def _fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message: varints as they are, all else as bytes."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(content, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(content, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if at + length > len(content):
            raise ValueError(f"it ends early, at byte {len(content)}")
        yield key >> 3, content[at : at + length]
        at += length


def _varints(content: memoryview) -> Iterator[int]:
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        yield value


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError(f"a number without an end at byte {at}")


def _finite(path: Path, state: dict[str, _Array]) -> dict[str, _Array]:
    for key, value in state.items():
        if not np.isfinite(value).all():
            raise CheckpointError(f"{path}: {key} holds values that are not finite; the file is damaged")
    return state
