"""Weight files of other systems, given without a name: which one each looks like, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from test_baselines_published import AIM
from test_cli import status_of
from test_dreyeve import keras_file
from test_dreyeve import thin as thin_dreyeve
from test_networks_published import (
    caffemodel,
    deepgaze1_tensors,
    dva_file,
    edn_files,
    ml_net_arrays,
    ml_net_file,
    opensalicon_blobs,
    opensalicon_file,
    salgan_arrays,
    thin,
    thin_salnet,
)
from test_weights import written

from vidsal.model.baselines.published import FILTER_FILES
from vidsal.model.networks.published import IMPORTED
from vidsal.model.recognise import looks_like
from vidsal.model.release import PUBLISHED


def torch_file(path: Path, tensors: dict[str, torch.Tensor], *, old: bool = False) -> None:
    torch.save(tensors, path, _use_new_zipfile_serialization=not old)


def npz_file(path: Path, arrays: list[np.ndarray]) -> None:
    # By name, `savez` would add an ending.
    with path.open("wb") as file:
        np.savez(file, *arrays)


def mat_file(path: Path, content: dict[str, np.ndarray]) -> None:
    savemat(path, content, appendmat=False, do_compression=len(content) % 2 == 0)


FILES: list[tuple[str, Callable[[Path], object]]] = [
    ("dreyeve", lambda path: keras_file(path, thin_dreyeve(("image", "flow", "segmentation"), onnx=b"x"))),
    ("ml-net", lambda path: ml_net_file(path, ml_net_arrays())),
    ("salgan", lambda path: npz_file(path, salgan_arrays())),
    ("salnet", lambda path: path.write_bytes(caffemodel(thin_salnet()))),
    ("salnet", lambda path: path.write_bytes(caffemodel(thin_salnet(), old=True))),
    ("deepgaze-1", lambda path: torch_file(path, deepgaze1_tensors())),
    ("deepgaze-1", lambda path: torch_file(path, deepgaze1_tensors(), old=True)),
    ("salicon-net", lambda path: opensalicon_file(path, opensalicon_blobs())),
    ("dva", lambda path: dva_file(path, thin("dva"))),
    ("edn", lambda path: edn_files(path.parent, 40)[0].rename(path)),
    ("aim", lambda path: mat_file(path, {"B": AIM})),
    ("sun", lambda path: mat_file(path, {name: np.ones((3, 3)) for name in ("B1", "sigmas", "thetas")})),
    ("icl", lambda path: mat_file(path, {"A": np.eye(3), "W": np.eye(3)})),
]


def test_files_of_every_model_that_can_be_imported_are_tried() -> None:
    assert {name for name, _ in FILES} == {*IMPORTED, *FILTER_FILES}


@pytest.mark.parametrize(("name", "make"), FILES)
def test_a_file_of_another_system_given_without_a_name_is_answered_with_the_name(
    name: str, make: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights"
    make(path)
    assert status_of("weights", "import", path) == 1
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    says = f"{re.escape(str(path))}: read as a file of SAM's, but it looks like one of {name} \\(.+\\): "
    assert re.fullmatch(f"vidsal: error: {says}use --as {name} --output FILE.safetensors\n", err)
    assert status_of("weights", "import", path, "--output", tmp_path / "o.safetensors") == 1
    assert re.fullmatch(f"vidsal: error: {says}use --as {name}\n", capsys.readouterr().err)
    assert not (tmp_path / "o.safetensors").exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("hello"),
        lambda path: npz_file(path, salgan_arrays()[:-1]),
        lambda path: path.write_bytes(b"PK\x03\x04 and no more"),
        lambda path: torch_file(path, {"conv.weight": torch.ones(2)}),
        lambda path: torch_file(path, {"conv.weight": torch.ones(2)}, old=True),
        lambda path: mat_file(path, {"other": np.ones(3)}),
        lambda path: path.write_bytes(b"MATLAB 5.0 MAT-file, cut short"),
        lambda path: path.write_bytes(caffemodel(thin_salnet()).replace(b"conv9", b"conf9")),
        # Keras's own VGG, which SAM begins with.
        lambda path: written(path, attentiveconvlstm_1=None),
    ],
)
def test_of_a_file_that_looks_like_none_it_is_said_how_it_was_read_and_what_can_be_named(
    make: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights"
    make(path)
    assert looks_like(path) is None
    known = ", ".join([*PUBLISHED, *IMPORTED, *FILTER_FILES])
    said = f"; it was read as a file of SAM's, since --as names no other model: --as takes {known}\n"
    assert status_of("weights", "import", path) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"vidsal: error: {path}: ") and err.endswith(said) and len(err.splitlines()) == 1
    # Whoever names a model is told nothing of others.
    assert status_of("weights", "import", path, "--as", "sam-vgg") == 1
    assert "--as takes" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "make",
    [
        lambda path: written(path, learningprior_2=None),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"),
        lambda path: None,
        lambda path: path.mkdir(),
    ],
)
def test_a_damaged_file_of_sam_and_one_that_is_not_there_are_not_taken_for_another_models(
    make: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights"
    make(path)
    assert status_of("weights", "import", path) == 1
    assert "--as" not in capsys.readouterr().err
