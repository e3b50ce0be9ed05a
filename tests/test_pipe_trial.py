"""Options that no input could be run with are refused before the first one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import av
import pytest

from vidsal.decode import DecodeOptions
from vidsal.errors import ConfigError
from vidsal.pipe.options import OutputOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.trial import check_options
from vidsal.sinks import VideoOptions


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ({"video": VideoOptions(encoder="nope")}, "is not in this build of FFmpeg"),
        ({"video": VideoOptions(encoder="aac")}, "is one for audio"),
        ({"video": VideoOptions(encoder="prores_ks")}, "which a .mp4 file cannot hold: take container=mov"),
        ({"decode": DecodeOptions(decoder="decord")}, "needs the decord package"),
        ({"output": OutputOptions(video=False, table="none")}, "nothing to write"),
        ({"output": OutputOptions(table="parquet")}, "pyarrow"),
        ({"recurrence": RecurrenceOptions(steps=4)}, "it must be from 1 to 3"),
    ],
)
def test_what_no_input_could_be_run_with_is_refused(
    stages: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for missing in ("decord", "pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError) as caught:
        check_options(RunOptions(**stages), steps=3)
    assert says in str(caught.value)


def test_what_hangs_on_the_input_or_on_another_machine_is_not_seen(tmp_path: Path) -> None:
    """A part of the input, damage, results that are there already, an encoder of a GPU that is elsewhere."""
    there = tmp_path / "there.csv"
    there.write_text("kept")
    decode = DecodeOptions(start_seconds=100.0, end_seconds=101.0, strict=True)
    output = OutputOptions(maps="mkv", export=("shots",), existing="skip", table=str(there))
    check_options(RunOptions(decode=decode, output=output), steps=3)
    assert there.read_text() == "kept" and list(tmp_path.iterdir()) == [there]
    if "h264_nvenc" in av.codecs_available:
        check_options(RunOptions(video=VideoOptions(encoder="h264_nvenc", preset="p4")), steps=3, here=False)
