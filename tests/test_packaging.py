"""The wheel as a user gets it: built here from the checkout, opened, its files listed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGEST_WHEEL_BYTES = 15 * 2**20

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the build backend is not installed: pip install hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("vidsal-*.whl")
    return path


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    kinds = (".py", ".typed", ".safetensors")
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "vidsal").rglob("*") if path.name.endswith(kinds)}
    assert "vidsal/py.typed" in expected
    assert expected <= names_in(wheel)


def test_the_wheel_holds_the_licence_and_the_notice(wheel: Path) -> None:
    names = {Path(name).name for name in names_in(wheel) if ".dist-info/licenses/" in name}
    assert {"LICENSE", "NOTICE"} <= names


def test_the_wheel_holds_nothing_but_the_package(wheel: Path) -> None:
    assert {name.split("/")[0].split("-")[0] for name in names_in(wheel)} == {"vidsal"}
    assert not [name for name in names_in(wheel) if "__pycache__" in name or name.endswith((".pt", ".pth", ".pkl"))]


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size <= LARGEST_WHEEL_BYTES


def test_the_embedded_default_is_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        weights = [entry for entry in archive.infolist() if entry.filename.endswith(".safetensors")]
    assert all(entry.file_size <= 10 * 2**20 for entry in weights)
