"""The command line's arguments in, files and an exit status out: parse, call, show.

Results and paths go to stdout, everything else to stderr. 0: done; 1: a file's fault; 2: bad usage or option values;
129, 130 and 143: stopped by SIGHUP, Ctrl-C and SIGTERM; 141: nobody reads stdout any more. Modules that import torch
are imported by the command that needs them.
"""

from vidsal.cli.dispatch import main

__all__ = ["main"]
