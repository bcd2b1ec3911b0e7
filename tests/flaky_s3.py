"""An S3 server with faults: a proxy that answers some requests itself, or does not listen for a while."""

from __future__ import annotations

import http.client
import http.server
import threading
from typing import Any
from urllib.parse import urlsplit

_XML = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>no</Message></Error>"
FAULTS = {
    "SlowDown": (503, _XML % b"SlowDown"),
    "InternalError": (500, _XML % b"InternalError"),
    "bare 503": (503, b""),
    "dropped": (0, b""),
}


class FlakyS3:
    """In front of a real server, on a port of its own.

    Attributes:
        left: requests that still meet the fault.
        seen: requests so far.
    """

    def __init__(self, behind: str, port: int = 0) -> None:
        self.behind, self.fault, self.left, self.seen = urlsplit(behind), "SlowDown", 0, 0
        self._lock, self.port = threading.Lock(), port
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(self, fault: str, times: int) -> None:
        """Answer the next requests with a fault."""
        self.fault, self.left, self.seen = fault, times, 0

    def up(self) -> None:
        """Listen, on the port that it had."""
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections."""
        self._server.shutdown()
        self._server.server_close()

    def meets_fault(self) -> bool:
        with self._lock:
            self.seen += 1
            self.left -= 1
            return self.left >= 0


def _handler(flaky: FlakyS3) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            body = self.body()
            self.close_connection = True  # a later request must find the server down if it is
            if flaky.meets_fault():
                status, content = FAULTS[flaky.fault]
                if status:
                    self.answer(status, {"Content-Type": "application/xml"}, content)
                return
            host = http.client.HTTPConnection(str(flaky.behind.hostname), flaky.behind.port, timeout=30)
            sent = {n: v for n, v in self.headers.items() if n.lower() not in ("expect", "transfer-encoding")}
            host.request(self.command, self.path, body, {**sent, "Content-Length": str(len(body))})
            got = host.getresponse()
            content = got.read()
            headers = {n: v for n, v in got.getheaders() if n.lower() not in ("connection", "transfer-encoding")}
            self.answer(got.status, headers, content)
            host.close()

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers
            return b"".join(pieces)

        def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), "Connection": "close", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_request

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
