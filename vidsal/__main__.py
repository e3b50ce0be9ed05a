"""`python -m vidsal` in, the command line's exit status out."""

import sys

from vidsal.cli import main

if __name__ == "__main__":
    sys.exit(main())
