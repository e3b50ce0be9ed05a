"""`Aois` in, the own form of a file of areas out: what `read_aois` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vidsal.aois.areas import Aoi, Aois, Key, Part
from vidsal.aois.read import FORMAT

__all__ = ["aois_as_json"]


def aois_as_json(aois: Aois, *, height: int, width: int, about: Mapping[str, Any] | None = None) -> str:
    """The text of a file of areas.

    Args:
        aois: the areas.
        height: rows of the picture that they lie in.
        width: columns of it.
        about: what else the file says, for people; it is not read.

    Example:
        >>> import numpy as np
        >>> corners = np.array([[0.0, 0], [4, 0], [4, 2]])
        >>> print(aois_as_json(Aois((Aoi("a", (Part("seconds", (Key(0.0, corners),)),)),)), height=2, width=4))
        {
         "format": "vidsal-aois-1",
         "size": [4, 2],
         "aois": [
          {"name": "a", "parts": [{"polygon": [[0.0, 0.0], [4.0, 0.0], [4.0, 2.0]]}]}
         ]
        }
    """
    lines = ["{", f' "format": {json.dumps(FORMAT)},', f' "size": {json.dumps([width, height])},']
    if about:
        lines.append(f' "about": {json.dumps(about)},')
    lines += [' "aois": [', *(f"  {json.dumps(_area(aoi))}," for aoi in aois.aois)]
    lines[-1] = lines[-1].removesuffix(",")
    return "\n".join([*lines, " ]", "}"])


def _area(aoi: Aoi) -> dict[str, Any]:
    values: dict[str, Any] = {"name": aoi.name}
    if aoi.priority:
        values["priority"] = aoi.priority
    for name in ("start_seconds", "end_seconds"):
        if getattr(aoi, name) is not None:
            values[name] = getattr(aoi, name)
    if aoi.shots is not None:
        values["shots"] = sorted(aoi.shots)
    return {**values, "parts": [_part(part) for part in aoi.parts]}


def _part(part: Part) -> dict[str, Any]:
    if len(part.keys) == 1 and (points := part.keys[0].points) is not None:
        return {"polygon": points.tolist()}
    clock = "seconds" if part.clock == "seconds" else "frame"
    return {"keyframes": [{clock: key.at, **_key(key)} for key in part.keys]}


def _key(key: Key) -> dict[str, Any]:
    if key.points is None:
        return {"absent": True}
    return {"polygon": key.points.tolist(), **({"hold": True} if key.holds else {})}
