"""The command line's arguments in, files and an exit status out: parse, call, show.

Results and paths go to stdout, everything else to stderr. 0: done; 1: a file's fault; 2: bad usage or option values;
130 and 143: stopped by Ctrl-C and SIGTERM. Modules that import torch are imported by the command that needs them.
"""

from vidsal.cli.dispatch import main

__all__ = ["main"]
