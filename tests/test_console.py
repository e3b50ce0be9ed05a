"""What a person sees: on a terminal of 80 columns, in a log file, and with nobody looking."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import pytest
import yaml

from vidsal import console
from vidsal.console import TrainClock, format_card, format_duration, format_scores, make_display
from vidsal.model.checkpoint import ModelCard
from vidsal.model.sam import SAMConfig
from vidsal.train import TrainProgress

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Makes stderr a terminal of 80 columns; in the test itself, as pytest sets stderr anew after the fixtures."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(console, "_REDRAW_SECONDS", 0.0)
    return stream


def lines_seen(stream: io.StringIO) -> list[str]:
    return [line for line in re.split(r"[\r\n]+", ESCAPE.sub("", stream.getvalue())) if line.strip()]


def progress(step: int, scores: dict[str, dict[str, float]] | None = None) -> TrainProgress:
    return TrainProgress(step=step, steps=1200, pass_number=2, passes=12, loss=-1.25, scores=scores)


def test_the_live_line_tells_how_far_how_fast_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with make_display("clip.mp4", unit="frames") as display:
        display.update(done=100, total=250, seconds=5.0)
    # 150 frames are left at 20 a second.
    assert re.search(r"clip\.mp4 .* 100/250 +20\.0 frames/s +0:08 left", lines_seen(terminal)[-1])


def test_the_live_line_does_not_reach_the_edge_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with make_display("a_rather_long_name_of_a_recording_from_last_week.mp4", unit="frames") as display:
        display.update(done=123456, total=234567, seconds=1234.5)
    with make_display("sam-lite", unit="steps") as display:
        display.update(done=1234, total=12345, seconds=1234.5, detail="pass 10/12 loss -12.34")
    lines = lines_seen(terminal)
    assert max(map(len, lines)) < 80
    assert any("…" in line and "last_week" not in line and "week.mp4" in line for line in lines)
    assert any("loss -12.34" in line for line in lines)


def test_the_live_line_without_a_known_end_promises_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with make_display("0", unit="frames") as display:
        display.update(done=7, total=None, seconds=1.0)
    assert "7" in lines_seen(terminal)[-1] and "left" not in lines_seen(terminal)[-1]


def test_names_in_brackets_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with make_display("[red]x[/].mp4", unit="frames") as display:
        display.update(done=1, total=2, seconds=1.0)
        display.say("[bold]pass[/]")
    assert any("[red]x[/].mp4" in line for line in lines_seen(terminal))
    assert "[bold]pass[/]" in terminal.getvalue()


def test_a_log_gets_a_plain_line_every_ten_seconds_and_no_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with make_display("clip.mp4", unit="frames") as display:
        for second in range(35):
            now = 100.0 + second
            display.update(done=10 * second, total=1000, seconds=float(second))
    assert capsys.readouterr().err.splitlines() == [
        "clip.mp4: 100 of 1000 frames, 10.0 frames/s, 1:30 left",
        "clip.mp4: 200 of 1000 frames, 10.0 frames/s, 1:20 left",
        "clip.mp4: 300 of 1000 frames, 10.0 frames/s, 1:10 left",
    ]


def test_a_log_of_unknown_length_counts_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "LOG_EVERY_SECONDS", 0.0)
    with make_display("0", unit="frames") as display:
        display.update(done=0, total=None, seconds=0.0)
        display.update(done=50, total=None, seconds=4.0)
    assert capsys.readouterr().err.splitlines() == ["0: 0 frames", "0: 50 frames, 12.5 frames/s"]


def test_a_dumb_terminal_gets_log_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(console, "LOG_EVERY_SECONDS", 0.0)
    with make_display("clip.mp4", unit="frames") as display:
        display.update(done=1, total=2, seconds=1.0)
    assert terminal.getvalue() == "clip.mp4: 1 of 2 frames, 1.0 frames/s, 0:01 left\n"


def test_quiet_shows_nothing_even_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with make_display("clip.mp4", unit="frames", quiet=True) as display:
        display.update(done=1, total=2, seconds=1.0)
        display.say("something")
    assert terminal.getvalue() == ""


def test_training_shows_its_loss_and_after_a_pass_its_scores(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "LOG_EVERY_SECONDS", 0.0)
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with make_display("sam-lite", unit="steps") as display:
        clock = TrainClock(display)
        # A resumed run: 1000 of the 1200 steps were done before, the next hundred took 50 seconds.
        clock(progress(1000))
        now = 50.0
        clock(dataclasses.replace(progress(1100, {"osie": {"nss": 3.0, "cc": 0.8}}), notes=("the stride was moved",)))
    assert clock.last is not None and clock.last.step == 1100
    printed = capsys.readouterr().err
    assert "sam-lite: 1100 of 1200 steps, 2.0 steps/s, 0:50 left, pass 2/12 loss -1.25" in printed
    assert "note: the stride was moved" in printed
    assert re.search(r"osie +3\.000 +0\.800", printed)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00"), (59.6, "1:00"), (3599.0, "59:59"), (3600.0, "1:00:00"), (90061.0, "25:01:01")]
)
def test_a_duration_reads_as_on_a_clock(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_set_without_a_score_leaves_its_place_empty() -> None:
    head, first, second = format_scores({"a": {"nss": 1.0}, "bb": {"nss": 2.0, "cc": 0.5}}).splitlines()
    assert head.split() == ["nss", "cc"]
    assert first.split() == ["a", "1.000"] and second.split() == ["bb", "2.000", "0.500"]
    assert second.index("2.000") == first.index("1.000")


def test_a_card_says_what_it_holds_and_leaves_out_what_it_does_not() -> None:
    card = ModelCard(name="x", licence="MIT", limits=("not for cats",), scores={"osie": {"nss": 3.1}}, protocol="val")
    text = format_card("x", SAMConfig(), card)
    assert "MIT" in text and "not for cats" in text and "3.100" in text and "mobilenet_v2" in text
    assert "trained on" not in text
    assert "sha256 abc" in format_card("x", SAMConfig(), card, weights=("cached", "sha256 abc"))
    assert "vidsal weights fetch y" in format_card("y", SAMConfig(), None)


def test_a_card_tells_the_recipe_without_what_is_null_and_the_motion_branch() -> None:
    recipe = {
        "augment": {"camera": {"pan": 0.02, "probability": 0.8}, "flip_probability": 0.5},
        "condition": None,
        "datasets": ["osie", "scene"],
        "schedule": {"clip_lengths": {"1": 0.3, "8": 0.2}, "early_stopping_patience": None, "passes": 3},
        "stopped_after_steps": 750,
        "videos": [],
    }
    text = format_card("x", SAMConfig(motion_channels=32), ModelCard(name="x", training=json.dumps(recipe)))
    assert "motion branch of 32 channels" in " ".join(text.split())
    assert "null" not in text and "videos" not in text
    head, body = text.split("  training\n")
    assert "motion branch" in head
    assert yaml.safe_load(body) == {
        "augment": recipe["augment"],
        "datasets": ["osie", "scene"],
        "schedule": {"clip_lengths": {1: 0.3, 8: 0.2}, "passes": 3},
        "stopped_after_steps": 750,
    }
    assert all(line.startswith("    ") for line in body.splitlines()) and len(body.splitlines()) < 10
    plain = format_card("x", SAMConfig(), ModelCard(name="x", training="as published"))
    assert "    as published" in plain and "motion" not in plain
    assert "  training" not in format_card("x", SAMConfig(), ModelCard(name="x"))
