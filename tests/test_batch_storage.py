"""Files elsewhere: found, fetched, put there whole and verified, against real servers that lie, break and refuse."""

from __future__ import annotations

import base64
import hashlib
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vidsal.batch import remote, stores
from vidsal.batch.storage import (
    Found,
    NoRoom,
    Scratch,
    Tries,
    describe,
    exists,
    find,
    is_remote,
    join,
    names_below,
    put,
    remove,
    sha256,
)
from vidsal.errors import ConfigError, DecodeError, EncodeError, Stopped, TransferError
from vidsal.files import sha256_of

pytest.importorskip("asyncssh", reason="no SFTP server: pip install 'vidsal[storage]'")
pytest.importorskip("sshfs", reason="no SFTP: pip install 'vidsal[storage]'")
pytest.importorskip("s3fs", reason="no S3: pip install 'vidsal[storage]'")
pytest.importorskip("moto.server", reason="no S3 service: pip install 'moto[s3]' flask flask-cors")

import fsspec
import moto.s3.models
import moto.settings
from storage_servers import HOST, PASSWORD, USER, SftpServer, relay, s3_server, sftp_server

QUICK = Tries(retries=3, pause_seconds=0.001)
PIECE = 32 << 10
BUCKET = "s3://bucket"
NAMES = [
    "plain.mp4",
    "a b.mp4",
    " led and trailed ",
    "clip #1.mp4",
    "what?.mp4",
    "what?versionId=3",
    "100%.mp4",
    "%20.mp4",
    "a%2Fb",
    "a::b.mp4",
    "c:d;e,f@g&h=i+j~'\"`$!(){}[]*|\\",
    ".hidden",
    "...",
    "日本語 Übung.mov",
    "tab\tbell\a",
    "n" * 240,
]


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user without keys, agents and profiles; what the servers are told by comes by the usual ways."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".ssh").mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_", "SSH_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(folder))
        patch.setenv("NO_PROXY", HOST)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield folder


@pytest.fixture(scope="module")
def sftp_once(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    with sftp_server(tmp_path_factory.mktemp("sftp")) as server:
        (home / ".ssh" / "known_hosts").write_text(server.known_host)
        server.user_key.write_private_key(home / ".ssh" / "id_ed25519")
        yield server
    fsspec.get_filesystem_class("sftp").clear_instance_cache()


@pytest.fixture
def sftp(sftp_once: SftpServer, tmp_path: Path) -> Iterator[SftpServer]:
    """An SFTP server over an empty folder, which a key of the user's opens."""
    before = sftp_once.root
    sftp_once.root = tmp_path / "served"
    sftp_once.root.mkdir()
    # The folder is looked up once a connection.
    fsspec.get_filesystem_class("sftp").clear_instance_cache()
    yield sftp_once
    sftp_once.root, sftp_once.damage, sftp_once.logins = before, lambda offset, content: content, 0
    sftp_once.reads.clear()


@pytest.fixture(scope="module")
def s3_port(home: Path) -> Iterator[int]:
    with s3_server() as port:
        yield port
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def s3(s3_port: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The inside of an S3 service with one empty bucket, which the configuration of fsspec leads to."""
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://{HOST}:{s3_port}"})
    backend = moto.s3.models.s3_backends[moto.core.DEFAULT_ACCOUNT_ID]["aws"]
    backend.reset()
    backend.create_bucket("bucket", "us-east-1")
    return backend


@pytest.fixture(params=["sftp", "s3", "memory"])
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an empty folder: of the two kinds that are promised, and of what fsspec has beside them."""
    if request.param == "memory":
        yield "memory://top"
        files = fsspec.filesystem("memory")
        files.store.clear()
        files.pseudo_dirs[:] = [""]
        return
    served = request.getfixturevalue(request.param)
    yield BUCKET if request.param == "s3" else served.address


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PIECE_BYTES", PIECE)
    monkeypatch.setattr(stores, "_PIECE_BYTES", PIECE)


@pytest.fixture
def small_parts(small_pieces: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_PART_BYTES", PIECE)
    monkeypatch.setattr(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", 1)


def made(path: Path, size: int = 1000, seed: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes((seed + 31 * n + n // 251) % 256 for n in range(size)))
    return path


def below(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def keys(backend: Any) -> dict[str, bytes]:
    return {name: key.value for name, key in backend.buckets["bucket"].keys.items()}


# What an address is.


def test_only_what_has_to_be_fetched_is_an_address_of_files_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(map(is_remote, ["s3://b/c.mp4", "S3://b", "sftp://me@host/c.mp4", "ssh://host/c", "gs://b/c"]))
    for text in ["c.mp4", "/c.mp4", "http://h/c.mp4", "HTTPS://h/c", "rtsp://h/c", "file:///c", "memory://c", "0", "-"]:
        assert not is_remote(text)
    assert not is_remote("zip://c.mp4::s3://b/c.zip") and not is_remote("nothing://c") and not is_remote("s3:b/c.mp4")
    monkeypatch.chdir(tmp_path)
    assert is_remote("s3://b/c.mp4")
    made(tmp_path / "s3:" / "b" / "c.mp4")
    assert not is_remote("s3://b/c.mp4"), "what is here comes first"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_joined_comes_back(name: str) -> None:
    for folder in ("s3://bucket/in", "s3://bucket", "sftp://me:p%40ss@host:22/in/"):
        address = join(folder, "mon #1", name)
        assert names_below(address, folder) == ("mon #1", name)
        assert Found(address, 1, None, None).name == name
        assert not set(address.removeprefix(folder)) & set(" #?\n\t\x01")


def test_a_name_of_raw_bytes_comes_back() -> None:
    name = os.fsdecode(b"\xff\xfe.mp4")
    assert join("sftp://host", name) == "sftp://host/%FF%FE.mp4"
    assert names_below("sftp://host/%FF%FE.mp4", "sftp://host") == (name,)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name"):
        join("s3://bucket/out", "a", name)


@pytest.mark.parametrize("address", ["s3://b/in//c", "s3://b/in/../c", "s3://b/in/./c", "s3://b/in/c%00", "s3://b/in/"])
def test_a_key_that_no_disk_can_hold_has_no_place_below_a_folder(address: str) -> None:
    with pytest.raises(DecodeError, match="Rename it"):
        names_below(address, "s3://b/in")
    with pytest.raises(DecodeError, match="is not below"):
        names_below("s3://b/inside/c", "s3://b/in")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3:///key", "names no bucket"),
        ("sftp:///file", "names no host"),
        ("s3://key:s3cr3t@bucket/c", "keys do not go into the address"),
        ("s3://bucket/%FF.mp4", "names there are UTF-8"),
        ("nothing", "is not an address"),
        ("nothing://a/b", "fsspec knows no nothing://"),
        ("sftp://host:port/c", "its port is no number"),
        ("sftp://mia:s3cr3t/more@host/c", r"^sftp://…@host/c: its port is no number.*%2F"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        describe(address)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("sftp", "sshfs.spec"), ("gs", "gcsfs")])
def test_a_missing_package_is_named(scheme: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in ("registry", "_registry"):
        monkeypatch.setattr(sys.modules["fsspec.registry"], loaded, {})
    monkeypatch.setitem(sys.modules, package, None)
    needed = "install gcsfs" if scheme == "gs" else r"pip install 'vidsal\[storage\]'"
    with pytest.raises(ConfigError, match=rf"^{scheme}://host/c.mp4: a package for .* is missing: .*{needed}"):
        describe(f"{scheme}://host/c.mp4")


def test_an_implementation_that_trusts_any_server_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class SFTPFileSystem:
        """As fsspec has one, on paramiko."""

    monkeypatch.setattr(fsspec, "get_filesystem_class", lambda scheme: SFTPFileSystem)
    with pytest.raises(ConfigError, match=r"pip install 'vidsal\[storage\]'"):
        describe("sftp://host/c.mp4")


# Found, read, put, removed: the same everywhere.


def test_a_file_goes_there_and_comes_back(place: str, tmp_path: Path) -> None:
    path = made(tmp_path / "clip.mp4")
    address = join(place, "out", "mon", "clip.mp4")
    assert not exists(address)
    told: list[tuple[int, int]] = []
    stored = put(path, address, progress=lambda *now: told.append(now), tries=QUICK)
    assert (stored.bytes, stored.sha256) == (1000, sha256_of(path)) and told[-1] == (1000, 1000)
    assert exists(address) and not exists(join(place, "out")), "a folder is no file"
    assert sha256(address) == stored.sha256
    found = describe(address)
    assert (found.path, found.bytes, found.name) == (address, 1000, "clip.mp4")
    scratch = Scratch(tmp_path / "scratch")
    with scratch.fetched(address, found) as copy:
        assert copy.name == "clip.mp4" and copy.read_bytes() == path.read_bytes()
        assert describe(address) == found, "looking at it changes nothing"
    assert not list(scratch.folder.iterdir())
    # Replaced by less, and by nothing at all.
    assert put(made(tmp_path / "less", 10), address).bytes == 10 and sha256(address) == sha256_of(tmp_path / "less")
    assert put(made(tmp_path / "empty", 0), address).bytes == 0
    with scratch.fetched(address) as copy:
        assert copy.read_bytes() == b""
    assert [one.name for one in find(place)] == ["clip.mp4"], "nothing partial is left"
    remove(address)
    remove(address)
    assert not exists(address)


def test_names_of_all_kinds_go_there_and_come_back(place: str, tmp_path: Path) -> None:
    path = made(tmp_path / "any", 5)
    addresses = [join(place, "a #1", name) for name in NAMES]
    for address in addresses:
        put(path, address)
    found = list(find(join(place, "a #1")))
    assert {one.path for one in found} == set(addresses) and len(found) == len(NAMES)
    for name, address in zip(NAMES, addresses, strict=True):
        assert describe(address).name == name
        with Scratch(tmp_path / "scratch").fetched(address) as copy:
            assert copy.name == name
    for address in addresses:
        remove(address)
    assert not any(map(exists, addresses))


def test_a_line_break_in_a_name_is_kept(sftp: SftpServer, tmp_path: Path) -> None:
    # moto takes no such key.
    put(made(tmp_path / "any", 5), join(sftp.address, "line\nbreak"))
    assert [one.name for one in find(sftp.address)] == ["line\nbreak"]


def test_a_search_goes_on_after_the_connection_broke(sftp: SftpServer) -> None:
    for name in "abc":
        made(sftp.root / name / "clip.mp4")
    found = find(sftp.address, tries=QUICK)
    names = [next(found).path]
    sftp.restart()
    assert [*names, *(one.path for one in found)] == [f"{sftp.address}/{name}/clip.mp4" for name in "abc"]


def test_all_files_are_found_in_one_order(place: str, tmp_path: Path) -> None:
    path = made(tmp_path / "any", 5)
    # A folder and files whose names begin alike: whole names decide, as bytes.
    names = ["b/2", "b/10", "b.mp4", "b0/1", "b-/x", "B", "a/z/y/x", "ä", "a!", "\U0001f600", "\uffee"]
    for name in names:
        put(path, join(place, "in", *name.split("/")))
    put(path, join(place, "inside"))
    found = ["/".join(names_below(one.path, join(place, "in"))) for one in find(join(place, "in"))]
    assert found == sorted(names, key=str.encode)
    assert [one.path for one in find(join(place, "in") + "/")] == [
        join(place, "in", *name.split("/")) for name in found
    ]
    assert [one.path for one in find(join(place, "in", "B"))] == [join(place, "in", "B")], "one file"
    assert len(list(find(place))) == len(names) + 1
    with pytest.raises(DecodeError, match=r"(?i)no such file|nothing is there"):
        list(find(join(place, "out")))


def test_what_is_missing_is_said(place: str, tmp_path: Path) -> None:
    for ask in (describe, sha256):
        with pytest.raises(DecodeError, match=r"no such file$"):
            ask(join(place, "missing.mp4"))
    with pytest.raises(DecodeError, match="%25 is a percent sign"):
        describe(join(place, "100%"))
    with pytest.raises(ConfigError, match="is the address of a folder"):
        put(made(tmp_path / "any"), place + "/")
    with pytest.raises(DecodeError, match="is the address of a folder"):
        describe(place + "/")
    with pytest.raises(EncodeError, match=r"cannot read .*missing to copy it: No such file"):
        put(tmp_path / "missing", join(place, "clip.mp4"))


def test_one_that_changes_while_it_is_read_is_not_used(place: str, tmp_path: Path, small_pieces: None) -> None:
    address = join(place, "clip.mp4")
    put(made(tmp_path / "one", 5 * PIECE), address)
    other = made(tmp_path / "two", 5 * PIECE + 1, seed=2)
    told: list[int] = []

    def change(done: int, total: int) -> None:
        if not told:
            put(other, address)
        told.append(done)

    scratch = Scratch(tmp_path / "scratch")
    with (
        pytest.raises(TransferError, match=r"changed after it was found \(from 163840 bytes.* to 163841"),
        scratch.fetched(address, progress=change, tries=QUICK),
    ):
        pytest.fail("it was given out")
    assert told and not list(scratch.folder.iterdir())


def test_one_that_is_no_longer_what_was_found_is_not_fetched(place: str, tmp_path: Path) -> None:
    address = join(place, "clip.mp4")
    put(made(tmp_path / "one"), address)
    found = describe(address)
    if place.startswith("sftp"):
        found = replace(found, modified="2001-01-01T00:00:00.000000+00:00")
    else:
        put(made(tmp_path / "two", seed=2), address)
    scratch = Scratch(tmp_path / "scratch")
    told: list[tuple[int, int]] = []
    for failure, message in ((TransferError, "changed after it was found"), (DecodeError, "was removed")):
        with (
            pytest.raises(failure, match=message),
            scratch.fetched(address, found, progress=lambda *now: told.append(now), tries=QUICK),
        ):
            pytest.fail("it was given out")
        remove(address)
    assert not told, "nothing of it was read"


@pytest.mark.parametrize("way", ["put", "fetch"])
def test_a_stop_in_the_middle_leaves_nothing(place: str, tmp_path: Path, small_parts: None, way: str) -> None:
    address, path = join(place, "clip.mp4"), made(tmp_path / "one", 5 * PIECE)
    told: list[int] = []
    watch: dict[str, Any] = {"progress": lambda done, _: told.append(done), "should_stop": lambda: len(told) >= 2}
    scratch = Scratch(tmp_path / "scratch")
    if way == "put":
        with pytest.raises(Stopped):
            put(path, address, **watch)
        assert not list(find(place))
        if place == BUCKET:
            assert not moto.s3.models.s3_backends[moto.core.DEFAULT_ACCOUNT_ID]["aws"].buckets["bucket"].multiparts
    else:
        put(path, address)
        with pytest.raises(Stopped), scratch.fetched(address, **watch):
            pytest.fail("it was given out")
        assert not list(scratch.folder.iterdir())
    assert len(told) == 2


def test_a_copy_keeps_the_time_of_its_file(sftp: SftpServer, tmp_path: Path) -> None:
    os.utime(made(sftp.root / "clip.mp4"), (1.6e9, 1.6e9))
    with Scratch(tmp_path / "scratch").fetched(f"{sftp.address}/clip.mp4") as copy:
        assert copy.stat().st_mtime == 1.6e9


# Servers that break.


def test_a_server_that_dies_in_the_middle_of_an_upload(sftp: SftpServer, tmp_path: Path, small_pieces: None) -> None:
    path, address = made(tmp_path / "one", 9 * PIECE), f"{sftp.address}/out/clip.mp4"
    made(sftp.root / "out" / "clip.mp4", 7)
    down: list[int] = []

    def die(done: int, total: int) -> None:
        if done == 3 * PIECE and not down:
            names = sorted(path.name for path in (sftp.root / "out").iterdir())
            assert names[0] == "clip.mp4" and names[1].endswith(".partial") and len(names) == 2
            sftp.kill()
            down.append(1)

    def revive() -> bool:
        if len(down) == 1:
            assert (sftp.root / "out" / "clip.mp4").stat().st_size == 7, "what was there is there until the end"
            down.append(2)
            sftp.start()
        return False

    assert put(path, address, progress=die, should_stop=revive, tries=QUICK).sha256 == sha256_of(path)
    assert below(sftp.root) == {"out/clip.mp4": path.read_bytes()} and len(down) == 2


def test_a_server_that_stays_dead_is_given_up(sftp: SftpServer, tmp_path: Path) -> None:
    path, address = made(tmp_path / "one"), f"{sftp.address}/clip.mp4"
    put(path, address)
    sftp.kill()
    try:
        scratch = Scratch(tmp_path / "scratch")
        for act in (
            lambda: put(path, address, tries=QUICK),
            lambda: describe(address, tries=QUICK),
            lambda: scratch.fetched(address, tries=QUICK).__enter__(),
        ):
            with pytest.raises(TransferError, match="tried 4 times"):
                act()
        assert not scratch.folder.exists() or not list(scratch.folder.iterdir())
    finally:
        sftp.start()


def test_a_download_goes_on_where_it_broke(sftp: SftpServer, tmp_path: Path, small_pieces: None) -> None:
    made(sftp.root / "clip.mp4", 20 * PIECE)
    broke: list[int] = []

    def cut(done: int, total: int) -> None:
        if done in (5 * PIECE, 9 * PIECE) and done not in broke:
            broke.append(done)
            sftp.restart()

    tries = Tries(retries=1, pause_seconds=0.001)
    with Scratch(tmp_path / "scratch").fetched(f"{sftp.address}/clip.mp4", progress=cut, tries=tries) as copy:
        assert copy.read_bytes() == (sftp.root / "clip.mp4").read_bytes()
    assert len(broke) == 2
    assert [offset for offset, _ in sftp.reads].count(0) == 1, "it began once"


@pytest.mark.parametrize("upload", [False, True])
def test_cut_connections_to_s3_are_made_again(
    s3: Any, s3_port: int, tmp_path: Path, small_parts: None, upload: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, address = made(tmp_path / "one", 12 * PIECE), f"{BUCKET}/clip.mp4"
    if not upload:
        put(path, address)
    with relay(s3_port, [5 * PIECE, 3 * PIECE], upload=upload) as between:
        monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://{HOST}:{between.port}"})
        if upload:
            assert put(path, address, tries=QUICK).sha256 == sha256_of(path)
        with Scratch(tmp_path / "scratch").fetched(address, tries=QUICK) as copy:
            assert copy.read_bytes() == path.read_bytes()
        assert between.connections >= 3 and not between.cuts
    assert keys(s3) == {"clip.mp4": path.read_bytes()}
    assert not s3.buckets["bucket"].multiparts


@pytest.mark.parametrize("upload", [False, True])
def test_cut_connections_to_an_sftp_server_are_made_again(
    sftp: SftpServer, home: Path, tmp_path: Path, small_pieces: None, upload: bool
) -> None:
    path = made(tmp_path / "one", 12 * PIECE)
    known_hosts = home / ".ssh" / "known_hosts"
    before = known_hosts.read_text()
    if not upload:
        (sftp.root / "clip.mp4").write_bytes(path.read_bytes())
    with relay(sftp.port, [8 * PIECE, 5 * PIECE], upload=upload) as between:
        known_hosts.write_text(before + sftp.known_host.replace(str(sftp.port), str(between.port)))
        address = f"sftp://{USER}@{HOST}:{between.port}/clip.mp4"
        if upload:
            put(path, address, tries=QUICK)
        else:
            with Scratch(tmp_path / "scratch").fetched(address, tries=QUICK) as copy:
                assert copy.read_bytes() == path.read_bytes()
        assert between.connections == 3
        fsspec.get_filesystem_class("sftp").clear_instance_cache()
    known_hosts.write_text(before)
    assert below(sftp.root) == {"clip.mp4": path.read_bytes()}


# Servers that lie.


@pytest.mark.parametrize("damage", ["short", "changed"])
@pytest.mark.parametrize("times", [1, 99])
def test_what_an_sftp_server_kept_otherwise_is_noticed(
    sftp: SftpServer, tmp_path: Path, damage: str, times: int
) -> None:
    path, address = made(tmp_path / "one"), f"{sftp.address}/clip.mp4"
    made(sftp.root / "clip.mp4", 7)
    left = [times]

    def spoil(offset: int, content: bytes) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            return content
        return content[:-1] if damage == "short" else content[:-1] + b"?"

    sftp.damage = spoil
    if times == 1:
        assert put(path, address, tries=QUICK).bytes == 1000
        assert below(sftp.root) == {"clip.mp4": path.read_bytes()}
    else:
        with pytest.raises(TransferError, match="not what was sent"):
            put(path, address, tries=QUICK)
        assert [len(content) for content in below(sftp.root).values()] == [7], "what was there stays"


@pytest.mark.parametrize("damage", ["short", "changed"])
@pytest.mark.parametrize("times", [1, 99])
@pytest.mark.parametrize("size", [1000, 3 * PIECE])
def test_what_an_s3_service_kept_otherwise_is_noticed(
    s3: Any, tmp_path: Path, small_parts: None, damage: str, times: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, address = made(tmp_path / "one", size), f"{BUCKET}/clip.mp4"
    left, whole = [times], type(s3).put_object

    def put_object(self: Any, bucket: str, key: str, value: bytes, *rest: Any, **further: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            value, further["etag"] = (value[:-1] if damage == "short" else value[:-1] + b"?"), None
        return whole(self, bucket, key, value, *rest, **further)

    monkeypatch.setattr(type(s3), "put_object", put_object)
    if times == 1:
        assert put(path, address, tries=QUICK).sha256 == sha256_of(path)
        assert keys(s3) == {"clip.mp4": path.read_bytes()}
    else:
        with pytest.raises(TransferError, match="not what was sent"):
            put(path, address, tries=QUICK)
        assert not keys(s3), "what is wrong is not left under the name"


def test_what_was_damaged_on_the_way_to_s3_is_noticed(
    s3: Any, s3_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, address = made(tmp_path / "one", 9 * PIECE), f"{BUCKET}/clip.mp4"
    with relay(s3_port, [], upload=True, spoils=5 * PIECE) as between:
        monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://{HOST}:{between.port}"})
        put(path, address, tries=QUICK)
        assert between.spoils is not None and between.spoils < -9 * PIECE, "it was sent twice"
    assert keys(s3) == {"clip.mp4": path.read_bytes()}
    # By this a service refuses it at once, so that it never gets the name. moto does not look.
    md5 = base64.b64encode(hashlib.md5(path.read_bytes()).digest())
    assert re.search(b"(?i)content-md5: ?" + re.escape(md5), between.began)


@pytest.mark.parametrize("right", [True, False])
def test_a_tag_that_is_no_md5_is_not_believed(
    s3: Any, tmp_path: Path, right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with keys of KMS. The service is asked for the content itself, and only then.
    path, address = made(tmp_path / "one"), f"{BUCKET}/clip.mp4"
    read: list[str] = []
    opened = stores.S3Store.open

    def counted(self: stores.S3Store, found: Found, offset: int) -> stores.Reader:
        read.append(found.path)
        return opened(self, found, offset)

    monkeypatch.setattr(stores.S3Store, "open", counted)
    put(path, address)
    assert not read, "an md5 is enough"
    monkeypatch.setattr(moto.s3.models.FakeKey, "etag", property(lambda key: f'"{len(key.value)}-kms"'))
    if not right:
        whole = type(s3).put_object
        monkeypatch.setattr(type(s3), "put_object", lambda self, b, k, v, *r, **f: whole(self, b, k, v[::-1], *r, **f))
        with pytest.raises(TransferError, match="not what was sent"):
            put(path, address, tries=Tries(retries=0))
    else:
        put(path, address)
    assert len(read) == 1


def test_a_server_that_cannot_replace_by_renaming(
    sftp: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncssh.sftp

    async def unsupported(self: Any, *names: bytes) -> None:
        raise asyncssh.SFTPOpUnsupported("no such call")

    monkeypatch.setattr(asyncssh.sftp.SFTPClientHandler, "posix_rename", unsupported)
    for size in (1000, 10):
        put(made(tmp_path / "one", size), f"{sftp.address}/clip.mp4", tries=QUICK)
        assert {name: len(content) for name, content in below(sftp.root).items()} == {"clip.mp4": size}


# Servers that refuse.


def test_a_server_whose_key_is_unknown_or_another_is_not_trusted(sftp: SftpServer, home: Path) -> None:
    known_hosts = home / ".ssh" / "known_hosts"
    before = known_hosts.read_text()
    for known in ("", before.replace("AAAA", "AAAA", 1).replace(before.split()[-1], _other_key())):
        known_hosts.write_text(known)
        fsspec.get_filesystem_class("sftp").clear_instance_cache()
        with pytest.raises(DecodeError, match="known_hosts"):
            list(find(f"{sftp.address}/"))
    known_hosts.write_text(before)
    assert list(find(f"{sftp.address}/")) == [] and sftp.logins == 0


def _other_key() -> str:
    import asyncssh

    return asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()[1]


def test_a_wrong_password_is_tried_once_and_never_shown(
    sftp: SftpServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home / "nobody"))
    monkeypatch.setitem(fsspec.config.conf, "sftp", {"known_hosts": str(home / ".ssh" / "known_hosts")})
    fsspec.get_filesystem_class("sftp").clear_instance_cache()
    address = join(f"sftp://{USER}:wr0ng%2Fw0rd@{HOST}:{sftp.port}", "clip.mp4")
    with pytest.raises(DecodeError, match="check who you log in as") as caught:
        describe(address, tries=QUICK)
    shown = f"{caught.value} {caught.value!r}"
    assert sftp.logins == 1 and "wr0ng" not in shown and USER not in shown


def test_the_right_password_opens(sftp: SftpServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home / "nobody"))
    made(sftp.root / "clip.mp4")
    fsspec.get_filesystem_class("sftp").clear_instance_cache()
    known_hosts = {"known_hosts": str(home / ".ssh" / "known_hosts")}
    # In the address with its odd characters as codes, or out of fsspec's configuration, where numbers are text.
    monkeypatch.setitem(fsspec.config.conf, "sftp", known_hosts)
    assert describe(f"sftp://{USER}:s3cr3t%2F%23%40@{HOST}:{sftp.port}/clip.mp4").bytes == 1000
    options = {**known_hosts, "username": USER, "password": PASSWORD, "port": str(sftp.port)}
    monkeypatch.setitem(fsspec.config.conf, "sftp", options)
    assert describe(f"sftp://{HOST}/clip.mp4").bytes == 1000 and sftp.logins == 2
    monkeypatch.setitem(fsspec.config.conf, "sftp", {**options, "no_such_option": 1})
    with pytest.raises(ConfigError, match="no_such_option"):
        describe(f"sftp://{HOST}/clip.mp4")


def test_a_host_may_be_one_of_the_ssh_configuration(sftp: SftpServer, home: Path) -> None:
    made(sftp.root / "clip.mp4")
    config = home / ".ssh" / "config"
    config.write_text(f"Host archive\n  HostName {HOST}\n  Port {sftp.port}\n  User {USER}\n")
    assert describe("sftp://archive/clip.mp4").bytes == 1000
    config.unlink()


def test_what_a_server_forbids_is_said(sftp: SftpServer, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Nothing is forbidden to root; a file in the way is.
        made(sftp.root / "out")
        with pytest.raises(TransferError, match="out is not a directory"):
            put(made(tmp_path / "one"), f"{sftp.address}/out/clip.mp4", tries=QUICK)
        return
    (sftp.root / "out").mkdir(mode=0o500)
    with pytest.raises(EncodeError, match="what that account may do there"):
        put(made(tmp_path / "one"), f"{sftp.address}/out/clip.mp4", tries=QUICK)


def test_wrong_and_missing_keys_of_s3_are_said(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, address = made(tmp_path / "one"), f"{BUCKET}/clip.mp4"
    monkeypatch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    for act, failure in [(lambda: put(path, address), EncodeError), (lambda: describe(address), DecodeError)]:
        with pytest.raises(failure, match="check who you log in as"):
            act()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(DecodeError, match="AWS_PROFILE names another"):
        describe(address)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_who_has_no_login_is_told_what_was_looked_for_before_anything_is_made(
    sftp: SftpServer, s3: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where only a list names it; a place that does not answer now, and a file that is missing, are no matter."""
    from vidsal.batch.inputs import Given, check_inputs
    from vidsal.batch.job import login_check

    def check(*addresses: str, **given: Any) -> None:
        for scheme in ("s3", "sftp"):
            fsspec.get_filesystem_class(scheme).clear_instance_cache()
        named = Given(**given) if given else Given(listed=[{"path": address} for address in addresses])
        check_inputs(named, lambda overrides: "plan", check_address=login_check())

    there, missing = f"{sftp.address}/clip.mp4", f"{BUCKET}/none.mp4"
    made(sftp.root / "clip.mp4")
    asked: list[str] = []
    monkeypatch.setattr(remote, "exists", lambda address, **more: asked.append(address) or exists(address, **more))
    check(there, missing, f"{sftp.address}/none.mp4", f"sftp://{HOST}:1/clip.mp4", "rtsp://host/live", "clip.mp4")
    assert asked == [there, missing, f"sftp://{HOST}:1/clip.mp4"], "each place is asked once"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/etc/aws.conf")
    with pytest.raises(DecodeError, match=r"looked for: AWS_ACCESS_KEY_ID .*~/.aws/credentials and /etc/aws.conf"):
        check(there, missing)
    with pytest.raises(DecodeError, match="looked for: AWS_ACCESS_KEY_ID"):
        check(inputs=(BUCKET,))
    key = home / ".ssh" / "id_ed25519"
    hidden = key.rename(home / "away")
    try:
        with pytest.raises(DecodeError, match=r"Looked for: keys in ~/.ssh .*SSH_AUTH_SOCK is not set.*~/.ssh/config"):
            check(there)
    finally:
        hidden.rename(key)
    monkeypatch.setitem(fsspec.config.conf, "sftp", {"known_hosts": str(made(tmp_path / "empty", 0))})
    with pytest.raises(DecodeError, match="connect once by ssh"):
        check(there)


def test_a_missing_bucket_is_said(s3: Any, tmp_path: Path) -> None:
    for act in (describe, lambda address: list(find(address)), lambda address: put(made(tmp_path / "one"), address)):
        with pytest.raises((DecodeError, EncodeError), match=r"(?i)no bucket called nowhere|bucket does not exist"):
            act("s3://nowhere/clip.mp4")
    with pytest.raises(DecodeError, match="bucket does not exist"):
        list(find("s3://nowhere"))
    assert list(find(BUCKET)) == []


# S3 alone.


def test_many_objects_come_a_page_at_a_time(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1203):
        s3.put_object("bucket", f"in/{number:04}.mp4", b"")
    s3.put_object("bucket", "in/", b"")
    s3.put_object("bucket", "in/mon/", b"")
    pages: list[str | None] = []
    page = stores.S3Store.page

    def counted(self: stores.S3Store, folder: str, token: str | None) -> Any:
        pages.append(token)
        return page(self, folder, token)

    monkeypatch.setattr(stores.S3Store, "page", counted)
    found = find(f"{BUCKET}/in")
    assert next(found).name == "0000.mp4" and len(pages) == 1
    assert [one.name for one in found] == [f"{number:04}.mp4" for number in range(1, 1203)] and len(pages) == 2


def test_an_object_is_the_same_in_a_list_and_alone(
    s3: Any, tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some services say parts of a second in a list, where there is room for them.
    files = fsspec.get_filesystem_class("s3")
    whole = files.call_s3

    def call_s3(self: Any, method: str, **options: Any) -> Any:
        answer = whole(self, method, **options)
        for one in answer.get("Contents", []):
            one["LastModified"] = one["LastModified"].replace(microsecond=123_000)
        return answer

    monkeypatch.setattr(files, "call_s3", call_s3)
    for number, size in enumerate((0, 1000, 3 * PIECE)):
        put(made(tmp_path / "one", size), f"{BUCKET}/{number}")
    assert [describe(one.path) for one in find(BUCKET)] == list(find(BUCKET))


def test_the_usual_variable_leads_to_another_service(
    s3: Any, s3_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(fsspec.config.conf, "s3")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{HOST}:{s3_port}")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    put(made(tmp_path / "one"), f"{BUCKET}/clip.mp4", tries=QUICK)
    assert list(keys(s3)) == ["clip.mp4"]
    fsspec.get_filesystem_class("s3").clear_instance_cache()


# SFTP alone.


def test_links_to_files_are_followed_and_links_to_folders_are_not(sftp: SftpServer) -> None:
    made(sftp.root / "in" / "clip.mp4")
    made(sftp.root / "other" / "far.mp4", 77)
    (sftp.root / "in" / "file").symlink_to("../other/far.mp4")
    (sftp.root / "in" / "folder").symlink_to("../other")
    (sftp.root / "in" / "loop").symlink_to(".")
    (sftp.root / "in" / "nowhere").symlink_to("missing")
    os.mkfifo(sftp.root / "in" / "pipe")
    found = {one.name: one.bytes for one in find(f"{sftp.address}/in")}
    assert found.keys() == {"clip.mp4", "file", "nowhere"} and found["file"] == 77
    with pytest.raises(DecodeError, match="no such file"):
        describe(f"{sftp.address}/in/nowhere")


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_a_name_that_is_no_utf_8_is_a_name_on_an_sftp_server(sftp: SftpServer, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff#.mp4")
    made(sftp.root / name)
    (found,) = find(sftp.address)
    assert found.path == f"{sftp.address}/%FF%23.mp4" and found.path.isascii()
    with Scratch(tmp_path / "scratch").fetched(found.path, found) as copy:
        assert os.fsencode(copy.name) == b"\xff#.mp4"
    put(made(tmp_path / "less", 3), found.path)
    assert below(sftp.root) == {name: (tmp_path / "less").read_bytes()}


# The scratch folder.


def test_one_that_is_larger_than_the_limit_is_refused(sftp: SftpServer, tmp_path: Path) -> None:
    made(sftp.root / "clip.mp4", 1001)
    scratch = Scratch(tmp_path / "scratch", limit_bytes=1000)
    with pytest.raises(EncodeError, match=r"has 1001 bytes, and the scratch folder .* may hold 1000; raise"):
        scratch.fetched(f"{sftp.address}/clip.mp4").__enter__()


def test_a_disk_that_is_too_small_is_said(sftp: SftpServer, tmp_path: Path) -> None:
    made(sftp.root / "clip.mp4", 1001)
    scratch = Scratch(tmp_path / "scratch", spare_bytes=1 << 60)
    with pytest.raises(EncodeError, match="has room for 0; free some space"):
        scratch.fetched(f"{sftp.address}/clip.mp4").__enter__()
    assert not list(scratch.folder.iterdir())


def stop_after(polls: int) -> Callable[[], bool]:
    asked: list[int] = []
    return lambda: asked.append(1) or len(asked) > polls


def test_whoever_comes_waits_for_room_in_order(memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidsal.batch.storage._POLL_SECONDS", 0.005)
    for name, size in (("first", 600), ("large", 700), ("small", 100)):
        put(made(tmp_path / name, size), f"{memory}/{name}")
    scratch = pickle.loads(pickle.dumps(Scratch(tmp_path / "scratch", limit_bytes=1000)))
    got: list[str] = []
    waits = threading.Event()

    def asked() -> bool:
        if any(path.name.startswith("wait-") for path in scratch.folder.iterdir()):
            waits.set()
        return False

    def fetch_large() -> None:
        with scratch.fetched(f"{memory}/large", should_stop=asked) as path:
            got.append(path.name)

    with scratch.fetched(f"{memory}/first"):
        with scratch.fetched(f"{memory}/small"):
            pass  # There is room for both.
        thread = threading.Thread(target=fetch_large)
        thread.start()
        assert waits.wait(60)
        # There would be room; but a large one must not wait for ever behind small ones.
        with pytest.raises(Stopped):
            scratch.fetched(f"{memory}/small", should_stop=stop_after(20)).__enter__()
        with pytest.raises(NoRoom):
            scratch.fetched(f"{memory}/small", wait=False).__enter__()
        assert got == []
    thread.join(60)
    assert got == ["large"] and not list(scratch.folder.iterdir())


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://top"
    fsspec.filesystem("memory").store.clear()


KILLED = """
import os, signal, sys
from pathlib import Path
from vidsal.batch.storage import Scratch
scratch = Scratch(Path(sys.argv[1]), 1000)
for kind in ("fetch", "wait"):
    (scratch._make(kind, 900).path / "half.mp4").write_bytes(b"x" * 10)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_cleared(memory: str, tmp_path: Path) -> None:
    put(made(tmp_path / "clip", 600), f"{memory}/clip")
    scratch = Scratch(tmp_path / "scratch", limit_bytes=1000)
    made(scratch.folder / "notes.txt")
    done = subprocess.run([sys.executable, "-c", KILLED, str(scratch.folder)], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL and len(list(scratch.folder.iterdir())) == 5
    with scratch.fetched(f"{memory}/clip") as path:
        assert {one.name for one in scratch.folder.iterdir() if one.is_dir()} == {path.parent.name}
    assert [path.name for path in scratch.folder.iterdir()] == ["notes.txt"], "what is not its own stays"


MANY = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from vidsal.batch.storage import Scratch, _size_of, join, put
address, folder, first = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
scratch = Scratch(folder, 40_000)
def one(number):
    with scratch.fetched(f"{address}/in/{number}.mp4") as path:
        used = _size_of(folder)
        return number, used, put(path, join(address, "out", "deep", path.name)).sha256
with ThreadPoolExecutor(5) as pool:
    for made in pool.map(one, range(first, 50, 2)):
        print(*made)
"""


def test_fifty_files_by_two_processes(sftp: SftpServer, tmp_path: Path) -> None:
    for number in range(50):
        made(sftp.root / "in" / f"{number}.mp4", 9000 + number, seed=number)
    command = [sys.executable, "-c", MANY, sftp.address, str(tmp_path / "scratch")]
    both = [subprocess.Popen([*command, str(first)], stdout=subprocess.PIPE, text=True) for first in (0, 1)]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    made_here = {int(line.split()[0]): line.split()[1:] for line in "".join(said).splitlines()}
    assert sorted(made_here) == list(range(50))
    assert all(int(used) <= 40_000 for used, _ in made_here.values())
    there = below(sftp.root)
    assert all(there[f"out/deep/{number}.mp4"] == there[f"in/{number}.mp4"] for number in range(50))
    assert len(there) == 100 and not list((tmp_path / "scratch").iterdir())
