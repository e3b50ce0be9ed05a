"""An exported file gives the maps of the network, says what it is, and appears whole and checked or not at all."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from made import CANVAS, LIGHT, TINY, make_checkpoint, make_network
from media import make_video
from torch import nn

from vidsal import export
from vidsal.cli import main
from vidsal.errors import CheckpointError, ConfigError, EncodeError
from vidsal.export import LARGEST_DIFFERENCE, ExportOptions, ExportReport, export_model, export_network
from vidsal.model.checkpoint import ModelCard, read_checkpoint
from vidsal.model.sam import Unroll
from vidsal.preprocess import Preprocessor

REPOSITORY = Path(__file__).resolve().parents[1]
CARD = ModelCard(name="tiny", licence="MIT", limits=("none of this is real",))
CELLS = (TINY.recurrent_channels, CANVAS.height // 16, CANVAS.width // 16)

Arrays = dict[str, npt.NDArray[Any]]

needs_exporter = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript")),
    reason="onnx and onnxscript are not installed: pip install 'vidsal[export]'",
)
needs_runtime = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript and onnxruntime are not all installed: pip install 'vidsal[export]'",
)


# Each network is exported and checked once for the whole file: minutes on a machine that does much else.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """A file of any number of streams that carries the state; exporting is slow, so there is one for all tests."""
    path = tmp_path_factory.mktemp("carried") / "tiny.onnx"
    return export_network(make_network(), path, preprocess=CANVAS, card=CARD)


@pytest.fixture(scope="module")
def run(carried: ExportReport) -> Callable[[Arrays], Arrays]:
    return runner(carried.path)


def runner(path: Path) -> Callable[[Arrays], Arrays]:
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(names, feed), strict=True))


def metadata_of(path: Path) -> dict[str, Any]:
    onnx = importlib.import_module("onnx")
    (entry,) = onnx.load(path).metadata_props
    assert entry.key == "vidsal"
    content: dict[str, Any] = json.loads(entry.value)
    return content


def pictures(*leading: int) -> torch.Tensor:
    noise = np.random.default_rng(5).integers(0, 256, (int(np.prod(leading)), 9, 12, 3), np.uint8)
    pixels = Preprocessor(CANVAS)(noise).contiguous()
    return pixels.reshape(*leading, *pixels.shape[1:])


def zero_state(streams: int) -> Arrays:
    return {name: np.zeros((streams, *CELLS), np.float32) for name in ("hidden", "cell")}


def loop(run: Callable[[Arrays], Arrays], pixels: torch.Tensor, fresh: list[list[bool]]) -> npt.NDArray[np.float32]:
    """(B, T, H, W) log densities, frame after frame as a user of the file makes them."""
    feed, maps = zero_state(len(pixels)), []
    for t in range(pixels.shape[1]):
        feed.update(pixels=pixels[:, t].contiguous().numpy(), fresh=np.array([row[t] for row in fresh]))
        got = run(feed)
        feed.update(hidden=got["next_hidden"], cell=got["next_cell"])
        maps.append(got["log_density"])
    return np.stack(maps, 1)


# What the file computes.


@needs_runtime
def test_a_loop_over_the_file_gives_the_maps_of_the_network(run: Callable[[Arrays], Arrays]) -> None:
    pixels, fresh = pictures(2, 4), [[True, False, False, False], [True, False, True, False]]
    with torch.no_grad():
        wanted, _ = make_network()(pixels, unroll=Unroll.of(fresh, fresh_steps=2))
    got = loop(run, pixels, fresh)
    np.testing.assert_allclose(np.exp(got), wanted.exp(), atol=1e-4 * float(wanted.exp().max()))
    # The flags matter: the same pictures without the cut give other maps, from the cut on.
    uncut = loop(run, pixels, [[True, False, False, False]] * 2)
    np.testing.assert_array_equal(uncut[1, :2], got[1, :2])
    assert np.abs(uncut[1, 2:] - got[1, 2:]).max() > 1e-3


@needs_runtime
def test_streams_of_a_batch_do_not_touch_each_other(run: Callable[[Arrays], Arrays]) -> None:
    pixels = pictures(3, 3)
    fresh = [[True, False, False], [True, True, False], [True, False, True]]
    together = loop(run, pixels, fresh)
    for stream in range(3):
        alone = loop(run, pixels[stream : stream + 1], fresh[stream : stream + 1])
        np.testing.assert_allclose(together[stream], alone[0], atol=1e-5)


@needs_runtime
def test_a_fresh_stream_does_not_look_at_the_state_it_is_given(run: Callable[[Arrays], Arrays]) -> None:
    pixels = pictures(2).numpy()
    broken = {name: np.full((2, *CELLS), np.nan, np.float32) for name in ("hidden", "cell")}
    fresh = run({"pixels": pixels, "fresh": np.array([True, True]), **zero_state(2)})
    for name, value in run({"pixels": pixels, "fresh": np.array([True, True]), **broken}).items():
        np.testing.assert_array_equal(value, fresh[name])
    # A stream that goes on does look.
    half = run({"pixels": pixels, "fresh": np.array([True, False]), **broken})["log_density"]
    assert np.isfinite(half[0]).all() and not np.isfinite(half[1]).any()


@needs_runtime
def test_the_command_writes_a_checkpoint_with_the_state_reset_and_prints_its_path(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint, target = make_checkpoint(tmp_path / "tiny.safetensors", config=LIGHT), tmp_path / "reset.onnx"
    assert main(["export", str(checkpoint), "-o", str(target), "--state=reset", "--steps=1", "--batch", "1"]) == 0
    out, err = capfd.readouterr()
    assert out == f"{target}\n"
    # Two lines of vidsal's own, none of the exporter's.
    assert len(err.splitlines()) == 2 and "agrees with the network" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reset.onnx", "tiny.safetensors"]
    pixels = pictures(1, 2)
    with torch.no_grad():
        wanted, _ = read_checkpoint(checkpoint)[0](pixels, unroll=Unroll.of([[True, True]], fresh_steps=1))
    run = runner(target)
    for t in range(2):
        got = run({"pixels": pixels[:, t].contiguous().numpy()})
        assert got.keys() == {"log_density"}
        np.testing.assert_allclose(np.exp(got["log_density"][0]), wanted[0, t].exp(), rtol=1e-3)
    assert metadata_of(target)["export"] == {"state": "reset", "fresh_steps": 1, "carry_steps": None, "batch": 1}


@needs_runtime
def test_the_example_of_the_page_gives_the_maps_of_the_network_over_the_picture(
    carried: ExportReport, tmp_path: Path
) -> None:
    (code,) = re.findall(
        r"```python\n(.*?)```", (REPOSITORY / "docs" / "guide" / "export.md").read_text(), flags=re.DOTALL
    )
    script = tmp_path / "example.py"
    script.write_text(code)
    # Wider than the canvas: there are bars.
    video = make_video(tmp_path / "clip.mp4", frames=4, width=128, height=64)
    made = list(runpy.run_path(str(script))["densities"](str(carried.path), str(video)))
    with av.open(str(video)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    preprocess = Preprocessor(CANVAS)
    with torch.no_grad():
        log_density, _ = make_network()(preprocess(frames)[None])
    wanted = preprocess.viewport(64, 128).crop(log_density[0]).exp()
    assert [seconds for seconds, _ in made] == pytest.approx([0, 0.04, 0.08, 0.12])
    np.testing.assert_allclose(np.stack([density for _, density in made]), wanted, atol=1e-4 * float(wanted.max()))


# What the file says and holds.


@needs_exporter
def test_the_metadata_say_what_the_checkpoint_would(carried: ExportReport) -> None:
    content = metadata_of(carried.path)
    assert content["config"] == json.loads(json.dumps(dataclasses.asdict(TINY)))
    assert content["preprocess"] == json.loads(json.dumps(dataclasses.asdict(CANVAS)))
    assert content["card"]["licence"] == "MIT" and content["card"]["limits"] == ["none of this is real"]
    assert content["export"] == {"state": "carry", "fresh_steps": 2, "carry_steps": 1, "batch": None}


@needs_exporter
def test_the_report_describes_the_inputs_and_outputs_that_the_file_has(carried: ExportReport) -> None:
    onnx = importlib.import_module("onnx")
    graph = onnx.load(carried.path).graph
    for told, entries in ((carried.inputs, graph.input), (carried.outputs, graph.output)):
        found = {}
        for entry in entries:
            kind = entry.type.tensor_type
            lengths = [length.dim_param or str(length.dim_value) for length in kind.shape.dim]
            shape = f"({', '.join(lengths)}{',' if len(lengths) == 1 else ''})"
            found[entry.name] = f"{np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name} {shape}"
        assert told == found
    assert carried.inputs["pixels"] == "float32 (batch, 3, 48, 64)" and carried.inputs["fresh"] == "bool (batch,)"


@needs_exporter
def test_the_weights_are_held_once(carried: ExportReport) -> None:
    weights = sum(value.numel() * value.element_size() for value in make_network().state_dict().values())
    # The graph itself takes some 20 kB.
    assert weights * 0.9 < carried.path.stat().st_size < weights * 1.5


@needs_exporter
def test_the_file_tells_nothing_of_the_machine_that_made_it(carried: ExportReport) -> None:
    content = carried.path.read_bytes()
    for path in (REPOSITORY, Path(torch.__file__).parent, Path.home()):
        assert str(path).encode() not in content
    assert b"stack_trace" not in content


@needs_exporter
def test_exporting_is_announced_only_once_nothing_given_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.onnx").touch()
    for output, status in (("y.txt", 2), ("there.onnx", 1)):
        assert main(["export", "sam-lite", "--output", str(tmp_path / output)]) == status
        err = capsys.readouterr().err
        assert "error: " in err and "exporting sam-lite" not in err
    begun: list[str] = []
    with pytest.raises(ConfigError):
        export_model("sam-lite", tmp_path / "y.txt", on_begin=lambda: begun.append("begun"))
    assert not begun


def test_exporting_leaves_the_network_as_it_was(
    carried: ExportReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_proto_of(carried.path, monkeypatch)
    network = make_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_network(network, tmp_path / "again.onnx", preprocess=CANVAS, card=CARD)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(value.requires_grad for value in network.parameters()) and not network.training


# What is not written.


def use_proto_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the exporter make, at once, the graph that is in a file."""
    monkeypatch.setattr(export, "_make_proto", lambda *_, **__: importlib.import_module("onnx").load(path))


@needs_runtime
def test_the_check_passes_on_the_right_network_and_tells_another_apart(
    carried: ExportReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_proto_of(carried.path, monkeypatch)
    target = tmp_path / "checked.onnx"
    report = export_network(make_network(), target, preprocess=CANVAS, card=CARD, options=ExportOptions(check=True))
    assert report.difference is not None and report.difference <= LARGEST_DIFFERENCE
    assert "agrees with the network" in str(report)
    # One weight of the recurrence, a little off; then a graph of too few steps on fresh frames.
    nearly = make_network()
    with torch.no_grad():
        nearly.recurrence.gates_hidden.weight[0, 0, 1, 1] += 0.05
    other = make_network(config=dataclasses.replace(TINY, steps=3))
    for number, network in enumerate((nearly, other)):
        missed = tmp_path / f"missed{number}.onnx"
        with pytest.raises(EncodeError, match="differs from the network"):
            export_network(network, missed, preprocess=CANVAS, card=CARD)
    assert [path.name for path in tmp_path.iterdir()] == ["checked.onnx"]


@needs_exporter
def test_without_the_check_it_is_said_that_nothing_was_compared(
    carried: ExportReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_proto_of(carried.path, monkeypatch)
    options = ExportOptions(check=False)
    report = export_network(make_network(1), tmp_path / "m.onnx", preprocess=CANVAS, card=CARD, options=options)
    assert report.difference is None and "not compared" in str(report)


def test_a_difference_that_is_not_a_number_is_never_taken_for_none() -> None:
    nan, one = np.array([np.nan], np.float32), torch.ones(1)
    for difference in (export._larger(0.0, nan, one), export._larger(export._larger(0.0, nan, one), one.numpy(), one)):
        assert not difference <= LARGEST_DIFFERENCE


@needs_exporter
def test_where_the_disk_is_full_nothing_is_left_and_what_was_there_stays(
    carried: ExportReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_proto_of(carried.path, monkeypatch)
    target = tmp_path / "there.onnx"
    target.write_bytes(b"what was there")

    def full(path: Path, _: bytes) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EncodeError, match="No space left"):
        export_network(make_network(), target, preprocess=CANVAS, card=CARD, options=ExportOptions(overwrite=True))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("there.onnx", b"what was there")]


def test_a_file_that_is_there_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    target = tmp_path / "there.onnx"
    target.touch()
    with pytest.raises(EncodeError, match=r"there\.onnx exists already; use overwrite=True"):
        export_model(tmp_path / "nowhere.safetensors", target)


def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for missing, said, options in (
        ({"onnx", "onnxscript"}, "exporting needs onnx and onnxscript", ExportOptions()),
        ({"onnxruntime"}, "needs onnxruntime.*or --no-check", ExportOptions(check=True)),
    ):
        found = {name: None if name in missing else True for name in ("onnx", "onnxscript", "onnxruntime")}
        monkeypatch.setattr(export.importlib.util, "find_spec", found.get)  # type: ignore[attr-defined]
        with pytest.raises(EncodeError, match=said) as caught:
            export_model("sam-lite", tmp_path / "m.onnx", options=options)
        assert "pip install 'vidsal[export]'" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "values", [{"state": "keep"}, {"steps": 0}, {"batch": 0}, {"opset": 17}, {"opset": 24}], ids=str
)
def test_an_option_that_is_not_allowed_is_refused_by_its_name(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(values))} must be"):
        ExportOptions(**values)


@needs_exporter
def test_a_network_in_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="evaluation mode"):
        export_network(make_network().train(), tmp_path / "m.onnx", preprocess=CANVAS, card=CARD)


@needs_exporter
def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no model or file"):
        export_model(tmp_path / "nowhere.safetensors", tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["sam-lite"], 2, "--output"),
        (["sam-light", "-o", "m.onnx"], 2, "did you mean sam-lite"),
        (["sam-lite", "-o", "m.pb"], 2, "must be a file that ends in .onnx"),
        (["sam-lite", "-o", "m.onnx", "--steps", "0"], 2, "steps must be at least 1"),
        (["sam-lite", "-o", "no/such/folder/m.onnx"], 1, "make it first"),
    ],
)
def test_a_wrong_command_line_ends_with_its_status_and_a_line(
    arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        got = main(["export", "-q", *arguments])
    except SystemExit as end:
        got = int(end.code or 0)
    out, err = capsys.readouterr()
    assert got == status and not out
    assert said in err and len(err.splitlines()) == 1


@needs_runtime
def test_a_network_that_compares_frames_takes_and_gives_what_it_saw(tmp_path: Path) -> None:
    network = make_network(config=dataclasses.replace(TINY, motion_channels=4))
    assert network.motion is not None
    nn.init.normal_(network.motion.out.weight, std=1.0)
    # The comparison with the network runs two frames of two streams: a difference to the last frame would show.
    report = export_network(network, tmp_path / "moving.onnx", preprocess=CANVAS, card=CARD)
    assert report.difference is not None and report.difference < LARGEST_DIFFERENCE
    rows, columns = 2 * CELLS[1], 2 * CELLS[2]
    assert report.inputs["seen"] == report.outputs["next_seen"] == f"float32 (batch, 16, {rows}, {columns})"
    run = runner(tmp_path / "moving.onnx")
    pixels = np.random.default_rng(1).normal(size=(1, 3, CANVAS.height, CANVAS.width)).astype(np.float32)
    state = {"hidden": np.zeros((1, *CELLS), np.float32), "cell": np.zeros((1, *CELLS), np.float32)}
    maps = [
        run(
            {
                "pixels": pixels,
                "fresh": np.array([False]),
                **state,
                "seen": np.full((1, 16, rows, columns), value, "f4"),
            }
        )
        for value in (0.0, 3.0)
    ]
    assert np.abs(maps[0]["log_density"] - maps[1]["log_density"]).max() > 1e-3
