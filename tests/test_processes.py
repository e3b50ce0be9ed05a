"""How worker processes are started."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
from vidsal.processes import worker_context
if __name__ == "__main__":
    process = worker_context("colorsys").Process(target=os.getpid)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process is forked")
def test_workers_import_nothing_from_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "colorsys.py").write_text("open('was-imported', 'w').close()\n")
    script = tmp_path / "bin" / "script.py"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=here, check=True, timeout=240)
    assert not (tmp_path / "was-imported").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are spawned")
def test_what_a_killed_process_leaves_is_removed_by_the_next_one() -> None:
    def left(top: Path, then: str) -> list[str]:
        code = f"import os; from vidsal.processes import worker_context as c; c('colorsys'); c('colorsys'); {then}"
        environment = os.environ | {"TMPDIR": str(top), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        subprocess.run([sys.executable, "-c", code], env=environment, check=False, timeout=240)
        return sorted(path.name.rpartition("-")[0] for path in top.iterdir() if path.suffix != ".lock")

    # The name of a socket has to be short.
    with tempfile.TemporaryDirectory(prefix="v-", dir="/tmp") as name:
        top = Path(name)
        (top / "pymp-other").mkdir()
        for _ in range(2):
            assert left(top, "os.kill(os.getpid(), 9)") == ["pymp", "vidsal-fork"]
        assert left(top, "pass") == ["pymp"] and [path.name for path in top.iterdir()] == ["pymp-other"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere urgency is not looked at")
def test_threads_are_as_urgent_as_before_whatever_was_done_to_them() -> None:
    # SCHED_BATCH stands for real time, which takes root.
    code = """
import os, threading
from vidsal.urgency import kept_urgency
nothing = os.sched_param(0)
go = threading.Event()
def thread():
    started = threading.Event()
    made = threading.Thread(target=lambda: (started.set(), go.wait()), daemon=True)
    made.start()
    started.wait()
    return made.native_id
old = thread()
os.sched_setscheduler(old, os.SCHED_BATCH, nothing)
try:
    with kept_urgency():
        os.sched_setscheduler(old, os.SCHED_OTHER, nothing)
        new = thread()
        os.sched_setscheduler(new, os.SCHED_BATCH, nothing)
        os.sched_setscheduler(0, os.SCHED_BATCH, nothing)
        raise KeyError
except KeyError:
    found = [os.sched_getscheduler(of) for of in (0, old, new)]
go.set()
assert found == [os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_OTHER], found
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
