"""The page of a review on this machine's loopback, for the one browser that was given its link.

Faces are personal data and other programs of this machine can reach a loopback port too. So the link holds a token
that works once: it is exchanged for a cookie that no script can read and no other site can send. The name of the
host is checked (a foreign name may be made to point here), other origins are refused, and the page can load
nothing but its own files.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict
from starlette.middleware.trustedhost import TrustedHostMiddleware

from stargan_ray.data.storage import StorageError
from stargan_ray.errors import InputError
from stargan_ray.runtime.review_desk import Desk, Said

HOST = "127.0.0.1"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",  # faces stay out of the browser's files
}
_SPENT = (
    "This link was used already. In the browser that used it, open http://{host}/; for another, start the job again."
)
_CLOSED = "This page opens by the link that jobs/review.py has printed."
# What the page consists of -> where it lies in the package, and what it is. The colours are those of all our pages.
_FILES = {
    "review.css": ("stargan_ray.runtime", "review_page/review.css", "text/css"),
    "house.css": ("stargan_ray.evaluation", "page.css.j2", "text/css"),
    "review.js": ("stargan_ray.runtime", "review_page/review.js", "text/javascript"),
    "draw.js": ("stargan_ray.runtime", "review_page/draw.js", "text/javascript"),
    "icon.svg": ("stargan_ray.runtime", "review_page/icon.svg", "image/svg+xml"),
}

_Next = Callable[[Request], Awaitable[Response]]


class Gate:
    """Lets one browser in: the first that shows the token is given a secret, and the token is spent."""

    def __init__(self, token: str) -> None:
        self._token: str | None = token
        self._secret = secrets.token_urlsafe(32)
        self._lock = threading.Lock()

    def exchange(self, token: str) -> str | None:
        """The secret for the token, once."""
        with self._lock:
            if self._token is None or not _equal(token, self._token):
                return None
            self._token = None
            return self._secret

    def admits(self, secret: str) -> bool:
        """Whether this is the secret that was given for the token."""
        return self._token is None and _equal(secret, self._secret)


class Judgement(BaseModel):
    """A verdict as the page sends it."""

    model_config = ConfigDict(extra="forbid")

    place: int
    key: str
    action: Said
    new_label: str | None = None


def create_app(desk: Desk, token: str) -> FastAPI:
    """The application.

    Args:
        desk: what is reviewed.
        token: what the link's ``?token=`` has to be, once.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gate = Gate(token)

    @app.middleware("http")
    async def guard(request: Request, call_next: _Next) -> Response:
        response = _refusal(request, gate) or await call_next(request)
        response.headers.update(_HEADERS)
        if (secret := request.scope.get("secret")) is not None:
            response.set_cookie(_cookie(request), secret, httponly=True, samesite="strict")
        return response

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False)
    app.add_exception_handler(InputError, _told)

    @app.get("/")
    def page() -> Response:
        desk.refresh()
        return Response(_text("stargan_ray.runtime", "review_page/index.html"), media_type="text/html")

    @app.get("/files/{name}")
    def file(name: str) -> Response:
        if name not in _FILES:
            return PlainTextResponse("there is no such file", 404)
        package, path, kind = _FILES[name]
        return Response(_text(package, path), media_type=kind)

    @app.get("/summary")
    def summary() -> dict[str, Any]:
        return {"summary": desk.summary(), "next": desk.next_open()}

    @app.get("/cards/{place}")
    def card(place: int) -> dict[str, Any]:
        return desk.card(place)

    @app.get("/open")
    def open_after(after: int) -> dict[str, int | None]:
        return {"next": desk.next_open(after)}

    @app.get("/pictures/{place}")
    def picture(place: int) -> Response:
        return Response(desk.picture(place), media_type="image/png")

    @app.post("/verdicts")
    def judge(given: Judgement) -> dict[str, Any]:
        desk.judge(given.place, given.key, given.action, given.new_label)
        return {"summary": desk.summary(), "next": desk.next_open(given.place)}

    @app.post("/undo")
    def undo() -> dict[str, Any]:
        place = desk.undo()
        return {"summary": desk.summary(), "next": place}

    return app


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Answer until Ctrl-C.

    Args:
        app: what :func:`create_app` gives.
        listening: as :func:`listen` gives it.
    """
    config = uvicorn.Config(
        app,
        access_log=False,  # a line of it would hold the token
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=3,
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn has ended in order and says why
        uvicorn.Server(config).run(sockets=[listening])


def _refusal(request: Request, gate: Gate) -> Response | None:
    """Why a request is not answered, or None; the exchange of the token takes place here."""
    given = request.query_params.get("token")
    if given is not None:
        secret = gate.exchange(given) if (request.method, request.url.path) == ("GET", "/") else None
        if secret is None:
            return PlainTextResponse(_SPENT.format(host=request.headers.get("host", HOST)), 403)
        request.scope["secret"] = secret
        return None
    if not gate.admits(request.cookies.get(_cookie(request), "")):
        return PlainTextResponse(_CLOSED, 403)
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{request.headers.get('host')}":
        return PlainTextResponse("requests of other pages are not answered", 403)
    return None


def _cookie(request: Request) -> str:
    """The cookie's name: browsers do not tell ports apart, and several reviews may run."""
    return f"review-{request.url.port or 80}"


def _told(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": " ".join(str(error).split())}, 503 if isinstance(error, StorageError) else 400)


def _equal(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode(), wanted.encode())


def _text(package: str, path: str) -> bytes:
    return resources.files(package).joinpath(path).read_bytes()
