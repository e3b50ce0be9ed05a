"""HDR mastering and light levels reach the encoded video, and what an encoder cannot write is named."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from made import make_model

import vidsal
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.sinks.marks import hdr_parameters, lost_marks
from vidsal.sinks.options import VideoOptions

MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"


@pytest.fixture(scope="module")
def hdr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of HDR10."""
    path = tmp_path_factory.mktemp("hdr") / "hdr.mp4"
    with av.open(str(path), "w") as out:
        marks = f"master-display={MASTERING}:max-cll=1000,400"
        stream = out.add_stream("libx265", rate=10, options={"x265-params": f"log-level=error:{marks}"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p10le"
        for i in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), 40 * i + 40, np.uint8), format="rgb24")
            frame.pts = i
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def marks_of(path: Path) -> dict[str, bytes]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return {data.type.name: bytes(data) for data in frame.side_data if "SEI" not in data.type.name}


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "prores_ks"])
def test_what_hdr_says_of_the_display_is_kept_or_named(hdr: Path, tmp_path: Path, encoder: str) -> None:
    options = RunOptions(
        output=OutputOptions(output=tmp_path, container="mov", table=None), video=VideoOptions(encoder=encoder)
    )
    report = vidsal.run(hdr, options=options, model=make_model())
    before, after = marks_of(hdr), marks_of(tmp_path / "hdr.vidsal.mov")
    assert {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"} <= before.keys()
    lost = [text for text in report.messages if "the mastering display of HDR, the light levels of HDR" in text]
    if encoder == "prores_ks":
        assert len(lost) == 1 and after == {}
    else:
        assert after == before and not lost


def test_marks_that_are_incomplete_or_not_for_the_encoder_make_no_parameters() -> None:
    numbers = [34000, 50000, 16000, 50000, 13250, 50000, 34500, 50000, 7500, 50000, 3000, 50000, 15635, 50000]
    numbers += [16450, 50000, 50, 10000, 10000000, 10000]
    whole = {"MASTERING_DISPLAY_METADATA": struct.pack("=22i", *numbers, 1, 1)}
    assert hdr_parameters("libx265", whole) == [f"master-display={MASTERING}"]
    assert hdr_parameters("libx264", whole) == [f"mastering-display={MASTERING}"]
    assert hdr_parameters("prores_ks", whole) == []
    for has in ((0, 1), (1, 0)):
        part = {"MASTERING_DISPLAY_METADATA": struct.pack("=22i", *numbers, *has)}
        assert hdr_parameters("libx265", part) == []
        assert lost_marks("libx265", part) == ["the mastering display of HDR"]
        # The other one is written, and this one is named all the same.
        both = part | {"CONTENT_LIGHT_LEVEL": struct.pack("=2I", 1000, 400)}
        assert hdr_parameters("libx265", both) == ["max-cll=1000,400"]
        assert lost_marks("libx265", both) == ["the mastering display of HDR"]
    other = {"DOVI_METADATA": b"", "DOVI_RPU_BUFFER": b"", "SPHERICAL": b"", "SEI_UNREGISTERED": b""}
    assert lost_marks("libx265", whole | other) == ["Dolby Vision", "the mark of spherical video"]
