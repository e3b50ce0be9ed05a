"""A camera on the network: an RTSP server on loopback that shows numbered pictures and knows when it sent each."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Self

import av
from media import numbered_picture

_SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=numbered pictures
c=IN IP4 127.0.0.1
t=0 0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1
a=control:pictures
"""


class RtspServer:
    """Serves one client: OPTIONS, DESCRIBE, SETUP by UDP, PLAY, TEARDOWN, as RFC 2326 has them; H.264 by RTP.

    Args:
        height: rows of the pictures.
        width: columns of them.
        rate: pictures a second.
        count: pictures after which the stream ends.
        picture: makes the (height, width, 3) RGB picture of a number; None: `numbered_picture`.
    """

    def __init__(
        self, *, height: int, width: int, rate: int, count: int, picture: Callable[[int], Any] | None = None
    ) -> None:
        self.height, self.width, self.rate, self.count = height, width, rate, count
        self.picture = picture or numbered_picture(width, height)
        self.sent: dict[int, float] = {}
        """When each picture was there, on the machine's monotonic clock, before it was encoded."""
        self.error: BaseException | None = None
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/pictures"
        self._answering = threading.Thread(target=self._guarded, args=(self._answer,))
        self._sending: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._answering.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        # Wakes `accept`, which closing the listener does not everywhere.
        with socket.socket() as waking:
            waking.settimeout(5)
            waking.connect_ex(self._listener.getsockname())
        self._answering.join()
        if self._sending is not None:
            self._sending.join()
        self._listener.close()
        if self.error is not None:
            raise self.error

    def _guarded(self, work: Any, *given: Any) -> None:
        try:
            work(*given)
        except BaseException as error:  # noqa: BLE001 - raised again where the block is left
            self.error = error

    def _answer(self) -> None:
        client, _ = self._listener.accept()
        with client, client.makefile("rb") as lines:
            client.settimeout(120)
            port = 0
            while not self._stopped.is_set():
                try:
                    request = lines.readline().decode()
                    headers = dict(self._headers(lines))
                except (ConnectionError, TimeoutError):
                    return
                if not request:
                    return
                verb, body, more = request.split()[0], "", ""
                if verb == "OPTIONS":
                    more = "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
                elif verb == "DESCRIBE":
                    body, more = _SDP.replace("\n", "\r\n"), "Content-Type: application/sdp\r\n"
                elif verb == "SETUP":
                    asked = headers["transport"]
                    port = int(asked.partition("client_port=")[2].partition("-")[0])
                    more = f"Transport: {asked};server_port=5000-5001\r\nSession: 1\r\n"
                elif verb == "PLAY":
                    more = "Session: 1\r\n"
                answer = (
                    f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}"
                )
                client.sendall(answer.encode())
                if verb == "PLAY":
                    self._sending = threading.Thread(target=self._guarded, args=(self._send, port))
                    self._sending.start()
                if verb == "TEARDOWN":
                    self._stopped.set()

    @staticmethod
    def _headers(lines: Any) -> Any:
        while line := lines.readline().decode().strip():
            name, _, value = line.partition(":")
            yield name.lower(), value.strip()

    def _send(self, port: int) -> None:
        # Small packets: the client's buffer holds few of those of a whole picture.
        with av.open(f"rtp://127.0.0.1:{port}?pkt_size=1200", "w", format="rtp") as out:
            options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "repeat-headers=1:keyint=12"}
            stream = out.add_stream("libx264", rate=self.rate, options=options)
            stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv420p"
            stream.codec_context.thread_count = 1
            begin = time.monotonic()
            for number in range(self.count):
                if self._stopped.wait(max(0.0, begin + number / self.rate - time.monotonic())):
                    break
                self.sent[number] = time.monotonic()
                frame = av.VideoFrame.from_ndarray(self.picture(number), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, self.rate)
                out.mux(stream.encode(frame))
