"""A weight file that the authors of SAM published, or its name, in; a checkpoint in the user's cache or elsewhere out.

The files: release 1.0 of github.com/marcellacornia/sam (Cornia, Baraldi, Serra, Cucchiara, IEEE TIP 2018), MIT.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import torch

from vidsal.addresses import hide_secrets
from vidsal.errors import CheckpointError, EncodeError
from vidsal.model import store
from vidsal.model.checkpoint import PRESETS, ModelCard, save_checkpoint
from vidsal.model.keras_hdf5 import (
    MOST_BYTES,
    PublishedNetwork,
    PublishedWeights,
    read_published,
    require_h5py,
    what_it_is,
)
from vidsal.model.sam import SaliencyAttentiveModel

__all__ = ["PUBLISHED", "ImportedWeights", "Publication", "check_target", "fetch_weights", "import_weights"]

_RELEASE = "https://github.com/marcellacornia/sam/releases/download/1.0"


@dataclass(frozen=True)
class Publication:
    """One file of the release."""

    network: PublishedNetwork
    """Whose layers it holds."""
    file: str
    """Its name in the release."""
    salicon: int
    """The year of the release of SALICON it was trained on."""
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    """Scores that the authors published: set to metric to value."""
    bytes: int | None = None
    """Its size; None where it is not known for sure."""
    sha256: str | None = None
    """Of the file, in hexadecimal; None where it is not known for sure."""

    @property
    def url(self) -> str:
        """Its address."""
        return f"{_RELEASE}/{self.file}"


# The release names neither sizes nor hashes. Those of the 2017 file are its Git LFS pointer's in a public repository
# that took it over (MikhailStartsev/ASD_classification); the size is that of its 70,146,561 values in float64 and
# 280 kB of HDF5. Of the other two no copy with a hash is known: they are bounded by what their layers may take, and
# the sha256 of the first fetch is kept.
PUBLISHED: dict[str, Publication] = {
    "sam-resnet": Publication(
        "sam-resnet",
        "sam-resnet_salicon_weights.pkl",
        2015,
        {
            "salicon-2015 test": {"nss": 3.204, "cc": 0.842, "auc": 0.883, "sauc": 0.779},
            "salicon-2015 validation": {"nss": 3.260, "cc": 0.844, "auc": 0.886, "sauc": 0.787},
        },
    ),
    "sam-resnet-2017": Publication(
        "sam-resnet",
        "sam-resnet_salicon2017_weights.pkl",
        2017,
        {"salicon-2017 test": {"nss": 1.990, "cc": 0.899, "sim": 0.793, "auc": 0.865}},
        561_452_496,
        "474031d08b8158d26118880a4c64a1539c522b3d126004d092e425710fa3f511",
    ),
    "sam-vgg": Publication(
        "sam-vgg",
        "sam-vgg_salicon_weights.pkl",
        2015,
        {"salicon-2015 validation": {"nss": 3.219, "cc": 0.830}},
    ),
}
"""The published files, by the name of the preset they belong to."""


@dataclass(frozen=True)
class ImportedWeights:
    """Where imported weights are now."""

    name: str
    """The preset they belong to."""
    path: Path
    """The checkpoint."""
    reason: str
    """How the name was found, for a person."""


def import_weights(
    path: Path | str, *, name: str | None = None, output: Path | None = None, overwrite: bool = False
) -> ImportedWeights:
    """Make a checkpoint of a published weight file.

    Args:
        path: the HDF5 file, as published.
        name: one of `PUBLISHED`. None: by the layers, and SAM-ResNet is "sam-resnet-2017" where the file's name says
            2017.
        output: the checkpoint to write. None: the cache, where `load_model(name)` finds it.
        overwrite: whether a checkpoint that is there may be replaced.

    Raises:
        CheckpointError: as `read_published`; the file is of another network than `name`; or another process is
            writing the same weights.
        EncodeError: a checkpoint is there already, or cannot be written.
    """
    path = Path(path)
    if name is not None:
        check_target(path, output or store.cached_path(name), overwrite=overwrite)
    weights = read_published(path)
    chosen, reason = (name, "as given") if name is not None else _name_of(path, weights)
    _check_network(path, weights, chosen)
    check_target(path, output or store.cached_path(chosen), overwrite=overwrite)
    if output is None and not overwrite:
        _check_other_names(path, weights, chosen)
    if output is not None:
        _save(output, weights, chosen, path.name)
        return ImportedWeights(chosen, output, reason)
    with store.claim(chosen):
        # It may have appeared while the file was read.
        check_target(path, store.cached_path(chosen), overwrite=overwrite)
        return ImportedWeights(chosen, _keep(weights, chosen, str(path.absolute()), path.name), reason)


def fetch_weights(
    name: str,
    *,
    url: str | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> ImportedWeights:
    """Fetch a published weight file and import it into the cache; nothing is fetched if it is there and whole.

    Args:
        name: one of `PUBLISHED`.
        url: another address of the same file; None is that of the release.
        overwrite: whether to fetch it again where it is there, and to take it even if it differs from what was
            fetched before.
        on_progress: called with the bytes there are and the bytes in all, None where unknown.

    Raises:
        CheckpointError: as `store.download` and `read_published`; or the file differs from the published one or from
            that of an earlier fetch.
        EncodeError: the cache cannot be written to.
    """
    # Better now than after 300 MB.
    require_h5py()
    entry = PUBLISHED[name]
    url = url or entry.url
    expected = store.Expected(MOST_BYTES[entry.network], entry.bytes, entry.sha256, refuses=what_it_is)
    with store.claim(name):
        with suppress(CheckpointError):
            if not overwrite:
                return ImportedWeights(name, store.verified_path(name), "it was there already")
        file = store.download(name, url, expected=expected, on_progress=on_progress)
        try:
            weights = read_published(file)
            _check_network(file, weights, name)
            _check_same(name, weights, url, overwrite=overwrite)
        except CheckpointError:
            # The next try must not find it whole and take it as it is.
            store.discard_download(name)
            raise
        path = _keep(weights, name, hide_secrets(url), unquote(Path(urlsplit(url).path).name))
        store.discard_download(name)
    return ImportedWeights(name, path, f"fetched from {hide_secrets(url)}")


def _name_of(path: Path, weights: PublishedWeights) -> tuple[str, str]:
    if weights.network == "sam-resnet" and "2017" in path.name:
        return "sam-resnet-2017", "by its layers, and by the 2017 in its name"
    if weights.network == "sam-resnet":
        return weights.network, "by its layers; if it was trained on SALICON 2017, use --as sam-resnet-2017"
    return weights.network, "by its layers"


def _check_network(path: Path, weights: PublishedWeights, name: str) -> None:
    if weights.network != PUBLISHED[name].network:
        fitting = " or ".join(known for known, entry in PUBLISHED.items() if entry.network == weights.network)
        raise CheckpointError(f"{path}: the weights of {weights.network}, not of {name}: use them as {fitting}")


def _check_other_names(path: Path, weights: PublishedWeights, name: str) -> None:
    """Two releases have the same layers: one file cannot be both."""
    for other, entry in PUBLISHED.items():
        record = store.read_record(other) if other != name and entry.network == weights.network else None
        if record is not None and record.source_sha256 == weights.sha256:
            raise CheckpointError(
                f"{path}: the same file is in the cache as {other} already; use --overwrite to take it as {name} too"
            )


def check_target(path: Path, target: Path, *, overwrite: bool) -> None:
    """See that a checkpoint may be written of a file, before the file is read.

    Raises:
        EncodeError: it is the file itself, no safetensors file by its name, or there already.
    """
    if target.exists() and path.exists() and target.samefile(path):
        raise EncodeError(f"{target} is the file to import itself; choose another name for the checkpoint")
    if target.suffix != ".safetensors":
        raise EncodeError(f"{target}: a checkpoint is a safetensors file; let its name end in .safetensors")
    if target.exists() and not overwrite:
        raise EncodeError(f"{target} exists already; use --overwrite to replace it")


def _check_same(name: str, weights: PublishedWeights, url: str, *, overwrite: bool) -> None:
    record = store.read_record(name) if not overwrite else None
    if record is not None and record.fetched and record.source_sha256 != weights.sha256:
        raise CheckpointError(
            f"{hide_secrets(url)} is not the file that was fetched on {record.date} from {record.source}: its sha256 "
            f"is {weights.sha256[:12]}…, then it was {record.source_sha256[:12]}…; if that is right, use --overwrite"
        )


def _keep(weights: PublishedWeights, name: str, source: str, file_name: str) -> Path:
    return store.keep(
        name, lambda target: _save(target, weights, name, file_name), source=source, source_sha256=weights.sha256
    )


def _save(target: Path, weights: PublishedWeights, name: str, file_name: str) -> None:
    preset = PRESETS[name]
    network = SaliencyAttentiveModel.without_weights(preset.config)
    network.load_state_dict(weights.state, assign=True)
    card = _card(name, file_name, weights.sha256)
    # float32: every value is the published one.
    save_checkpoint(target, network, preprocess=preset.preprocess, card=card, dtype=torch.float32)


def _card(name: str, file_name: str, sha256: str) -> ModelCard:
    entry = PUBLISHED[name]
    return ModelCard(
        name=name,
        description=(
            f"The Saliency Attentive Model, {'SAM-ResNet' if entry.network == 'sam-resnet' else 'SAM-VGG'}, as its "
            "authors published it: Cornia, Baraldi, Serra, Cucchiara, Predicting human eye fixations via an "
            "LSTM-based saliency attentive model, IEEE Transactions on Image Processing, 2018."
        ),
        licence="MIT, as the repository that published them (github.com/marcellacornia/sam)",
        training_data=(
            f"SALICON, release of {entry.salicon}: pictures of MS COCO with attention traced by the mouse",
            "ImageNet, for the backbone before that",
        ),
        initialisation=(
            f"converted from {file_name}, sha256 {sha256}, "
            + (
                f"which is that of the authors' {entry.file} (release 1.0)"
                if sha256 == entry.sha256
                else f"taken for the authors' {entry.file} (release 1.0): its layers fit, but nothing in the file "
                "proves where it is from"
            )
        ),
        scores=entry.scores,
        protocol="Published by the authors, of their own file and single pictures; not measured again here.",
        limits=(
            "Trained on still pictures only: motion as such does not attract it.",
            "Trained on where people moved a mouse over a blurred picture, not on recorded gaze.",
        ),
    )
