"""`vidsal serve`: a folder of results in, its pages from a local server out; videos that are dropped there are run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidsal.cli.parser import as_usage, check_model, command, flag
from vidsal.cli.process import Stop, print_error, print_out, say
from vidsal.serve.options import ServeOptions

__all__ = ["serve_command"]


@command(
    "look at results in a browser, and run videos that are dropped on a page",
    flag("folder", nargs="?", default=Path(), metavar="DIR", type=Path, help="folder of results (default: this one)"),
    flag("--open", help="open the page in a browser"),
    flag("-q", "--quiet", help="no notices on stderr; errors stay"),
    options=ServeOptions,
    usage="vidsal serve [options] [DIR]",
    epilog=(
        "exit status:\n"
        "  0    ended by Ctrl-C, SIGTERM or SIGHUP\n"
        "  1    it could not be served: the port is taken, the folder cannot be written into\n"
        "  2    wrong usage, or a wrong value of an option\n"
    ),
)
def serve_command(given: Any, options: ServeOptions) -> int:
    """Serve the results in DIR, also in folders below it, as pages: a list of all videos, and the
    report of each. Videos that are dropped on the list go to DIR/uploads and are run one after
    the other, with the options given here. Only this machine can reach the server, unless --host
    says otherwise; then a token is asked for. The address to open goes to stdout. Ctrl-C ends it;
    a run that is under way begins again at the next start.
    """
    from vidsal.index import write_report_of
    from vidsal.model.checkpoint import is_baseline, weights_path
    from vidsal.serve.server import serve

    check_model(*options.model.named)

    def ready(address: str) -> None:
        print_out(address)
        say("vidsal: Ctrl-C ends it", quiet=given.quiet)
        if given.open:
            import webbrowser

            if not webbrowser.open(address):
                say("vidsal: no browser was found: open the address above", quiet=given.quiet)

    with as_usage():
        # What cannot be loaded is said now, and not of the first video.
        for model in options.model.chosen:
            if not is_baseline(model):
                weights_path(model)
    with Stop(quiet=given.quiet, doing="stopping") as stop, as_usage():
        left = serve(
            given.folder.absolute(),
            options,
            make_report=write_report_of,
            on_ready=ready,
            should_stop=stop,
            on_trouble=print_error,
        )
    if left:
        say(f"vidsal: {left} videos still wait; the next vidsal serve runs them", quiet=given.quiet)
    return 0
