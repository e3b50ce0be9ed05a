"""A password reaches no message, no result and no name of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidsal.addresses import hide_secrets
from vidsal.cli import main
from vidsal.errors import DecodeError
from vidsal.pipe.options import OutputOptions
from vidsal.pipe.places import places_of, planned_outputs
from vidsal.pipe.run import run


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://host/door.sdp", "rtsp://host/door.sdp"),
        ("rtsp://me:secret@host:554/door.sdp", "rtsp://host:554/door.sdp"),
        ("rtsp://me:sec@ret@host/door", "rtsp://host/door"),
        ("RTSP://me@host", "RTSP://host"),
        ("rtsp://me:sec/ret@host/door", "rtsp://…@host/door"),
        ("rtsp://me:sec?ret@host/door?key=secret", "rtsp://…@host/door"),
        ("rtsp://me:sec#ret@host/door", "rtsp://…@host/door"),
        ("//me:secret@host/share", "//host/share"),
        ("http://host:8080/@channel/live", "http://host:8080/@channel/live"),
        ("http://host/@channel/live", "http://host/@channel/live"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        (
            "srt://host:9000?mode=caller&passphrase=secret&latency=120",
            "srt://host:9000?mode=…&passphrase=…&latency=120",
        ),
        ("http://host/x?secret", "http://host/x?…"),
        ("http://host/x?a=1&&b=#secret", "http://host/x?a=1&&b=…#…"),
        ("https://host/x?X-Amz-Signature=secret&t=12345", "https://host/x?X-Amz-Signature=…&t=…"),
        ("clips/a?b=c@d.mp4", "clips/a?b=c@d.mp4"),
        ("-", "-"),
        (0, "0"),
    ],
)
def test_what_may_be_shown(source: str | int, shown: str) -> None:
    assert hide_secrets(source) == shown
    assert "secret" not in hide_secrets(source)


ADDRESSES = (
    "rtsp://me:hunter2@127.0.0.1:9/door?key=hunter2",
    "rtsp://me:hun/ter2@127.0.0.1:9/door",
    "gopher://me:hunter2@127.0.0.1:9/door",
)


def hides(text: str) -> bool:
    return "ter2" not in text and "me:" not in text


@pytest.mark.parametrize("source", ADDRESSES)
def test_an_address_that_cannot_be_opened_is_reported_without_its_password(source: str) -> None:
    with pytest.raises(DecodeError) as caught:
        run(source)
    assert hides(str(caught.value)) and "door" in str(caught.value)


@pytest.mark.parametrize("more", [[], ["--json"], ["--streams", "2"]])
def test_the_command_prints_no_password(
    more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", *ADDRESSES[1:], *more, "--output", str(tmp_path)]) != 0
    out, err = capsys.readouterr()
    assert hides(out + err) and "127.0.0.1" in err
    with pytest.raises(SystemExit):
        main([ADDRESSES[0]])
    assert hides("".join(capsys.readouterr()))


def test_no_file_is_named_by_a_password() -> None:
    (place,) = places_of(["rtsp://me:hunter2@host"], OutputOptions())
    planned = planned_outputs(place, OutputOptions())
    assert {path.name for path in planned.values()} == {"host.vidsal.mp4", "host.vidsal.csv"}
