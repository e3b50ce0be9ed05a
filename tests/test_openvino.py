"""OpenVINO in torch's place: the same maps and states, whatever comes at once, and errors where it cannot be."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from made import CANVAS, TINY, make_checkpoint, make_network
from media import make_video, numbered_picture

from vidsal.cli import main
from vidsal.errors import ConfigError
from vidsal.model.checkpoint import ModelCard, SaliencyModel, load_model
from vidsal.model.ensemble import load_ensemble
from vidsal.model.networks.catalogue import build_network
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.openvino import OpenVinoNetwork
from vidsal.model.recurrent import SAMState, Unroll
from vidsal.model.sam import SAMConfig

COLUMNS = ("centroid_x", "centroid_y", "spread_x", "entropy_bits")
MOTION = dataclasses.replace(TINY, motion_channels=8)

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDSAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


def frames_of(videos: int, times: int) -> torch.Tensor:
    return torch.randn(videos, times, 3, 48, 64, generator=torch.Generator().manual_seed(5))


def assert_alike(got: tuple[torch.Tensor, SAMState], wanted: tuple[torch.Tensor, SAMState], unroll: Unroll) -> None:
    for video, length in enumerate(unroll.lengths):
        torch.testing.assert_close(got[0][video, :length].exp(), wanted[0][video, :length].exp(), atol=1e-6, rtol=1e-3)
    for one, other in zip(dataclasses.astuple(got[1]), dataclasses.astuple(wanted[1]), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


@needs_openvino
@pytest.mark.parametrize("config", [TINY, MOTION], ids=["still", "motion"])
@torch.inference_mode()
def test_maps_and_states_are_the_networks_for_videos_side_by_side(config: SAMConfig) -> None:
    network = make_network(3, config)
    fast = OpenVinoNetwork(network, dtype=torch.float32, sha256="")
    first = Unroll.of([[True, False, True], [True, True, False]], fresh_steps=3, lengths=[3, 2])
    clip = frames_of(2, 3)
    begun, wanted = fast(clip, unroll=first), network(clip, unroll=first)
    assert_alike(begun, wanted, first)
    # They go on, one from what it remembers, one afresh; two steps a frame.
    later = Unroll.of([[False], [True]], fresh_steps=2, carry_steps=2)
    more = frames_of(2, 1) + 0.5
    assert_alike(fast(more, begun[1], unroll=later), network(more, wanted[1], unroll=later), later)
    other = fast(more, unroll=later)
    assert not torch.allclose(other[0][0].exp(), fast(more, begun[1], unroll=later)[0][0].exp(), atol=1e-5)


@needs_openvino
@torch.inference_mode()
def test_what_a_video_without_frames_remembers_stays() -> None:
    network = make_network(3, MOTION)
    fast = OpenVinoNetwork(network, dtype=torch.float32, sha256="")
    _, state = fast(frames_of(2, 1))
    unroll = Unroll.of([[False], [False]], fresh_steps=3, lengths=[1, 0])
    _, after = fast(frames_of(2, 1), state, unroll=unroll)
    assert torch.equal(after.hidden[1], state.hidden[1]) and not torch.equal(after.hidden[0], state.hidden[0])


@needs_openvino
@torch.inference_mode()
def test_bfloat16_keeps_the_maps_alike() -> None:
    network, clip = make_network(3, MOTION), frames_of(1, 2)
    exact, fast = (
        OpenVinoNetwork(network, dtype=dtype, sha256="")(clip)[0] for dtype in (torch.float32, torch.bfloat16)
    )
    both = torch.stack([exact.exp().flatten(), fast.exp().flatten()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.99


@needs_openvino
@torch.inference_mode()
def test_graphs_are_kept_and_made_again_where_they_are_damaged(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, clip = make_network(3, MOTION), frames_of(1, 2)
    wanted, _ = OpenVinoNetwork(network, dtype=torch.float32, sha256="mine")(clip)
    kept = sorted(cache.iterdir())
    assert len(kept) == 2  # a fresh frame's, and that of one that goes on
    with monkeypatch.context() as unable:
        unable.setattr(OpenVinoNetwork, "_make", lambda *_: pytest.fail("made again"))
        again, _ = OpenVinoNetwork(network, dtype=torch.float32, sha256="mine")(clip)
    assert torch.equal(again, wanted)
    for path in kept:
        path.write_bytes(path.read_bytes()[:-40])
    again, _ = OpenVinoNetwork(network, dtype=torch.float32, sha256="mine")(clip)
    assert torch.equal(again, wanted)
    # Those of other weights are others.
    OpenVinoNetwork(make_network(4, MOTION), dtype=torch.float32, sha256="other")(clip)
    assert len(list(cache.iterdir())) == 4


@needs_openvino
def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VIDSAL_CACHE", str(tmp_path / "file"))
    fast = OpenVinoNetwork(make_network(), dtype=torch.float32, sha256="mine")
    log_density, _ = fast(frames_of(1, 1))
    assert "cannot be kept" in (fast.failure or "")
    torch.testing.assert_close(log_density.exp().sum((-2, -1)), torch.ones(1, 1))


@needs_openvino
def test_a_run_gives_the_same_table_and_its_record_says_what_computed_it(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.mp4", frames=12, width=96, height=64, picture=numbered_picture(96, 64))
    weights = make_checkpoint(tmp_path / "mine.safetensors", 3, MOTION)
    always = ["--device", "cpu", "--precision", "fp32", "--no-video", "--quality", "high", "--model", str(weights)]
    rows = {}
    for runtime, precision in (("torch", "fp32"), ("openvino", "fp32-openvino")):
        out = tmp_path / runtime
        assert main(["run", str(clip), *always, "--runtime", runtime, "-o", str(out)]) == 0
        with (out / "a.vidsal.csv").open(newline="") as file:
            rows[runtime] = [[float(row[name]) for name in COLUMNS] for row in csv.DictReader(file)]
        record = json.loads((out / "a.vidsal.json").read_text())
        assert record["model"]["precision"] == precision and not record["messages"]
    assert rows["openvino"] == [pytest.approx(row, rel=1e-3, abs=1e-3) for row in rows["torch"]]
    # What the other one made is another result.
    again = ["run", str(clip), *always, "--existing", "skip", "-o", str(tmp_path / "openvino")]
    assert main([*again, "--runtime", "openvino"]) == 0
    assert main([*again, "--runtime", "torch"]) == 3
    assert len(np.unique([row[0] for row in rows["torch"]])) > 1


@needs_openvino
def test_it_is_for_networks_of_sams_family_on_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="computes on the CPU"):
        SaliencyModel(make_network(), preprocess=CANVAS, card=ModelCard("tiny"), device="meta", runtime="openvino")
    network = build_network(NetworkConfig("salnet", 1 / 64))
    with pytest.raises(ConfigError, match="SAM's family, which tiny is not"):
        SaliencyModel(network, preprocess=CANVAS, card=ModelCard("tiny"), runtime="openvino")
    # Models without weights run as they are.
    weights = make_checkpoint(tmp_path / "mine.safetensors")
    both = load_ensemble([weights, "centre-prior"], runtime="openvino", precision="fp32")
    assert both.precision == "fp32-openvino+fp32"
    assert load_model("gbvs", runtime="openvino").precision == "fp32"


def test_without_openvino_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "openvino" else real(name, *more)
    )
    clip = make_video(tmp_path / "a.mp4", frames=2, width=96, height=64)
    assert main(["run", str(clip), "--runtime", "openvino"]) == 2
    assert "--runtime openvino needs OpenVINO, which is not installed: pip install 'vidsal[openvino]'" in (
        capsys.readouterr().err
    )
    assert not list(tmp_path.glob("*.vidsal.*"))


@needs_openvino
def test_openvino_tells_nobody_that_it_is_used(tmp_path: Path) -> None:
    program = (
        "import sys, torch\n"
        "from vidsal.model import load_model\n"
        "model = load_model('sam-lite-fast', runtime='openvino')\n"
        "model(torch.zeros(1, 2, 3, 48, 64))\n"
        "print([name for name in sys.modules if 'openvino_telemetry' in name])\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout == "[]\n"
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_bench_refuses_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--runtime", "openvino"]) == 2
    assert "--runtime openvino has no stages to measure" in capsys.readouterr().err
