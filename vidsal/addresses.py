"""An address or a name in, what messages, results and records may show of it out: no passwords, no commands."""

from __future__ import annotations

import re

__all__ = ["harmless", "hide_secrets"]

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)?//(?P<rest>.*)", re.DOTALL)
_NO_SECRET = re.compile(r"[^=]*=\d{1,3}")
"""A channel, a sub-stream, a rate: too short to be a key, and what tells a camera's streams apart."""


def hide_secrets(source: object) -> str:
    """What may be shown of a source: of an address no user, no password and no values of its query.

    Anything else, a path or the number of a camera, stays as it is.

    Example:
        >>> hide_secrets("rtsp://me:p@ss@host/door.sdp?channel=1&token=2f8a")
        'rtsp://host/door.sdp?channel=1&token=…'
        >>> hide_secrets("https://host/file#key"), hide_secrets("clips/a@b.mp4")
        ('https://host/file#…', 'clips/a@b.mp4')
    """
    text = str(source)
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return text
    begin, rest = text[: found.start("rest")], found["rest"]
    rest, hash_sign, fragment = rest.partition("#")
    rest, mark, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        authority = authority.rpartition("@")[2]
    elif "@" in rest + query + fragment and re.fullmatch(r".*:\d*", authority) is None and ":" in authority:
        # Not a port after the colon: a password that holds /, ? or #.
        return f"{begin}…@{(rest + mark + query + hash_sign + fragment).rpartition('@')[2].partition('?')[0]}"
    shown = "&".join(_shown(part) for part in query.split("&"))
    return f"{begin}{authority}{slash}{path}{mark}{shown}{hash_sign}{'…' if fragment else ''}"


def harmless(text: str) -> str:
    """A text that a terminal can be given: the name of a file may hold what terminals take for commands.

    Example:
        >>> harmless("a" + chr(27) + "[2J.mp4") == "a" + chr(92) + "x1b[2J.mp4"
        True
    """
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)
    # Nor need it be text.
    return text.encode(errors="backslashreplace").decode()


def _shown(part: str) -> str:
    """One part of a query: its name, and its value where that is a small number."""
    if not part or _NO_SECRET.fullmatch(part):
        return part
    name, equals, _ = part.partition("=")
    return f"{name}=…" if equals else "…"
