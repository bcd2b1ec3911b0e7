"""``jobs/review.py`` as a process of its own."""

from __future__ import annotations

import http.client
import json
import signal
from typing import Any
from urllib.parse import urlsplit

from forked import StartedJob


class ServedReview:
    """A running job; used as a context it is gone at the end, whatever happened."""

    def __init__(self, refined: str, reviewer: str, *flags: str) -> None:
        self.process = StartedJob("review", "--refined", refined, "--reviewer", reviewer, *flags)
        assert self.process.stdout is not None
        self.told = self.process.stdout.readline()
        self.url = self.process.stdout.readline().partition("open once: ")[2].strip()
        assert self.url, self.process.communicate()
        self.host = urlsplit(self.url).netloc
        self._cookie = ""

    def __enter__(self) -> ServedReview:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def enter(self) -> None:
        """Open the link, as a browser would."""
        answer = self._request("GET", "/?" + urlsplit(self.url).query)
        self._cookie = str(answer.headers["set-cookie"]).partition(";")[0]

    def get(self, path: str) -> Any:
        """What a path tells."""
        return json.loads(self._request("GET", path).body)

    def judge(self, place: int, action: str) -> Any:
        """Give a verdict."""
        said = {"place": place, "key": self.get(f"/cards/{place}")["key"], "action": action}
        return json.loads(self._request("POST", "/verdicts", json.dumps(said)).body)

    def kill(self) -> None:
        """End it at once, as the system does when memory is out."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def interrupt(self) -> tuple[int, str, str]:
        """Ctrl-C; gives the status and what was printed since."""
        self.process.send_signal(signal.SIGINT)
        out, error = self.process.communicate(timeout=20)
        return self.process.returncode, out, error

    def _request(self, verb: str, path: str, body: str | None = None) -> Any:
        connection = http.client.HTTPConnection(self.host, timeout=20)
        headers = {"Cookie": self._cookie, "Content-Type": "application/json"}
        connection.request(verb, path, body, {name: value for name, value in headers.items() if value})
        answer = connection.getresponse()
        answer.body = answer.read()  # type: ignore[attr-defined]
        connection.close()
        assert answer.status == 200, answer.body  # type: ignore[attr-defined]
        return answer
