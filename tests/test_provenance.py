"""Which code made a result."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import vidsal
from vidsal import provenance


def commit_of(folder: Path, *names: str) -> str:
    """Makes a repository of the folder with one commit of the names; its short hash."""
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", *names], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    shown = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=folder, check=True, capture_output=True)
    return shown.stdout.decode().strip()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the file in a folder `package`, which it takes for its own place."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "provenance.py").write_text("first")
    monkeypatch.setattr(provenance, "__file__", str(folder / "provenance.py"))
    return folder


def test_a_checkout_tells_its_commit_and_whether_files_differ(package: Path) -> None:
    commit = commit_of(package.parent, "package")
    assert provenance.source_commit() == commit
    (package / "other").touch()
    assert provenance.source_commit() == commit
    (package / "provenance.py").write_text("second")
    assert provenance.source_commit() == commit + "+"


def test_asking_for_the_commit_writes_nothing_into_the_checkout(package: Path) -> None:
    commit_of(package.parent, "package")
    index = package.parent / ".git" / "index"
    before = index.read_bytes()
    # The same content at another time: git would note it down.
    os.utime(package / "provenance.py", (1, 1))
    assert not provenance.source_commit().endswith("+")
    assert index.read_bytes() == before


def test_the_commit_of_a_checkout_of_something_else_is_not_ours(package: Path) -> None:
    (package.parent / "theirs").write_text("an analysis, with vidsal installed below it")
    commit_of(package.parent, "theirs")
    assert provenance.source_commit() == ""


def test_outside_a_checkout_there_is_no_commit(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(package.parent))
    assert provenance.source_commit() == ""


def test_the_version_is_the_installed_one() -> None:
    assert vidsal.__version__ == provenance.package_version()
