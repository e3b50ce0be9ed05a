"""A weight file of SAM as its authors published it (HDF5 as Keras 1.1 wrote it) in, a state dict of our network out.

The file: a root attribute `layer_names`, one group a layer with an attribute `weight_names`, one dataset an array.
Layers of the backbones have fixed names. The others carry counters that differ from file to file
(convolution2d_7): they are taken by kind, and within a kind in the order of `layer_names`, as the authors' code loads.
Theano convolves with flipped kernels, torch does not: every kernel is rotated by half a turn.

Nothing is unpickled, and nothing outside the file is opened: links and datasets that lead elsewhere are refused. The
file is read in a process of its own (`vidsal.isolated`), which does not wait for torch.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from vidsal.errors import CheckpointError
from vidsal.files import sha256_of
from vidsal.isolated import read_isolated

if TYPE_CHECKING:
    import torch

__all__ = [
    "MOST_BYTES",
    "SIGNATURE",
    "PublishedNetwork",
    "PublishedWeights",
    "read_arrays",
    "read_layer_names",
    "read_layers",
    "read_names",
    "read_network_layers",
    "read_published",
    "require_h5py",
    "what_it_is",
]

PublishedNetwork = Literal["sam-resnet", "sam-vgg"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""What an HDF5 file begins with."""

# What a pickle begins with: PROTO of the binary protocols; the first opcodes of protocol 0 and 1.
_PICKLE = re.compile(rb"\x80[\x00-\x08]|\(d[pq]|\(l[pq]|\}q|\]q|c[A-Za-z_][\w.]*\n|\(i[A-Za-z_][\w.]*\n")
_EXPECTED = "expected HDF5, which the published files of Keras are, whatever their suffix (.h5, .pkl)"
_SECONDS = 600.0
_NAMES_SHOWN = 4
# What the weights of a network that is not of SAM's family may take.
_MOST_OF_ANY = 1 << 30
_CHANNELS = 512
_PRIORS = 16
# The order of the gates, in AttentiveConvLSTM.gates_input and gates_hidden as in the files.
_GATES = "ifco"


@dataclass(frozen=True, eq=False)
class PublishedWeights:
    """A published weight file, read and checked."""

    network: PublishedNetwork
    """The network the layers belong to; the 2015 and 2017 releases of SAM-ResNet cannot be told apart by them."""
    state: dict[str, torch.Tensor]
    """Our state dict of that network: float32 as stored in the file, kernels rotated."""
    sha256: str
    """Of the whole file, in hexadecimal."""


@dataclass(frozen=True)
class _Slot:
    """Where one array of the file goes."""

    key: str
    shape: tuple[int, ...]
    gate: int | None = None
    """Which quarter of our fused tensor it fills; None where it is the whole."""


@dataclass(frozen=True)
class _LayerPlan:
    """What the file of one network holds."""

    fixed: dict[str, list[_Slot]]
    """By layer name."""
    counted: dict[str, list[list[_Slot]]]
    """By kind: one entry a layer of that kind, in order."""

    def slots(self) -> Iterator[_Slot]:
        """All arrays."""
        for slots in (*self.fixed.values(), *itertools.chain(*self.counted.values())):
            yield from slots


def read_published(path: Path | str) -> PublishedWeights:
    """Read one of the three published files, or one that the authors' code saved in the same layout.

    The file of a whole model (group `model_weights`) is accepted too.

    Args:
        path: an HDF5 file, whatever its suffix: the published ones end in .pkl but are none.

    Raises:
        CheckpointError: the file is missing, truncated, a pickle, no HDF5, not in Theano's order, or of another
            network; an array is missing, left over, of another shape, not finite, or leads outside the file; or
            h5py is not installed.
    """
    import torch

    path = Path(path)
    _check_signature(path)
    require_h5py()
    sha256 = sha256_of(path)
    read = read_isolated(read_arrays, path, failure=CheckpointError, seconds=_SECONDS)
    state = {name: torch.from_numpy(value) for name, value in read["state"].items()}
    return PublishedWeights(read["network"], state, sha256)


def read_arrays(path: Path) -> dict[str, Any]:
    """What `read_published` does in the other process: {"network": its name, "state": {key: array}}.

    Raises:
        CheckpointError: as there.
    """
    with _layers_of(path) as layers:
        network = layers.network()
        return {"network": network, "state": layers.convert(_LAYER_PLANS[network], network)}


def read_network_layers(path: Path, *, only: Sequence[str] = ()) -> dict[str, dict[str, npt.NDArray[np.float32]]]:
    """Every array of any network's file that Keras 1 saved on Theano, with the same care.

    Args:
        path: an HDF5 file, whatever its suffix.
        only: names of layers, to leave out others, which may be most of a file; none: all of them.

    Returns:
        By layer, in the order of `layer_names`, and by the name of the array; layers without any are left out. A model
        that is a layer of another is one layer with the arrays of all of its own. Kernels are as stored, not rotated.

    Raises:
        CheckpointError: as `read_published` does over damaged and hostile files, and where h5py is not installed.
    """
    _check_signature(path)
    require_h5py()
    layers: dict[str, dict[str, npt.NDArray[np.float32]]] = read_isolated(
        read_layers, path, *only, failure=CheckpointError, seconds=_SECONDS
    )
    return layers


def read_layers(path: Path, *only: str) -> dict[str, dict[str, npt.NDArray[np.float32]]]:
    """What `read_network_layers` does in the other process.

    Raises:
        CheckpointError: as there.
    """
    with _layers_of(path) as layers:
        if only:
            layers.arrays = {name: arrays for name, arrays in layers.arrays.items() if name in only}
        return layers.everything()


def read_layer_names(path: Path) -> list[str]:
    """Names of the layers with weights of any network's file that Keras 1 saved on Theano, in the file's order.

    Raises:
        CheckpointError: as `read_network_layers`.
    """
    _check_signature(path)
    require_h5py()
    found: dict[str, list[str]] = read_isolated(read_names, path, failure=CheckpointError, seconds=_SECONDS)
    return found["names"]


def read_names(path: Path) -> dict[str, list[str]]:
    """What `read_layer_names` does in the other process.

    Raises:
        CheckpointError: as there.
    """
    with _layers_of(path) as layers:
        return {"names": list(layers.arrays)}


@contextmanager
def _layers_of(path: Path) -> Iterator[_Layers]:
    with _reading(path), _h5py().File(path, "r", locking="best-effort") as file:
        root = _child(file, "model_weights") if file.id.links.exists(b"model_weights") else file
        layers = _Layers(path, root)
        layers.refuse_tensorflow(file.attrs.get("backend", root.attrs.get("backend")))
        yield layers


def require_h5py() -> None:
    """See that h5py, which is an optional extra, is there.

    Raises:
        CheckpointError: it is not installed.
    """
    # Looked for, not imported: it is used in the other process.
    if importlib.util.find_spec("h5py") is None:
        raise CheckpointError(
            "reading the published weight files needs h5py, which is not installed: pip install 'vidsal[hdf5]'"
        )


def _h5py() -> Any:
    return importlib.import_module("h5py")


class _Layers:
    """The layers of an open file, in the order of `layer_names`."""

    def __init__(self, path: Path, root: Any) -> None:
        self.path = path
        if "layer_names" not in root.attrs:
            raise CheckpointError(
                f"{path}: an HDF5 file, but not one that Keras 1 saved (no attribute layer_names), as the "
                "published files are"
            )
        names = self._names(root.attrs["layer_names"], "layer_names")
        self.arrays: dict[str, list[Any]] = {}
        self.names: dict[str, list[str]] = {}
        self.surplus = sorted(set(root.keys()) - set(names))
        for name in names:
            group = _child(root, name)
            weights = self._names(group.attrs["weight_names"], f"weight_names of {name}")
            self.surplus += [f"{name}/{key}" for key in sorted(set(group) - {w.split("/")[0] for w in weights})]
            if weights:
                self.arrays[name] = [_child(group, weight) for weight in weights]
                self.names[name] = weights

    def _names(self, value: Any, what: str) -> list[str]:
        if isinstance(value, _h5py().Empty):
            return []
        texts = [str(t, "utf-8") if isinstance(t, bytes) else t for t in np.asarray(value).ravel().tolist()]
        if not all(isinstance(text, str) for text in texts) or len(set(texts)) != len(texts):
            raise CheckpointError(f"{self.path}: {what} is not a list of different names; the file is damaged")
        return texts

    def network(self) -> PublishedNetwork:
        """Which network the fixed names belong to."""
        if "conv1" in self.arrays or any(name.startswith("res2a") for name in self.arrays):
            return "sam-resnet"
        if any(name.startswith("block1_conv") for name in self.arrays):
            return "sam-vgg"
        held = f"its layers with weights: {_first(list(self.arrays))}" if self.arrays else "no layer has weights"
        raise CheckpointError(
            f"{self.path}: weights of another network ({held}); vidsal reads the published files of SAM-ResNet and "
            "SAM-VGG"
        )

    def refuse_tensorflow(self, backend: Any) -> None:
        text = backend.decode("utf-8", "replace") if isinstance(backend, bytes) else backend
        if text is not None and str(text) != "theano":
            raise CheckpointError(
                f"{self.path}: saved with the backend {text}, whose kernels are not stored as Theano's; vidsal reads "
                "files as the authors published them, from Theano"
            )

    def convert(self, plan: _LayerPlan, network: str) -> dict[str, npt.NDArray[Any]]:
        """Our state dict, once every layer and shape is as planned."""
        pairs = [(name, slots) for name, slots in plan.fixed.items() if name in self.arrays]
        missing = [name for name in plan.fixed if name not in self.arrays]
        for kind, entries in plan.counted.items():
            found = [name for name in self.arrays if re.fullmatch(rf"{kind}_\d+", name)]
            # The first of each kind are taken; one too many is left over.
            pairs += list(zip(found, entries, strict=False))
            missing += [f"{kind}_{number + 1}" for number in range(len(found), len(entries))]
        taken = {name for name, _ in pairs}
        surplus = [*(name for name in self.arrays if name not in taken), *self.surplus]
        wrong = []
        for name, slots in pairs:
            arrays = self.arrays[name]
            if len(arrays) != len(slots):
                wrong.append(f"{name} holds {len(arrays)} arrays, expected {len(slots)}")
                continue
            for array, slot in zip(arrays, slots, strict=True):
                self._check_array(name, array, slot)
                if array.shape != slot.shape:
                    wrong.append(f"{name} is {array.shape}, expected {slot.shape}")
        if missing or surplus or wrong:
            faults = {"missing": missing, "left over": surplus, "of another shape": wrong}
            parts = [f"{len(names)} {what} ({_first(names)})" for what, names in faults.items() if names]
            raise CheckpointError(f"{self.path}: its layers are not those of {network}: {', '.join(parts)}")
        return self._read(pairs)

    def everything(self) -> dict[str, dict[str, npt.NDArray[np.float32]]]:
        """All arrays by layer and name, once each is seen to be one, and all of them to fit into memory."""
        if self.surplus:
            raise CheckpointError(f"{self.path}: {len(self.surplus)} arrays of no layer ({_first(self.surplus)})")
        size = 0
        for name, arrays in self.arrays.items():
            for array in arrays:
                self._check_kind(name, array)
                size += 4 * math.prod(array.shape)
        if size > _MOST_OF_ANY:
            raise CheckpointError(f"{self.path}: weights of {size} bytes; no published file has over {_MOST_OF_ANY}")
        found: dict[str, dict[str, npt.NDArray[np.float32]]] = {}
        for layer, arrays in self.arrays.items():
            with np.errstate(over="ignore"):
                values = [np.asarray(array[()], dtype=np.float32) for array in arrays]
            found[layer] = dict(zip(self.names[layer], values, strict=True))
        return found

    def _check_kind(self, name: str, array: Any) -> None:
        if not hasattr(array, "is_virtual"):
            raise CheckpointError(f"{self.path}: {name} holds something that is no array; the file is damaged")
        if array.is_virtual or array.external:
            raise CheckpointError(f"{self.path}: an array of {name} lies in another file; vidsal opens only this one")
        if array.dtype.kind != "f":
            raise CheckpointError(f"{self.path}: an array of {name} holds {array.dtype}, expected floating point")

    def _check_array(self, name: str, array: Any, slot: _Slot) -> None:
        self._check_kind(name, array)
        out_in, size = slot.shape[:2], slot.shape[2:]
        if size and array.shape != slot.shape and array.shape == (*size, *reversed(out_in)):
            raise CheckpointError(
                f"{self.path}: kernels in TensorFlow's order (rows, columns, in, out): {name} is {array.shape}, "
                f"expected {slot.shape}; vidsal reads files as the authors published them, from Theano"
            )

    def _read(self, pairs: Sequence[tuple[str, list[_Slot]]]) -> dict[str, npt.NDArray[Any]]:
        state: dict[str, npt.NDArray[Any]] = {}
        for name, slots in pairs:
            for array, slot in zip(self.arrays[name], slots, strict=True):
                with np.errstate(over="ignore"):
                    value = np.asarray(array[()], dtype=np.float32)
                self._check_values(name, slot, value)
                if value.ndim == 4:
                    value = np.ascontiguousarray(value[:, :, ::-1, ::-1])
                if slot.gate is None:
                    state[slot.key] = value
                else:
                    rows, *rest = slot.shape
                    if slot.key not in state:
                        state[slot.key] = np.empty((len(_GATES) * rows, *rest), np.float32)
                    state[slot.key][slot.gate * rows : (slot.gate + 1) * rows] = value
        for key in [key for key in state if key.endswith(".running_var")]:
            state[f"{key.removesuffix('running_var')}num_batches_tracked"] = np.zeros((), np.int64)
        return state

    def _check_values(self, name: str, slot: _Slot, value: npt.NDArray[np.float32]) -> None:
        finite = np.isfinite(value)
        if not finite.all():
            raise CheckpointError(
                f"{self.path}: {finite.size - finite.sum()} values of {name} are not finite; the file is damaged"
            )
        if slot.key.endswith(".running_var") and bool((value < 0).any()):
            raise CheckpointError(f"{self.path}: {name} holds negative variances; the file is damaged")


def _child(group: Any, name: str) -> Any:
    """What lies under a name in a group; only by hard links, so never in another file."""
    h5py = _h5py()
    for part in name.split("/"):
        # `in` and `get` would follow a link to see whether it leads anywhere.
        if not part or not isinstance(group, h5py.Group) or not group.id.links.exists(part.encode()):
            raise KeyError(f"there is no {name!r} in it")
        if group.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{name!r} is a link to another place")
        group = group[part]
    return group


def _check_signature(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise CheckpointError(f"{path}: {reason}") from error
    what = what_it_is(head)
    if what is not None:
        raise CheckpointError(f"{path}: {what}; {_EXPECTED}")


def what_it_is(head: bytes) -> str | None:
    """What a file seems to be by its first bytes, in words; None for HDF5."""
    if head.startswith(SIGNATURE):
        return None
    if not head:
        return "the file is empty"
    if _PICKLE.match(head):
        return "a pickle, which vidsal never opens"
    return "a page of a web site, not a weight file" if head.lstrip()[:1] == b"<" else "not an HDF5 file"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what h5py raises over a damaged file into an error of ours."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error.args[0] if error.args else error).split())
        if "truncated" in reason:
            reason = f"the file is truncated: fetch or copy it again ({reason})"
        raise CheckpointError(f"{path}: not a readable file of weights: {reason}") from error


def _first(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


# What the two files hold.


def _convolution(key: str, outputs: int, inputs: int, size: int, *, gate: int | None = None) -> list[_Slot]:
    weight = _Slot(f"{key}.weight", (outputs, inputs, size, size), gate)
    return [weight, _Slot(f"{key}.bias", (outputs,), gate)]


def _batch_norm(key: str, channels: int) -> list[_Slot]:
    # Keras calls the last one running_std; it holds the variance.
    return [_Slot(f"{key}.{name}", (channels,)) for name in ("weight", "bias", "running_mean", "running_var")]


def _recurrence() -> list[_Slot]:
    c = _CHANNELS
    # V_a has no bias.
    slots = [
        *_convolution("recurrence.attention_hidden", c, c, 3),
        *_convolution("recurrence.attention_input", c, c, 3),
        _Slot("recurrence.attention_score.weight", (1, c, 3, 3)),
    ]
    for gate in range(len(_GATES)):
        for key in ("gates_input", "gates_hidden"):
            slots += _convolution(f"recurrence.{key}", c, c, 3, gate=gate)
    return slots


def _counted(convolutions: list[list[_Slot]]) -> dict[str, list[list[_Slot]]]:
    c = _CHANNELS
    return {
        "convolution2d": [*convolutions, _convolution("head.out", 1, c, 1)],
        "attentiveconvlstm": [_recurrence()],
        "learningprior": [[_Slot(f"priors.{n}.parameters_vector", (4 * _PRIORS,))] for n in (0, 1)],
        "atrousconvolution2d": [_convolution(f"prior_convolutions.{n}", c, c + _PRIORS, 5) for n in (0, 1)],
    }


def _resnet() -> _LayerPlan:
    fixed = {"conv1": _convolution("backbone.conv1", 64, 3, 7), "bn_conv1": _batch_norm("backbone.bn1", 64)}
    inputs = 64
    for number, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            outputs = 4 * width
            theirs, ours = f"{number + 2}{'abcdef'[block]}_branch", f"backbone.stages.{number}.{block}"
            parts = {
                "2a": (f"{ours}.conv1", f"{ours}.bn1", width, inputs, 1),
                "2b": (f"{ours}.conv2", f"{ours}.bn2", width, width, 3),
                "2c": (f"{ours}.conv3", f"{ours}.bn3", outputs, width, 1),
            }
            if block == 0:
                parts["1"] = (f"{ours}.shortcut.0", f"{ours}.shortcut.1", outputs, inputs, 1)
            for part, (convolution, norm, channels, into, size) in parts.items():
                fixed[f"res{theirs}{part}"] = _convolution(convolution, channels, into, size)
                fixed[f"bn{theirs}{part}"] = _batch_norm(norm, channels)
            inputs = outputs
    return _LayerPlan(fixed, _counted([_convolution("backbone.project", _CHANNELS, 2048, 3)]))


def _vgg() -> _LayerPlan:
    fixed = {}
    inputs = 3
    for number, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        for index in range(count):
            # A ReLU follows each convolution of our blocks.
            key = f"backbone.blocks.{number}.{2 * index}"
            fixed[f"block{number + 1}_conv{index + 1}"] = _convolution(key, width, inputs, 3)
            inputs = width
    return _LayerPlan(fixed, _counted([]))


_LAYER_PLANS: dict[PublishedNetwork, _LayerPlan] = {"sam-resnet": _resnet(), "sam-vgg": _vgg()}

MOST_BYTES: dict[PublishedNetwork, int] = {
    network: 8 * sum(math.prod(slot.shape) for slot in plan.slots()) + (16 << 20)
    for network, plan in _LAYER_PLANS.items()
}
"""What the file of a network may take: every value in float64, and names and tables of HDF5 beside them."""
