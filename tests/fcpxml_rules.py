"""The rules of Apple's DTD of FCPXML 1.10 for the elements that are written here, in lxml's form.

Content models and attributes are those that Apple documents (Professional Video Applications, FCPXML Reference); of
elements that are not written, only their places are left out.
"""

from __future__ import annotations

import io
import re
from fractions import Fraction

from lxml import etree

_ELEMENTS = {
    "fcpxml": "(import-options?, resources?, (library | event* | project*))",
    "import-options": "EMPTY",
    "resources": "(asset | format)*",
    "format": "EMPTY",
    "asset": "(media-rep+, metadata?)",
    "media-rep": "(bookmark?)",
    "bookmark": "(#PCDATA)",
    "metadata": "EMPTY",
    "library": "(event)*",
    "event": "(asset-clip | project)*",
    "project": "(sequence)",
    "sequence": "(note?, spine, metadata?)",
    "note": "(#PCDATA)",
    "spine": "(asset-clip | gap)*",
    "gap": "(note?, (marker | chapter-marker | keyword)*, metadata?)",
    "asset-clip": "(note?, (marker | chapter-marker | keyword)*, metadata?)",
    "marker": "EMPTY",
    "chapter-marker": "EMPTY",
    "keyword": "EMPTY",
}
_ATTRIBUTES = """
fcpxml version CDATA #FIXED "1.10"
format id ID #REQUIRED
format name, frameDuration, fieldOrder, width, height, paspH, paspV, colorSpace CDATA #IMPLIED
asset id ID #REQUIRED
asset format IDREF #IMPLIED
asset name, uid, start, duration, hasVideo, hasAudio CDATA #IMPLIED
asset videoSources, audioSources, audioChannels, audioRate CDATA #IMPLIED
media-rep kind (original-media|proxy-media) "original-media"
media-rep sig, suggestedFilename CDATA #IMPLIED
media-rep src CDATA #REQUIRED
library location CDATA #IMPLIED
event name, uid CDATA #IMPLIED
project id ID #IMPLIED
project name, uid, modDate CDATA #IMPLIED
sequence format IDREF #REQUIRED
sequence duration, tcStart, renderFormat, keywords CDATA #IMPLIED
sequence tcFormat (DF|NDF) #IMPLIED
sequence audioLayout (mono|stereo|surround) #IMPLIED
sequence audioRate (32k|44.1k|48k|88.2k|96k|176.4k|192k) #IMPLIED
spine lane, offset, name CDATA #IMPLIED
spine format IDREF #IMPLIED
asset-clip ref IDREF #REQUIRED
asset-clip lane, offset, name, start, duration, tcStart, modDate, audioStart, audioDuration CDATA #IMPLIED
asset-clip format IDREF #IMPLIED
asset-clip enabled (0|1) "1"
asset-clip srcEnable (all|audio|video) "all"
asset-clip tcFormat (DF|NDF) #IMPLIED
gap name, offset, start CDATA #IMPLIED
gap duration CDATA #REQUIRED
gap enabled (0|1) "1"
marker start, value CDATA #REQUIRED
marker duration, completed, note CDATA #IMPLIED
"""
"""An element, its attributes and their kind a line."""


def parse(document: bytes) -> etree._Element:
    """A document that follows the rules: its root.

    Raises:
        AssertionError: it does not, with what is wrong.
    """
    text = "\n".join(
        [f"<!ELEMENT {name} {content}>" for name, content in _ELEMENTS.items()]
        + [
            f"<!ATTLIST {element} {name} {kind}>"
            for element, names, kind in re.findall(r"^(\S+) ((?:\S+, )*\S+) (.+)$", _ATTRIBUTES, re.MULTILINE)
            for name in names.split(", ")
        ]
    )
    rules = etree.DTD(io.StringIO(text))
    root = etree.fromstring(document)
    if not rules.validate(root):
        raise AssertionError(rules.error_log.filter_from_errors())
    return root


def seconds(text: str) -> Fraction:
    """A time of FCPXML, such as 1001/30000s."""
    if not text.endswith("s"):
        raise AssertionError(text)
    return Fraction(text[:-1])
