"""AWS's metadata service as a machine sees it, in its second version: no answer without a token that was asked for.

python tests/imds.py ADDRESS PORT FOLDER     the texts are files of the folder, named as the end of their path
"""

from __future__ import annotations

import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ACTION, REBALANCE = "spot/instance-action", "events/recommendations/rebalance"
_BELOW = "/latest/meta-data/"


class Imds(ThreadingHTTPServer):
    """The service; ``tokens`` are those that it takes, ``asked`` all paths in their order."""

    def __init__(self, address: str, port: int, folder: Path) -> None:
        super().__init__((address, port), _Answer)
        self.folder, self.tokens, self.asked = folder, set[str](), list[str]()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.server_address[0]}:{self.server_address[1]}"


def publish(folder: Path, path: str, text: str) -> None:
    """Make a text the one at a path, at once."""
    (folder / "new").write_text(text)
    (folder / "new").rename(folder / Path(path).name)


class _Answer(BaseHTTPRequestHandler):
    server: Imds

    def do_PUT(self) -> None:
        lasts = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != "/latest/api/token" or not lasts.isdigit() or not 1 <= int(lasts) <= 21_600:
            self._say(400, "")
            return
        token = secrets.token_urlsafe(32)
        self.server.tokens.add(token)
        self._say(200, token)

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        text = self.server.folder / Path(self.path).name
        if self.headers.get("X-aws-ec2-metadata-token") not in self.server.tokens:
            self._say(401, "")
        elif not self.path.startswith(_BELOW) or not text.is_file():
            self._say(404, "<h1>404 - Not Found</h1>")
        else:
            self._say(200, text.read_text())

    def log_message(self, *_: object) -> None:
        pass

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    Imds(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])).serve_forever()
