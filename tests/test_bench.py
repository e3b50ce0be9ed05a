"""The benchmark: its counts against sums done by hand, its times against a clock, its words against itself."""

from __future__ import annotations

import copy
import functools
import importlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from made import TINY, make_checkpoint
from media import make_video
from torch import nn

from vidsal.bench import (
    BenchOptions,
    LoadOptions,
    MeasureOptions,
    bench,
    count_operations,
    format_bench,
    make_clip,
    make_pictures,
    matrix_peak,
    random_network,
)
from vidsal.bench import clock as clock_module
from vidsal.bench import measure as measure_module
from vidsal.bench.clock import Clock, PartTimes
from vidsal.bench.files import repeat_clip
from vidsal.bench.report import BenchReport
from vidsal.cli import main
from vidsal.errors import ConfigError
from vidsal.model.checkpoint import PRESETS
from vidsal.model.inference import Rewrites
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig, Unroll
from vidsal.pipe.options import ModelOptions

ROOT = Path(__file__).resolve().parents[1]
SMALL = SAMConfig("resnet50", 32, 3, "none", 4, 2, 4, "published")
QUICK = MeasureOptions(repeats=2, seconds=0.0, memory_frames=20, clip_seconds=0.4, long_seconds=1.2)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("bench_sam")


@pytest.fixture(scope="module", autouse=True)
def small_work() -> Iterator[None]:
    """Small matrices, for a short time, and small clips."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure_module, "make_clip", functools.partial(make_clip, height=180, width=320))
        patch.setitem(clock_module._PEAK_SIDES, "cpu", (256,))
        patch.setattr(clock_module, "_PEAK_SECONDS", 0.05)
        yield


@pytest.fixture(scope="module")
def made_once() -> SaliencyAttentiveModel:
    return random_network(SMALL)


@pytest.fixture
def network(made_once: SaliencyAttentiveModel) -> SaliencyAttentiveModel:
    """A small ResNet with random weights, each test's own."""
    return copy.deepcopy(made_once)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> BenchReport:
    """A whole measurement of a tiny model in bfloat16."""
    checkpoint = make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors")
    options = BenchOptions(
        ModelOptions(str(checkpoint), "cpu", "bf16"), LoadOptions(state="reset", streams=2, batch=3), QUICK
    )
    return bench(options)


def test_of_an_ensemble_memory_and_the_run_are_measured_and_that_it_has_no_parts_is_said(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "tiny.safetensors")
    model = ModelOptions(f"{checkpoint},centre-prior", "cpu", "fp32", quality="high")
    made = bench(BenchOptions(model, LoadOptions(state="reset", batch=3), QUICK))
    assert made.model == "high-quality tiny + centre-prior" and made.cases == () and made.precisions == ()
    assert made.memory is not None and made.memory.frames > 0
    (video,) = made.videos
    assert video.frames > 0 and video.stage_cpu_seconds["model"] > 0
    assert "an ensemble has no parts of its own" in format_bench(made)


def test_an_ensemble_without_the_run_has_no_speed_and_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = make_checkpoint(tmp_path / "tiny.safetensors")
    for words in (["-m", f"{checkpoint},centre-prior"], ["-m", str(checkpoint), "--quality", "high"]):
        assert main(["bench", *words, "--no-video"]) == 2
        assert "leave out --no-video, or name one model" in capsys.readouterr().err


def test_a_clip_that_cannot_be_read_is_said_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = make_checkpoint(tmp_path / "tiny.safetensors")
    assert main(["bench", "-m", str(checkpoint), "--device", "cpu", "--clip", str(tmp_path / "none.mp4")]) == 1
    err = capsys.readouterr().err
    assert "none.mp4" in err and "matrix peak" not in err


def test_help_offers_no_runtime_that_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for command, is_offered in (("bench", False), ("run", True)):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert ("--runtime" in capsys.readouterr().out) == is_offered


# Counting.


def test_the_operations_are_those_counted_by_hand() -> None:
    """C = 32 channels on 6 x 8 cells: U_a once, V_a, and per step W_a, four W, four U, the last five not from zero."""
    one, score = 2 * 9 * 32 * 32 * 48, 2 * 9 * 32 * 48
    reset = count_operations(SMALL, height=48, width=64, state="reset", steps=3)
    carry = count_operations(SMALL, height=48, width=64, state="carry", steps=2)
    assert reset.recurrence == one + 3 * (score + 4 * one) + 2 * 5 * one
    assert carry.recurrence == one + 2 * (score + 9 * one)
    for count, steps in ((reset, 3), (carry, 2)):
        assert count.as_written - count.total == steps * (score + 10 * one) - count.recurrence
    assert reset.backbone == carry.backbone > 0
    # Two 5x5 convolutions of 32 + 4 channels, one 1x1, the upsampling by two matrix products.
    upsampling = 2 * (48 * 6 * 8 + 48 * 8 * 64)
    assert reset.read_out == carry.read_out == 2 * 2 * 25 * 36 * 32 * 48 + 2 * 32 * 48 + upsampling


def test_the_published_network_has_the_published_size() -> None:
    """58 + 23 for the backbone, 226 for four steps as written, 32 behind them: GFLOP, measured on another code."""
    counted = count_operations(PRESETS["sam-resnet"].config, height=240, width=320, state="reset", steps=4)
    assert [round(n / 1e9) for n in (counted.backbone, counted.read_out, counted.as_written)] == [81, 32, 340]


# Timing.


def test_the_clock_tells_how_long_each_call_took() -> None:
    clock = Clock(torch.device("cpu"))
    naps = iter([0.02, 0.0, 0.01] + [0.0] * 3)
    taken = clock.measure(lambda: time.sleep(next(naps)), 3, seconds=0.02)
    assert len(taken) == 3
    assert taken[0] >= 0.02 and taken[2] >= 0.01 and taken[1] < taken[2]


def test_the_clock_goes_on_until_the_time_is_full() -> None:
    clock = Clock(torch.device("cpu"))
    taken = clock.measure(lambda: time.sleep(0.002), 2, seconds=0.02)
    assert sum(taken) >= 0.02 and len(taken) % 2 == 0


def test_each_part_is_told_by_its_own_time_and_no_hook_is_left(network: SaliencyAttentiveModel) -> None:
    class Made(Clock):
        """A clock that only moves where a part moves it."""

        now = 0.0

        def mark(self) -> float:
            return self.now

    clock = Made(torch.device("cpu"))
    for part, seconds in ((network.backbone, 3.0), (network.recurrence, 5.0), (network.head, 2.0)):

        def work(*arguments: Any, own: Any = part.forward, seconds: float = seconds, **settings: Any) -> Any:
            clock.now += seconds
            return own(*arguments, **settings)

        part.forward = work  # type: ignore[method-assign]
    with torch.inference_mode(), PartTimes(network, clock) as parts:
        for _ in range(2):
            network(torch.randn(1, 1, 3, 32, 32))
    assert parts.seconds() == {"backbone": [3.0, 3.0], "recurrence": [5.0, 5.0], "priors and head": [2.0, 2.0]}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_the_peak_is_no_less_than_a_product_timed_here() -> None:
    a = torch.randn(256, 256)
    rates = []
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(3):
            a @ a
        rates.append(3 * 2 * 256**3 / (time.perf_counter() - begin))
    # The cores are shared: only the order of magnitude is sure.
    assert matrix_peak("cpu", torch.float32) > min(rates) / 4


# Random weights.


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        pytest.param(SAMConfig("vgg16", 512, 2, "none", 2, 2, 4, "published"), marks=pytest.mark.slow),
        SAMConfig(recurrent_channels=16),
    ],
)
def test_random_networks_neither_fade_nor_blow_up_and_see_the_picture(config: SAMConfig) -> None:
    network = random_network(config, preprocess=PRESETS["sam-resnet"].preprocess)
    sizes: list[float] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *a: sizes.append(float(a[2].std())))
    pixels = 50 * torch.randn(2, 1, 3, 64, 64)
    with torch.inference_mode():
        maps = network(pixels)[0].exp().flatten(1)
    # Nothing near the denormal numbers of float32, which begin at 1e-38.
    assert min(sizes) > 1e-4 and max(sizes) < 1e3
    assert maps.std() > 0.01 * maps.mean()
    assert (maps[0] - maps[1]).abs().max() > 0.01 * maps.max()
    assert not network.training


def test_the_same_seed_gives_the_same_network_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(3)
    light = SAMConfig(recurrent_channels=8)
    first = random_network(light, seed=1).state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))
    second, other = random_network(light, seed=1).state_dict(), random_network(light, seed=2).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.out.weight"], other["head.out.weight"])


# The whole measurement.


def test_a_report_has_every_stage_and_its_sums_hold(report: BenchReport) -> None:
    (case,) = report.cases
    assert (case.state, case.steps, case.streams, case.batch) == ("reset", 2, 2, 3)
    parts = ["backbone", "recurrence", "priors and head"]
    assert list(case.stages) == ["preprocess", "model", *parts, "post-process", "smooth"]
    for spread in case.stages.values():
        assert spread.count >= QUICK.repeats
        assert 0 < spread.least <= spread.first_quartile <= spread.median <= spread.third_quartile <= spread.most
    assert case.frames_per_second == pytest.approx(1 / case.stages["model"].median)
    assert case.operations_per_second == pytest.approx(case.operations.total * case.frames_per_second)
    assert case.share_of_peak == pytest.approx(case.operations_per_second / report.peak_operations_per_second)
    # As the same work done twice: far apart only where frames or streams were counted wrongly.
    assert 0.2 < sum(case.stages[part].median for part in parts) / case.stages["model"].median < 5
    assert case.peak_bytes["resident"] > 50 * 2**20 and case.first_call_seconds > 0


def test_a_report_tells_memory_errors_and_the_run_from_file_to_file(report: BenchReport) -> None:
    assert report.memory is not None and report.memory.frames == QUICK.memory_frames
    (error,) = report.precisions
    assert error.precision == "bf16" and 0.5 < error.least_cc <= error.mean_cc < 1
    assert error.hidden_rms_error > 0 and 0 < error.hidden_error < 2
    (video,) = report.videos
    assert video.frames == 10 and video.frames_per_second > 0
    assert {"decode", "preprocess", "model", "smooth", "video"} <= video.stage_frames_per_second.keys()
    assert list(video.alone_frames_per_second) == ["decode", "predict", "draw and encode"]
    assert video.share_of_slowest == pytest.approx(
        video.frames_per_second / min(video.alone_frames_per_second.values())
    )
    stages = ["decode", "cuts", "preprocess", "model", "smooth", "draw and encode", "table"]
    assert list(video.stage_cpu_seconds) == stages and all(one > 0 for one in video.stage_cpu_seconds.values())
    # A run decodes and encodes as a transcoder does, and predicts beside it.
    assert video.cpu_seconds > video.transcode_cpu_seconds > 0
    assert video.long is not None and video.long.frames == 3 * video.frames
    assert video.long.peak_bytes["resident"] > 50 * 2**20 and video.peak_bytes["resident"] > 50 * 2**20
    assert report.weights == "file" and report.precision == "bf16" and report.canvas == (48, 64)


def test_a_report_is_plain_json_and_readable(report: BenchReport) -> None:
    values = json.loads(json.dumps(report.as_dict()))
    assert values["options"]["load"]["streams"] == 2 and values["machine"]["cores"] >= 1
    assert values["versions"]["torch"] == torch.__version__ and values["date"].endswith("+00:00")
    text = format_bench(report)
    for word in (
        "backbone",
        "recurrence",
        "priors and head",
        "of peak",
        "bf16 against fp32",
        "vidsal run",
        "of the slowest stage alone",
        "CPU ms a frame of each stage alone: decode",
        "transcoding",
        "30 frames: resident",
        "MiB",
    ):
        assert word in text


def test_a_sweep_takes_both_states_and_on_a_cpu_no_large_calls(tmp_path: Path) -> None:
    model = ModelOptions(str(make_checkpoint(tmp_path / "tiny.safetensors")), "cpu")
    measure = MeasureOptions(repeats=1, seconds=0.0, memory_frames=0, video=False)
    swept = bench(BenchOptions(model, LoadOptions(sweep=True), measure))
    ways = {(case.state, case.steps, case.streams, case.batch) for case in swept.cases}
    assert ways == {
        (state, steps, *pair) for state, steps in (("reset", 2), ("carry", 1)) for pair in ((1, 1), (1, 8), (8, 1))
    }
    assert {(error.precision, error.state) for error in swept.precisions} == {("bf16", "reset"), ("bf16", "carry")}
    assert swept.memory is None and swept.videos == ()


def test_a_model_without_weights_is_measured_with_random_ones_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "sam-resnet", replace(PRESETS["sam-resnet"], config=TINY))
    load = LoadOptions(state="carry", batch=1)
    measure = MeasureOptions(repeats=1, seconds=0.0, memory_frames=0, video=False)
    done = bench(BenchOptions(ModelOptions("sam-resnet", "cpu"), load, measure))
    assert done.weights == "random" and "random" in format_bench(done).splitlines()[0]
    assert done.as_dict()["weights"] == "random"


def test_made_pictures_move_and_become_a_clip_of_their_length(tmp_path: Path) -> None:
    first, *_, last = make_pictures(8, height=72, width=128)
    assert first.shape == (72, 128, 3) and (first != last).mean() > 0.1
    from vidsal.decode import open_video

    with open_video(make_clip(tmp_path / "made.mp4", seconds=0.6, height=72, width=128)) as reader:
        assert sum(len(batch) for batch in reader) == 15


def test_a_repeated_clip_shows_the_same_pictures_again_at_times_that_go_on(tmp_path: Path) -> None:
    from vidsal.decode import open_video

    clip = make_clip(tmp_path / "made.mp4", seconds=0.4, height=72, width=128)
    with open_video(repeat_clip(clip, tmp_path / "long.mkv", seconds=1.2)) as reader:
        batches = list(reader)
    frames = np.concatenate([batch.frames for batch in batches])
    times = np.concatenate([batch.pts_seconds for batch in batches])
    assert len(frames) == 30 and np.array_equal(frames[:10], frames[20:])
    np.testing.assert_allclose(np.diff(times), 0.04, atol=2e-3)


def test_no_picture_of_a_clip_is_lost_whatever_the_order_it_is_coded_in(tmp_path: Path) -> None:
    from vidsal.decode import open_video

    clip = make_video(tmp_path / "clip.mkv", frames=10, bframes=3)
    with open_video(repeat_clip(clip, tmp_path / "long.mkv", seconds=1.2)) as reader:
        batches = list(reader)
    assert reader.report.messages == []
    assert sum(len(batch.frames) for batch in batches) == 30


@pytest.mark.parametrize("wrong", [{"streams": 0}, {"batch": 0}, {"steps": 0}, {"state": "keep"}])
def test_loads_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LoadOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"repeats": 0},
        {"seconds": -1.0},
        {"memory_frames": -1},
        {"clip_seconds": 0.0},
        {"long_seconds": -1.0},
        {"threads": 0},
    ],
)
def test_measures_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        MeasureOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.gpu
def test_on_a_gpu_every_part_is_timed_and_memory_is_told(tmp_path: Path) -> None:
    model = ModelOptions(str(make_checkpoint(tmp_path / "tiny.safetensors")), "cuda")
    done = bench(BenchOptions(model, LoadOptions(sweep=True), replace(QUICK, memory_frames=200)))
    assert len(done.cases) == 12 and done.precision == "bf16"
    assert {error.precision for error in done.precisions} == {"bf16", "fp16"}
    assert all(set(case.peak_bytes) == {"resident", "allocated", "reserved"} for case in done.cases)
    assert (
        done.memory is not None and done.memory.late_bytes["allocated"] <= 1.01 * done.memory.early_bytes["allocated"]
    )


# The command.


def test_the_command_prints_the_table_and_writes_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, target = make_checkpoint(tmp_path / "tiny.safetensors"), tmp_path / "bench.json"
    flags = [
        "--device",
        "cpu",
        "--repeats",
        "1",
        "--seconds",
        "0",
        "--memory-frames",
        "0",
        "--no-video",
        "--batch",
        "1",
    ]
    assert main(["bench", "-m", str(checkpoint), "--state", "reset", *flags, "--json", str(target)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("tiny, cpu, fp32, canvas 48x64") and "recurrence" in out and "reset, 2 steps" in err
    values = json.loads(target.read_text(encoding="utf-8"))
    assert values["model"] == "tiny" and values["cases"][0]["state"] == "reset"
    assert out.count("\n") == format_bench_lines(values)


def format_bench_lines(values: dict[str, list[dict[str, dict[str, object]]]]) -> int:
    """Two lines on what and where; a blank one, two of heads, one a stage and one below, for the only case."""
    return 2 + 3 + len(values["cases"][0]["stages"]) + 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--clip-seconds", "0"], "--clip-seconds must be"),
        (["--streams", "0"], "streams must be"),
        (["--json", "nowhere/bench.json"], "no folder"),
        (["--device", "cpu", "--precision", "fp16"], "fp16"),
        (["--model", "sam-lit"], "did you mean sam-lite"),
    ],
)
def test_what_cannot_be_measured_is_told_before_anything_is(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = time.perf_counter()
    assert main(["bench", "-q", *flags]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.count("\n") == 1
    assert time.perf_counter() - begin < 5


# The table of rewrites.


@torch.inference_mode()
def test_the_transcription_and_every_rewrite_give_the_maps_of_the_network(
    tool: ModuleType, network: SaliencyAttentiveModel
) -> None:
    # Every bias and norm at work.
    for name, value in network.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            value.uniform_(-0.1, 0.1)
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    frames = torch.randn(3, 3, 48, 64)
    expected, _ = network(frames[None], unroll=Unroll.of([[True, False, False]], fresh_steps=3))
    plain = tool.Transcription(network)
    rewrites: tuple[Rewrites, ...] = ("fold", "pack", "winograd")
    forwards = [plain, *(tool.Rewritten(network, level) for level in tool.LEVELS)]
    forwards += [tool.Defined(network), *(tool.Defined(network, name) for name in rewrites)]
    for forward in forwards:
        carried = tool.Contender("", "", forward, carry=True).maps(frames, 3)
        assert (carried - expected[0].exp()).abs().max() < 1e-4 * expected.exp().max()
    hidden, cell = plain(frames[:1], None, 3)[1]
    again = network(frames[None, :1], unroll=Unroll.of([[True]], fresh_steps=3))[1]
    assert (hidden - again.hidden).abs().max() < 1e-4 * again.hidden.abs().max()
    assert (cell - again.cell).abs().max() < 1e-4 * again.cell.abs().max()


@pytest.mark.parametrize(
    "name",
    ["backbone.bn1.running_var", "recurrence.gates_hidden.weight", "priors.1.parameters_vector", "head.out.bias"],
)
@torch.inference_mode()
def test_the_comparison_of_maps_sees_a_wrong_weight(
    tool: ModuleType, network: SaliencyAttentiveModel, name: str
) -> None:
    wrong = copy.deepcopy(network)
    wrong.state_dict()[name].mul_(1.5).add_(0.1)
    contenders = [tool.Contender(str(n), "", tool.Transcription(net)) for n, net in enumerate((network, wrong))]
    tool.compare(contenders, torch.randn(2, 3, 48, 64), steps=3, rounds=1)
    assert contenders[0].error == 0 and contenders[1].error > 1e-4
    assert len(contenders[1].seconds) == 1


def row(name: str, **values: object) -> dict[str, object]:
    good: dict[str, object] = {"name": name, "label": name, "of_reference": 9.0, "error": 1e-6, "least_cc": 1.0}
    return {**good, "bound": "bf16" if "bf16" in name else "fp32", **values}


@pytest.mark.parametrize(
    ("name", "values", "count"),
    [
        ("winograd", {}, 0),
        ("winograd", {"of_reference": 1.24}, 1),
        ("winograd", {"error": 2e-4}, 1),
        ("winograd", {"error": float("nan")}, 1),
        ("bf16", {"of_reference": 2.1}, 1),
        ("bf16", {"least_cc": 0.998, "error": 0.5}, 1),
        ("carry_bf16", {"of_reference": 3.9}, 1),
    ],
)
def test_a_missed_promise_is_told(tool: ModuleType, name: str, values: dict[str, object], count: int) -> None:
    rows = {key: row(key) for key in ("plain", "winograd", "bf16", "carry_bf16")} | {name: row(name, **values)}
    assert len(tool.failures({"models": {"sam-resnet": {"rows": list(rows.values())}}})) == count


def test_the_tables_of_the_page_are_those_of_the_last_measurement(tool: ModuleType) -> None:
    page = (ROOT / "docs" / "reports" / "performance.md").read_text(encoding="utf-8")
    report = json.loads((ROOT / "docs" / "reports" / "performance.json").read_text(encoding="utf-8"))
    assert tool.with_tables(page, report) == page
    report["models"]["sam-lite"]["rows"][0]["milliseconds"] *= 2
    assert tool.with_tables(page, report) != page
