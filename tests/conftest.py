"""What all tests share: one quiet thread for torch, the `gpu` marker, the folder of shared material."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# libgomp reads these once, when torch is imported. Its threads spin at barriers: a hundredfold cost on a busy machine.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# On every machine, and in every process that a test starts, the precision `auto` means what it means on a processor
# that does not multiply bfloat16 by itself.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")

import pytest
from hypothesis import settings

# A shell that begins the tests in the background, or under nohup, has some ignored, and children inherit that.
for _name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"):
    _signal = getattr(signal, _name, None)
    if _signal is not None and signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, signal.default_int_handler if _name == "SIGINT" else signal.SIG_DFL)

# Derandomised: a failure on another machine is the same failure here. Times vary with the load, so no deadline.
settings.register_profile("vidsal", deadline=None, derandomize=True)
settings.load_profile("vidsal")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked or os.environ.get("VIDSAL_REQUIRE_GPU"):
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device (VIDSAL_REQUIRE_GPU makes this a failure)"))


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end: no search for garbage needs to go through its million objects again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def as_urgent_as_before() -> Iterator[None]:
    """No test leaves this process real-time, as libsvtav1 does to root: later tests would starve."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    if os.sched_getscheduler(0) != before[0]:
        os.sched_setscheduler(0, *before)
        pytest.fail("the test has changed how urgent the process is")


@pytest.fixture(autouse=True, scope="session")
def empty_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test finds, checks or replaces weights in the user's own cache."""
    os.environ["VIDSAL_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def shared() -> Path:
    """The folder of data sets and videos beside the checkout; what cannot do without it is skipped elsewhere."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no shared material at {folder}")
    return folder


# For the tests of `vidsal batch`, each with a `finished` of its own; other files have fixtures of these names.


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny checkpoint."""
    from made import make_checkpoint

    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips and what else lies in an archive; nobody changes it."""
    from batches import make_archive

    return make_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished results of a file of tests, which may be changed."""
    return Path(shutil.copytree(finished, tmp_path / "done"))
