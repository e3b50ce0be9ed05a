"""How worker processes are started."""

from __future__ import annotations

import os
import subprocess
import sys
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
