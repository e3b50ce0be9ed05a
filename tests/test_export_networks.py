"""Networks of other systems as ONNX files: every one that judges pictures by themselves, and why not the others."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
from pathlib import Path
from typing import cast, get_args

import numpy as np
import pytest
import torch
from made import CANVAS, make_checkpoint, make_network
from test_networks import thin
from torchvision_models import import_torchvision_models

from vidsal.errors import CheckpointError, ConfigError
from vidsal.export import LARGEST_DIFFERENCE, ExportOptions, export_model, export_network
from vidsal.model.checkpoint import ModelCard, save_checkpoint
from vidsal.model.networks.catalogue import build_network, input_of
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.deepgaze2 import DeepGaze2
from vidsal.model.networks.parts import PictureNetwork
from vidsal.model.options import NetworkName

REMEMBER = ("rmdn", "dreyeve")
ALONE = [name for name in get_args(NetworkName) if name not in REMEMBER]

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
        reason="onnx, onnxscript and onnxruntime are not all installed: pip install 'vidsal[export]'",
    ),
]


@pytest.fixture(scope="module", autouse=True)
def torchvision() -> None:
    """Loaded once, however it was built."""
    import_torchvision_models()


def card(name: str) -> ModelCard:
    return ModelCard(name=name, licence="MIT")


@pytest.mark.parametrize("name", ALONE)
def test_a_network_that_judges_pictures_by_themselves_becomes_a_file(name: NetworkName, tmp_path: Path) -> None:
    network, preprocess = cast(PictureNetwork, thin(name)), input_of(name)
    if name == "dva":  # whose crops fit one canvas only, on which large logits are far from each other
        torch.manual_seed(0)
        network = cast(PictureNetwork, build_network(NetworkConfig(name, 1 / 32)).eval())
    else:
        preprocess = dataclasses.replace(preprocess, height=48, width=64)
    report = export_network(network, tmp_path / "a.onnx", preprocess=preprocess, card=card(name))
    rows, columns = preprocess.height, preprocess.width
    assert report.difference is not None and report.difference <= LARGEST_DIFFERENCE
    assert report.inputs == {"pixels": f"float32 (batch, 3, {rows}, {columns})"}
    assert report.outputs == {"log_density": f"float32 (batch, {rows}, {columns})"}
    assert f"each picture by itself, on a canvas of {rows}, {columns};" in str(report)
    # Another number of pictures than the exporter saw, and none of its making.
    scale = 100.0 if preprocess.divisor == 1 else 1.0
    pixels = scale * torch.randn(3, 3, rows, columns, generator=torch.Generator().manual_seed(1))
    session = importlib.import_module("onnxruntime").InferenceSession(
        str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"]
    )
    (got,) = session.run(["log_density"], {"pixels": pixels.numpy()})
    with torch.no_grad():
        wanted = network.log_density(pixels).exp()
    np.testing.assert_allclose(np.exp(got), wanted, atol=1e-4 * float(wanted.max()))
    np.testing.assert_allclose(np.exp(got).sum((1, 2)), 1, atol=1e-4)
    assert wanted.std() > 1e-3 * wanted.max()
    held = json.loads(session.get_modelmeta().custom_metadata_map["vidsal"])
    assert held["export"] == {"state": "none", "fresh_steps": None, "carry_steps": None, "batch": None}
    # What a user of the file has to do with pictures: never a canvas that follows them.
    assert held["preprocess"]["fit"] == ("stretch" if preprocess.fit == "stretch" else "letterbox")
    assert held["config"]["network"] == name and held["card"]["licence"] == "MIT"


def test_a_canvas_that_follows_the_picture_is_made_one_size(tmp_path: Path) -> None:
    network = cast(PictureNetwork, thin("salnet"))
    asked = ExportOptions(canvas=(36, 64), check=False)
    report = export_network(
        network, tmp_path / "a.onnx", preprocess=input_of("salnet"), card=card("salnet"), options=asked
    )
    assert report.inputs == {"pixels": "float32 (batch, 3, 36, 64)"} and report.difference is None
    with pytest.raises(ConfigError, match=r"canvas must be of multiples of 4 for this network, got 34,64"):
        export_network(
            cast(PictureNetwork, thin("deepgaze-1")),
            tmp_path / "b.onnx",
            preprocess=input_of("deepgaze-1"),
            card=card("deepgaze-1"),
            options=ExportOptions(canvas=(34, 64)),
        )


def test_a_canvas_of_the_pictures_shape_is_made_one_size_too(tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    of_its_shape = dataclasses.replace(CANVAS, fit="shape", cells=16)
    save_checkpoint(own, make_network(), preprocess=of_its_shape, card=ModelCard(name="tiny"))
    report = export_model(own, tmp_path / "a.onnx", options=ExportOptions(canvas=(48, 80)))
    assert report.inputs["pixels"] == "float32 (batch, 3, 48, 80)"
    properties = importlib.import_module("onnx").load(tmp_path / "a.onnx").metadata_props
    held = json.loads({one.key: one.value for one in properties}["vidsal"])
    assert held["preprocess"]["fit"] == "letterbox" and held["preprocess"]["width"] == 80
    plain = export_model(own, tmp_path / "b.onnx", options=ExportOptions(check=False))
    assert plain.inputs["pixels"] == "float32 (batch, 3, 48, 64)"
    with pytest.raises(ConfigError, match=r"canvas must be of multiples of 16 for this network, got 48,72"):
        export_model(own, tmp_path / "c.onnx", options=ExportOptions(canvas=(48, 72)))


def test_an_option_for_other_networks_is_refused(tmp_path: Path) -> None:
    def refused(name: NetworkName, options: ExportOptions, says: str) -> None:
        network = cast(PictureNetwork, thin(name))
        with pytest.raises(ConfigError, match=says):
            export_network(network, tmp_path / "a.onnx", preprocess=input_of(name), card=card(name), options=options)

    refused("salgan", ExportOptions(steps=1), "steps is for networks that refine a state")
    refused("salgan", ExportOptions(canvas=(96, 128)), "canvas is for networks whose canvas follows the picture")
    own = make_checkpoint(tmp_path / "letterbox.safetensors")
    with pytest.raises(ConfigError, match="this one has one canvas for all pictures"):
        export_model(own, tmp_path / "a.onnx", options=ExportOptions(canvas=(CANVAS.height, CANVAS.width)))
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize("name", REMEMBER)
def test_a_network_that_remembers_frames_is_refused_by_why(name: NetworkName, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, thin(name), preprocess=input_of(name), card=card(name))
    with pytest.raises(CheckpointError, match=f"^{name} cannot be exported: networks of SAM's family can be"):
        export_model(path, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_the_blur_of_a_file_reaches_as_far_as_it_was_learnt(tmp_path: Path) -> None:
    network = cast(DeepGaze2, thin("deepgaze-2"))
    preprocess = dataclasses.replace(input_of("deepgaze-2"), height=48, width=64)
    with torch.no_grad():
        network.sigma.fill_(1.5)
    made = export_network(network, tmp_path / "a.onnx", preprocess=preprocess, card=card("deepgaze-2"))
    assert made.difference is not None and made.difference <= LARGEST_DIFFERENCE
    # The network itself goes on to follow its weights.
    with torch.no_grad():
        narrow = network.stages(torch.zeros(1, 3, 48, 64))["blurred"]
        network.sigma.fill_(6.0)
        assert not torch.equal(network.stages(torch.zeros(1, 3, 48, 64))["blurred"], narrow)
    assert network._radius is None
