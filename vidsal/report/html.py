"""Texts, styles, scripts and data in, one HTML page out that needs no other file and asks no network.

The page allows nothing but what stands in it: its Content-Security-Policy names the hash of each of its styles and
scripts, pictures in it or beside it, and videos beside it. So a text of an input that slipped through as markup could
not run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from vidsal.words import in_utf8

__all__ = ["asset", "data_block", "escaped", "link_to", "make_page", "picture_address"]

escaped = html.escape
"""A text as it may stand in an element and in a quoted attribute."""


@cache
def asset(name: str) -> str:
    """A file of vidsal/report/assets as text.

    Example:
        >>> asset("uPlot.LICENSE.txt").splitlines()[0]
        'The MIT License (MIT)'
    """
    return resources.files("vidsal.report").joinpath("assets", name).read_text(encoding="utf-8")


def make_page(
    *,
    title: str,
    body: str,
    styles: Sequence[str],
    scripts: Sequence[str] = (),
    blocks: Sequence[str] = (),
    connects: bool = False,
) -> str:
    """One page as text; what UTF-8 cannot write in it, as in the name of a file, becomes question marks.

    Args:
        title: plain text.
        body: the content of its body, as HTML.
        styles: style sheets, in order.
        scripts: JavaScript, in order; they run when the body is there.
        blocks: what `data_block` made; it stands in the head.
        connects: whether its scripts may ask the server that the page comes from.

    Example:
        >>> page = make_page(title="a < b", body="<p>hello</p>", styles=["p { margin: 0 }"], scripts=["let a = 1;"])
        >>> "<title>a &lt; b</title>" in page, page.count("sha256-"), "'unsafe-inline'" in page
        (True, 2, False)
    """
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src {_hashes(styles)}",
            f"script-src {_hashes(scripts)}",
            # A page from a disk has no origin of its own in some browsers.
            "img-src 'self' file: data:",
            "media-src 'self' file:",
            *(["connect-src 'self'"] if connects else []),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escaped(policy)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        '<link rel="icon" href="data:,">',
        f"<title>{escaped(title)}</title>",
        *blocks,
        *(f"<style>{style}</style>" for style in styles),
    ]
    tail = [f"<script>{script}</script>" for script in scripts]
    lines = ['<!DOCTYPE html>\n<html lang="en">\n<head>', *head, "</head>\n<body>", body, *tail, "</body>\n</html>\n"]
    return in_utf8("\n".join(lines))


def _hashes(texts: Sequence[str]) -> str:
    """What the policy says of texts that stand in the page; a browser hashes them with the ends of lines of Unix."""
    for text in texts:
        if "\r" in text or "</script" in text.lower() or "</style" in text.lower():
            raise ValueError("a style or a script must not hold a carriage return, nor what ends it in a page")
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests) or "'none'"


def data_block(id: str, values: Any) -> str:
    """Values as JSON in an element that scripts find by its id, and that no text in the values can end.

    Numbers have nine digits, as in a table of text.

    Raises:
        ValueError: a number is not finite.

    Example:
        >>> data_block("data", {"name": "</script>", "share": 0.1 + 0.2})
        '<script type="application/json" id="data">{"name":"\\\\u003c/script\\\\u003e","share":0.3}</script>'
    """
    text = json.dumps(_plain(values), allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="{escaped(id)}">{text}</script>'


def _plain(values: Any) -> Any:
    if isinstance(values, float):
        if not math.isfinite(values):
            raise ValueError(f"{values} is no finite number")
        short = float(format(values, ".9g"))
        return int(short) if short.is_integer() and abs(short) < 2**53 else short
    if isinstance(values, Mapping):
        return {str(name): _plain(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_plain(value) for value in values]
    return values


def picture_address(jpeg: bytes) -> str:
    """A JPEG as an address that holds all of it."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def link_to(target: Path, *, page: Path) -> str:
    """The address of a file, relative to a page: it holds wherever both are moved together.

    Example:
        >>> link_to(Path("/films/day 1/a#b.mp4"), page=Path("/films/results/a.vidsal.html"))
        '../day%201/a%23b.mp4'
    """
    try:
        way = os.path.relpath(target.absolute(), page.parent.absolute())
    except ValueError:
        # Windows: on another drive.
        return target.absolute().as_uri()
    # The first part would be taken for a scheme if it held a colon.
    return urllib.parse.quote(os.fsencode(way.replace(os.sep, "/")), safe="/-_.~!$&'()*+,;=@")
