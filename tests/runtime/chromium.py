"""A headless Chromium driven as a person would: keys, clicks, what the page shows; by the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

T = TypeVar("T")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # tests run as root in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
)
_KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Enter": 13, "Escape": 27, " ": 32}
_PATIENCE_S = 20.0


def executable() -> str | None:
    """Where Chromium is, if it is installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Tab:
    """One page. Every call waits for its answer; ``requests`` are the addresses of all requests it has made."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._loop, self._socket = loop, socket
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.requests: list[str] = []
        self.complaints: list[str] = []  # errors and warnings that the browser wrote to its console

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol and its answer."""
        return asyncio.run_coroutine_threadsafe(self._send(method, parameters), self._loop).result(_PATIENCE_S)

    async def _send(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        number = len(self._answers) + 1
        self._answers[number] = self._loop.create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        return await self._answers[number]

    async def listen(self) -> None:
        """Take in what the browser says, until it is gone."""
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                answer = self._answers[told["id"]]
                if "error" in told:
                    answer.set_exception(RuntimeError(told["error"]["message"]))
                else:
                    answer.set_result(told["result"])
            elif told["method"] == "Network.requestWillBeSent":
                self.requests.append(told["params"]["request"]["url"])
            elif told["method"] == "Log.entryAdded" and told["params"]["entry"]["level"] in ("error", "warning"):
                entry = told["params"]["entry"]
                self.complaints.append(f"{entry['text']} {entry.get('url', '')}")
            elif told["method"] == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["params"]["exceptionDetails"]))

    def open(self, url: str) -> None:
        """Go to an address."""
        self.send("Page.navigate", url=url)

    def press(self, *keys: str) -> None:
        """Press and release keys, as a keyboard sends them."""
        for key in keys:
            text = key if len(key) == 1 else "\r" if key == "Enter" else ""
            code = _KEYS.get(key) or ord(key.upper())
            told = {"key": key, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
            self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **told)
            self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def click(self, selector: str) -> None:
        """Move the mouse to the middle of an element and press its left button."""
        box = self.value(
            f"(e => (e.scrollIntoView({{block: 'nearest'}}), e.getBoundingClientRect().toJSON()))"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for what in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=what, button="left", clickCount=1, **at)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", "the page failed"))
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """The text of an element as a reader sees it."""
        return str(self.value(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")).strip()

    def wait(self, expression: str) -> None:
        """Until a JavaScript expression is true.

        Raises:
            AssertionError: If it is not within the patience of this module.
        """
        end = time.monotonic() + _PATIENCE_S
        while not self.value(f"Boolean({expression})"):
            assert time.monotonic() < end, f"not true in time: {expression}; the page shows: {self.text('body')}"
            time.sleep(0.02)

    def resize(self, width: int, height: int) -> None:
        """Give the page another size in pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def screenshot(self, path: Path, *, dark: bool = False) -> None:
        """Write what the page looks like as a PNG."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        time.sleep(0.4)
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Callable[[], Tab]]:
    """A browser with an empty profile, which resolves no name but loopback's; gives what opens tabs."""
    program = executable()
    assert program is not None
    flags = (*_FLAGS, f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    process = subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(_PATIENCE_S)

    async def connect() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    session = None
    try:
        port = _port(profile / "DevToolsActivePort", process)
        session = run(connect())
        yield lambda: _tab(run, loop, session, port)
    finally:
        process.terminate()
        process.wait(_PATIENCE_S)
        if session is not None:
            run(session.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _tab(
    run: Callable[[Coroutine[Any, Any, Any]], Any],
    loop: asyncio.AbstractEventLoop,
    session: aiohttp.ClientSession,
    port: int,
) -> Tab:
    async def attach() -> Tab:
        async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
            address = (await answer.json())["webSocketDebuggerUrl"]
        tab = Tab(loop, await session.ws_connect(address, max_msg_size=0))
        tab.listening = loop.create_task(tab.listen())  # type: ignore[attr-defined] # a task that nobody holds may vanish
        return tab

    tab: Tab = run(attach())
    for domain in ("Page", "Network", "Runtime", "Log"):
        tab.send(f"{domain}.enable")
    return tab


def _port(path: Path, process: subprocess.Popen[bytes]) -> int:
    """The port of the DevTools, which Chromium writes to its profile when it is ready."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        if path.exists() and (lines := path.read_text().splitlines()):
            return int(lines[0])
        assert process.poll() is None, f"chromium ended with {process.returncode}"
        time.sleep(0.05)
    raise AssertionError("chromium did not start in time")
