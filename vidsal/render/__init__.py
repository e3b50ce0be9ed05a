"""Picture and density come in, the picture with what is drawn over it goes out. Pure drawing: no input is written into.

`draw` works on one array on the processor, `draw_planes` on a decoder's own planes for an encoder; `draw_batch` draws
the same over many pictures on the device where they lie, and `to_yuv420` makes there what an encoder takes. `layers_of`
gives what is drawn without a picture: `compose` lays it over one, `flatten` makes one picture with transparency of it;
`draw_alone` is both steps, and `rgba_batch` does them on a device.
"""

from vidsal.render.batch import draw_batch, overlay_batch, rgba_batch
from vidsal.render.draw import draw, draw_alone, draw_planes, layers_of, overlay, side_by_side
from vidsal.render.layer import Layer, compose, flatten
from vidsal.render.recent import Recent
from vidsal.render.scale import LEAST_SCALE, DisplayScale, place_on_scale
from vidsal.render.yuv import to_yuv420
from vidsal.stages import Colormap, RenderOptions, Style

__all__ = [
    "LEAST_SCALE",
    "Colormap",
    "DisplayScale",
    "Layer",
    "Recent",
    "RenderOptions",
    "Style",
    "compose",
    "draw",
    "draw_alone",
    "draw_batch",
    "draw_planes",
    "flatten",
    "layers_of",
    "overlay",
    "overlay_batch",
    "place_on_scale",
    "rgba_batch",
    "side_by_side",
    "to_yuv420",
]
