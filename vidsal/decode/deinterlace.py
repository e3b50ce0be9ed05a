"""Interlaced frames in, whole pictures out: one for each, by FFmpeg's bwdif."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from av.error import BlockingIOError as NothingReadyError
from av.error import EOFError as EndOfStreamError
from av.filter import Graph
from av.video.frame import VideoFrame

from vidsal.errors import DecodeError

__all__ = ["Deinterlacer", "Whole"]

_CODED_BY_FIELD = frozenset({"hevc", "vvc"})
"""Decoders that mark a single field, a picture of half the lines, as interlaced."""


class Whole(NamedTuple):
    """A frame on its way out of the `Deinterlacer`."""

    frame: VideoFrame
    """The picture."""
    ticks: int
    """Its time, as it came."""
    was_interlaced: bool
    """Whether it came with two fields."""
    came: VideoFrame
    """The frame as it came: what the filter says of its duration is in another clock."""


class Deinterlacer:
    """Makes a whole picture of each interlaced frame, from its own fields and those of the frames beside it.

    Each frame in gives a frame out, with the time it came with. A frame that is not interlaced comes out untouched.
    What comes out depends on the frame and its two neighbours only, so it does not matter where reading starts.

    Args:
        mode: "auto" goes by the marks of the frames, "bwdif" takes all as interlaced, "off" changes none.
        codec: FFmpeg's name of the decoder.
    """

    def __init__(self, mode: Literal["auto", "off", "bwdif"], codec: str) -> None:
        self._mode = mode
        self._by_field = codec in _CODED_BY_FIELD
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str, int, int] | None = None
        self._waiting: deque[tuple[VideoFrame, int | None, bool]] = deque()
        self._before: VideoFrame | None = None

    def is_interlaced(self, frame: VideoFrame) -> bool:
        """Whether a frame holds two fields, by its marks or because the mode says so."""
        return self._mode == "bwdif" or (frame.interlaced_frame and not self._by_field)

    def is_field(self, frame: VideoFrame) -> bool:
        """Whether a frame is one field, which stays as it is."""
        return frame.interlaced_frame and self._by_field and self._mode != "bwdif"

    def needs_the_frame_before(self, frame: VideoFrame) -> bool:
        """Whether a frame comes out otherwise if it is the first to be read."""
        return self._mode != "off" and self.is_interlaced(frame)

    def whole(self, stamped: Iterable[tuple[VideoFrame, int]]) -> Iterator[Whole]:
        """Yields each frame with its time; at most one is held back.

        Raises:
            DecodeError: what the frames raise, after the frame held back.
        """
        try:
            for frame, ticks in stamped:
                yield from self._next(frame, ticks)
        except DecodeError:
            yield from self._drain()
            raise
        yield from self._drain()

    def _next(self, frame: VideoFrame, ticks: int) -> Iterator[Whole]:
        interlaced = self.is_interlaced(frame)
        shape = (frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range))
        if self._graph is not None and shape != self._shape:
            yield from self._drain()
        if shape != self._shape:
            self._before = None
            self._shape = shape
        if self._graph is None and (self._mode == "off" or not interlaced):
            self._before = frame
            yield Whole(frame, ticks, interlaced, frame)
            return
        if self._graph is None:
            self._graph = self._make_graph(frame)
            if self._before is not None:
                yield from self._filter(_marked(self._before), None, False)
                self._before = None
        yield from self._filter(frame, ticks, interlaced)

    def _filter(self, frame: VideoFrame | None, ticks: int | None, interlaced: bool) -> Iterator[Whole]:
        if self._graph is None:
            return
        if frame is not None:
            self._waiting.append((frame, ticks, interlaced))
        self._graph.vpush(frame)
        while self._waiting:
            try:
                whole = self._graph.vpull()
            except (NothingReadyError, EndOfStreamError):
                return
            came, came_at, was_interlaced = self._waiting.popleft()
            if came_at is not None:
                yield Whole(whole, came_at, was_interlaced, came)

    def _drain(self) -> Iterator[Whole]:
        """What is held back; the next frame starts afresh."""
        yield from self._filter(None, None, False)
        self._graph, self._before = None, None
        self._waiting.clear()

    def _make_graph(self, frame: VideoFrame) -> Graph:
        deint = "all" if self._mode == "bwdif" else "interlaced"
        return _graph(frame, "bwdif", mode="send_frame", deint=deint)


def _marked(frame: VideoFrame) -> VideoFrame:
    """The frame as an interlaced one: bwdif makes the first of these without a look at the frame before."""
    graph = _graph(frame, "setfield", mode="tff")
    graph.vpush(frame)
    return graph.vpull()


def _graph(frame: VideoFrame, name: str, **options: str) -> Graph:
    graph = Graph()
    graph.threads = 1  # else it starts some for each frame
    source = graph.add(
        "buffer",
        video_size=f"{frame.width}x{frame.height}",
        pix_fmt=frame.format.name,
        time_base="1/90000",  # the times that count wait beside the graph
        colorspace=str(int(frame.colorspace)),
        range=str(int(frame.color_range)),
    )
    graph.link_nodes(source, graph.add(name, **options), graph.add("buffersink")).configure()
    return graph
