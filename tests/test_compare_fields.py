"""The comparison of input and output field by field, and that it sees what is lost."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import compare_fields
import pytest
from compare_fields import INPUTS, Facts, compare, facts, main
from test_sinks import overlaid


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A phone's video and what becomes of it."""
    folder = tmp_path_factory.mktemp("phone")
    name, make = INPUTS["phone"]
    make(folder / name)
    return folder / name, overlaid(folder / name, folder / "out.mp4").path


@pytest.mark.parametrize("name", ["mxf", "screen"])
def test_every_difference_of_an_input_as_it_comes_from_elsewhere_is_meant(tmp_path: Path, name: str) -> None:
    file, make = INPUTS[name]
    make(tmp_path / file)
    sink = overlaid(tmp_path / file, tmp_path / "out.mp4")
    before, after = facts(tmp_path / file), facts(sink.path)
    rows = compare(before, after, sink.messages)
    assert [row.name for row in rows if row.is_wrong] == []
    assert before["video.0.pictures"] == after["video.0.pictures"] > 10
    if name == "mxf":
        assert [before[f"audio.{i}.sound"] for i in range(4)] == [after[f"audio.{i}.sound"] for i in range(4)]
        assert len({after[f"audio.{i}.sound"] for i in range(4)}) == 4


def lose_sound(found: Facts) -> None:
    for name in [name for name in found if name.startswith("audio.")]:
        del found[name]


LOSSES = {
    "sound": lose_sound,
    "samples": lambda found: found.update({"audio.0.sound": "other", "audio.0.data": "other"}),
    "a tag": lambda found: found.pop("file.tag.com.apple.quicktime.make"),
    "a title": lambda found: found.update({"file.tag.title": "another"}),
    "the last picture": lambda found: found.update({"video.0.last picture lasts": Fraction(1)}),
    "a picture": lambda found: found.update({"video.0.pictures": 14}),
    "a time": lambda found: found["video.0.times"].__setitem__(3, Fraction(3)),
    "colour": lambda found: found.update({"video.0.color_primaries": 9}),
    "step": lambda found: found.update({"audio.0.begins": Fraction(1, 10)}),
    "pixel shape": lambda found: found.update({"video.0.pixel aspect": Fraction(4, 3), "video.0.rotation": 0}),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_lost_is_seen(pair: tuple[Path, Path], loss: str) -> None:
    before, after = (facts(path) for path in pair)
    assert not [row.name for row in compare(before, after, []) if row.is_wrong]
    if loss == "pixel shape":
        before["video.0.rotation"] = 0
    LOSSES[loss](after)
    assert [row.name for row in compare(before, after, []) if row.is_wrong]


def test_the_command_prints_a_table_and_fails_where_a_difference_is_not_meant(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, result = map(str, pair)
    assert main([source, result]) == 0
    printed = capsys.readouterr().out
    assert "video.0.rotation" in printed and "turned upright" in printed and "0 not meant" in printed
    monkeypatch.setattr(compare_fields, "_why", lambda *what, **more: "")
    assert main([source, result]) == 1
    assert "DIFFERENT" in capsys.readouterr().out
