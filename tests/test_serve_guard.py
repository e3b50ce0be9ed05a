"""Who is let through to the server, to which file, and under which name a file is taken: without a server."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsal.errors import ConfigError
from vidsal.serve.guard import confined, free_stem, host_of, is_allowed_host, is_foreign, is_token, safe_name
from vidsal.serve.options import ServeOptions, ServerOptions

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="no such names or links there")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file in it, and one beside it that nobody may see."""
    inside = tmp_path / "results"
    (inside / "mon").mkdir(parents=True)
    (inside / "mon" / "a b.mp4").write_text("in")
    (inside / ".hidden").mkdir()
    (inside / ".hidden" / "x.mp4").write_text("hidden")
    (tmp_path / "results-of-others").mkdir()
    (tmp_path / "results-of-others" / "secret.mp4").write_text("out")
    return inside


# Paths.


def test_a_file_below_the_folder_is_found(folder: Path) -> None:
    assert confined(folder, "mon/a b.mp4") == folder.resolve() / "mon" / "a b.mp4"
    assert confined(folder, "") == folder.resolve()


@pytest.mark.parametrize(
    "path",
    [
        *("..", "../results-of-others/secret.mp4", "mon/../../results-of-others/secret.mp4", "mon/../mon/a b.mp4"),
        *("/etc/passwd", "//etc/passwd", "mon//a b.mp4", "./mon/a b.mp4", ".hidden/x.mp4", "mon/..", "mon/./a b.mp4"),
        *(
            "..\\results-of-others\\secret.mp4",
            "C:/secret.mp4",
            "mon/a b.mp4\0",
            "mon/a b.mp4/",
            "no.mp4",
            "mon/a b.mp4/x",
        ),
        "x" * 5000,
    ],
)
def test_what_leads_out_or_is_hidden_or_missing_is_not_found(folder: Path, path: str) -> None:
    assert confined(folder, path) is None


@needs_posix
def test_a_link_may_lead_to_another_place_in_the_folder_but_not_out_of_it(folder: Path) -> None:
    (folder / "out.mp4").symlink_to(folder.parent / "results-of-others" / "secret.mp4")
    (folder / "others").symlink_to(folder.parent / "results-of-others")
    (folder / "in.mp4").symlink_to(folder / "mon" / "a b.mp4")
    (folder / "hidden.mp4").symlink_to(folder / ".hidden" / "x.mp4")
    (folder / "round.mp4").symlink_to(folder / "round.mp4")
    for path in ("out.mp4", "others/secret.mp4", "others", "hidden.mp4", "round.mp4"):
        assert confined(folder, path) is None
    assert confined(folder, "in.mp4") == folder.resolve() / "mon" / "a b.mp4"
    # The folder itself may be a link.
    (folder.parent / "named").symlink_to(folder)
    assert confined(folder.parent / "named", "mon/a b.mp4") == folder.resolve() / "mon" / "a b.mp4"


@given(
    st.lists(st.sampled_from(["..", ".", "", "mon", "a b.mp4", "results-of-others", "\\", "%2e%2e", "~"]), max_size=6)
)
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp() / "guarded" / "results"
    (folder / "mon").mkdir(parents=True, exist_ok=True)
    (folder.parent / "results-of-others").mkdir(exist_ok=True)
    found = confined(folder, "/".join(parts))
    assert found is None or found.is_relative_to(folder.resolve())


# Names.


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("talk.mp4", "talk.mp4"),
        ("../../a.mp4", "a.mp4"),
        ("C:\\films\\a.mov", "a.mov"),
        ("a\0b\n\x1b[2J.mp4", "ab[2J.mp4"),
        ("\u202eabc\u200b.mp4", "abc.mp4"),
        ("  ..a..  .mp4", "a.mp4"),
        ("a.vidsal.csv.mp4", "a-vidsal.csv.mp4"),
        ("A.VIDSAL.partial.mp4", "A-VIDSAL-partial.mp4"),
        ("NUL.tar.mp4", "_NUL.tar.mp4"),
        ("東京 2024 é.MKV", "東京 2024 é.MKV"),
        ('a<b>:"|?*.mp4', "a-b-.mp4"),
        (".mp4", "mp4"),
        ("/", "video"),
    ],
)
def test_a_name_keeps_what_is_harmless_in_it(given_name: str, name: str) -> None:
    assert safe_name(given_name) == name


@given(st.text(max_size=300))
def test_every_name_is_one_visible_part_that_is_no_result_of_a_run(text: str) -> None:
    name = safe_name(text + ".mp4")
    assert name and "/" not in name and "\\" not in name and not name.startswith(".")
    assert ".vidsal." not in name.lower() and ".partial." not in name.lower()
    assert not any(unicodedata.category(character).startswith("C") for character in name)
    assert safe_name(name) == name


def test_a_stem_is_free_where_neither_a_file_nor_results_of_one_lie_under_it(tmp_path: Path) -> None:
    assert free_stem(tmp_path / "missing", "a", ()) == "a"
    for name in ("a.mov", "b.vidsal.json", "C.mp4.partial", "d-x.mp4"):
        (tmp_path / name).touch()
    assert [free_stem(tmp_path, stem, ()) for stem in ("a", "b", "c", "d", "A")] == ["a-2", "b-2", "c-2", "d", "A-2"]
    assert free_stem(tmp_path, "a", {"a-2"}) == "a-3"
    long = free_stem(tmp_path, "é" * 200, ())
    (tmp_path / f"{long}.vidsal.shots.partial.csv.lock").touch()
    assert free_stem(tmp_path, "é" * 200, ()) == f"{long}-2"
    (tmp_path / f"{long}-2.vidsal.shots.partial.csv.lock").touch()


# Requests.


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("127.0.0.1:8765", "127.0.0.1"),
        ("[::1]", "::1"),
        ("Box.LAN:80", "box.lan"),
        ("localhost:99999999", None),
        ("evil.org/127.0.0.1", None),
        ("127.0.0.1@evil.org", None),
        ("", None),
        (None, None),
    ],
)
def test_the_name_of_a_host_is_read_from_its_header(header: str | None, host: str | None) -> None:
    assert host_of(header) == host


@pytest.mark.parametrize(
    ("header", "local", "allowed"),
    [
        ("localhost:1", True, True),
        ("127.0.0.2", True, True),
        ("[::1]:8765", True, True),
        ("0.0.0.0", True, False),
        ("192.168.1.2", True, False),
        ("localhost.evil.org", True, False),
        ("127.0.0.1.evil.org", True, False),
        ("Proxy.example", True, True),
        ("192.168.1.2", False, True),
        ("rebound.evil.org", False, False),
        (None, False, False),
    ],
)
def test_a_server_goes_by_its_own_names_only(header: str | None, local: bool, allowed: bool) -> None:
    assert is_allowed_host(header, local=local, names=["proxy.example"]) is allowed


@pytest.mark.parametrize(
    ("method", "headers", "foreign"),
    [
        ("POST", {"Host": "127.0.0.1:1", "Origin": "http://127.0.0.1:1"}, False),
        ("POST", {"Host": "127.0.0.1:1", "Origin": "http://127.0.0.1:2"}, True),
        ("POST", {"Host": "127.0.0.1:1", "Origin": "http://evil.org"}, True),
        ("POST", {"Host": "127.0.0.1:1", "Origin": "null"}, True),
        ("DELETE", {"Host": "a:1", "Sec-Fetch-Site": "cross-site"}, True),
        ("DELETE", {"Host": "a:1", "Sec-Fetch-Site": "same-site"}, True),
        ("POST", {"Host": "a:1"}, False),
        ("GET", {"Host": "a:1"}, False),
        ("GET", {"Host": "a:1", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, False),
        ("GET", {"Host": "a:1", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, True),
        ("GET", {"Host": "a:1", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, False),
    ],
)
def test_what_a_page_of_another_site_asks_for_is_known(method: str, headers: dict[str, str], foreign: bool) -> None:
    assert is_foreign(method, headers) is foreign


def test_only_the_whole_token_is_the_token() -> None:
    assert is_token("abc", "abc")
    assert not any(is_token(given_token, "abc") for given_token in (None, "", "ab", "abcd", "ABC", "\udcff"))


# Options.


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("192.168.1.2", False),
        ("box", False),
    ],
)
def test_only_an_address_of_this_machine_needs_no_token(host: str, local: bool) -> None:
    assert ServerOptions(host=host).is_local is local


@pytest.mark.parametrize("uploads", ["", "..", "a/../b", "/tmp", ".hidden", "a/.b", "a\\b", "a//b", "C:x"])
def test_uploads_go_to_a_folder_below_that_is_not_hidden(uploads: str) -> None:
    with pytest.raises(ConfigError, match="folder below DIR"):
        ServerOptions(uploads=uploads)
    assert ServerOptions(uploads="in/box").uploads == "in/box"


def test_where_results_go_cannot_be_chosen() -> None:
    from vidsal.pipe.options import OutputOptions

    with pytest.raises(ConfigError, match="cannot be chosen"):
        ServeOptions(output=OutputOptions(output=Path(os.sep)))
