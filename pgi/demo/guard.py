"""What the page's server accepts: from whom, which routes, and how much.

Gradio's own server answers many more requests than this page makes. Any other site that is open in
a visitor's browser can send requests too, also to a server that only this machine can reach.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response

from pgi.demo.bodies import Message, Receive, check_size, counted, in_time, replayed, small_body
from pgi.demo.storage import Storage
from pgi.errors import StorageError

Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_FILE, _JOIN, _UPLOAD = "/gradio_api/file=", "/gradio_api/queue/join", "/gradio_api/upload"
_LOGIN = "/login"
_POSTED = {_LOGIN, _JOIN, _UPLOAD}
_READ = {
    "/",
    "/config",
    "/favicon.ico",
    "/logout",
    "/manifest.json",
    "/robots.txt",
    "/theme.css",
    "/gradio_api/app_id",
    "/gradio_api/queue/data",
    "/gradio_api/startup-events",
    "/gradio_api/upload_progress",
}
_READ_BELOW = ("/assets/", "/static/", "/gradio_api/heartbeat/", _FILE)
# Gradio remembers what visitors call their sessions and uploads: so many bytes or characters.
_LONGEST_QUERY, _LONGEST_NAME = 1024, 64
# Bytes of an upload beside the file's own.
_FRAME = 2**12
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/@?#\[\]]+)(:\d+)?")
# How many times in a minute one address may try to log in.
_LOGINS = 10
# The storage's path in what visitors see.
_ALIAS = "/files"


class Guard:
    """ASGI middleware that only lets through what the page's own requests need.

    What it refuses is answered with a message: 403 for another site's requests, unknown host names
    and files that are not the page's; 404 for other routes, 413 for bodies that are too large, 507
    if there is no room for an upload. Paths below the storage's folder are replaced by an alias, so
    that visitors do not see where the page's files are.

    Args:
        app: the application.
        storage: where the application keeps uploads.
        host_names: by which the page may be asked for, beside "localhost" and all IP addresses.
        max_upload: of an uploaded file, in bytes.
    """

    def __init__(
        self, app: Application, storage: Storage, host_names: Collection[str], max_upload: int
    ) -> None:
        self._app = app
        self._storage = storage
        self._host_names = {"localhost", *map(str.lower, host_names)}
        self._max_upload = max_upload
        # Time and address of the last minute's attempts to log in.
        self._logins: list[tuple[float, str]] = []
        self._folder = str(storage.path)
        # As JSON and URLs write it.
        written = {self._folder, json.dumps(self._folder)[1:-1], quote(self._folder)}
        self._written = [text.encode() for text in written]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            try:
                await self._serve(scope, receive, self._aliased(send))
            except ClientDisconnect:
                pass  # Nobody is left to be answered.
            except HTTPException as error:
                # The page shows an upload's whole answer, and of others the detail.
                answer: Response = JSONResponse({"detail": error.detail}, error.status_code)
                if scope["path"] == _UPLOAD:
                    answer = PlainTextResponse(error.detail, error.status_code)
                await answer(scope, receive, send)

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        self._check_host(host)
        _check_origin(headers, host, path)
        posted = scope["method"] == "POST" and path in _POSTED
        read = scope["method"] in ("GET", "HEAD")
        if not posted and not (read and (path in _READ or path.startswith(_READ_BELOW))):
            raise HTTPException(404, "this page has no such address")
        if len(scope["query_string"]) > _LONGEST_QUERY:
            raise HTTPException(414, f"a query must have at most {_LONGEST_QUERY} bytes")
        if path.startswith(_FILE):
            scope = {**scope, "path": _FILE + self._real(path.removeprefix(_FILE))}
        if path == _UPLOAD:
            await self._serve_upload(scope, receive, send)
            return
        if path == _LOGIN and posted:
            self._count_login(_address(scope))
        if posted:
            body = await in_time(small_body(receive))
            receive = replayed(self._event(body, host) if path == _JOIN else body, receive)
        await self._app(scope, receive, send)

    async def _serve_upload(self, scope: Message, receive: Receive, send: Send) -> None:
        limit = self._max_upload + _FRAME
        length = Headers(scope=scope).get("content-length", "")
        size = int(length) if length.isdecimal() else limit
        check_size(size, limit)
        try:
            upload = await run_in_threadpool(self._storage.reserve, size, _address(scope))
        except StorageError as error:
            raise HTTPException(507, str(error)) from error
        arrived = False
        try:
            await in_time(self._app(scope, counted(receive, size), send))
            arrived = True
        finally:
            self._storage.release(upload, arrived)

    def _count_login(self, address: str) -> None:
        """Raises if an address tries to log in too often, as it must to guess passwords."""
        now = time.monotonic()
        self._logins = [x for x in self._logins if now - x[0] < 60]
        if sum(x[1] == address for x in self._logins) >= _LOGINS:
            raise HTTPException(429, f"at most {_LOGINS} attempts to log in a minute: wait for one")
        self._logins.append((now, address))

    def _check_host(self, host: str) -> None:
        """Raises unless the request asks for this page, by its address or a name that it has.

        Otherwise another site's name, when it suddenly leads here, would make the page that site's
        own ("DNS rebinding"). An address cannot lead elsewhere.
        """
        found = _HOST.fullmatch(host.lower())
        name = found[1].strip("[]") if found else host
        if name not in self._host_names and not is_address(name):
            raise HTTPException(
                403, f"the page does not go by the name {name!r}; --host-name=NAME adds a name"
            )

    def _real(self, path: str) -> str:
        """The storage's path for a path with the alias."""
        if not path.startswith(f"{_ALIAS}/") or ".." in path.split("/"):
            raise HTTPException(403, "the page has no other files than its own uploads and results")
        return self._folder + path.removeprefix(_ALIAS)

    def _event(self, body: bytes, host: str) -> bytes:
        """An event's body with the storage's paths."""

        def checked(value: Any) -> Any:
            if isinstance(value, list):
                return [checked(item) for item in value]
            if not isinstance(value, dict):
                return value
            value = {name: checked(item) for name, item in value.items()}
            if "path" in value:
                value["path"] = self._real(str(value["path"]))
                # Gradio would fetch it from wherever it is.
                if _split(str(value.get("url") or "")).netloc not in ("", host):
                    raise HTTPException(403, "the page loads no files from other servers")
            return value

        try:
            event = checked(json.loads(body))
            checked_body = json.dumps(event).encode()
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, "the request is no valid JSON") from error
        session = event.get("session_hash") if isinstance(event, dict) else None
        if isinstance(session, str) and len(session) > _LONGEST_NAME:
            raise HTTPException(400, f"session_hash must have at most {_LONGEST_NAME} characters")
        return checked_body

    def _aliased(self, send: Send) -> Send:
        """Replaces the storage's path in texts, whose chunks Gradio sends whole."""
        text = False

        async def replace(message: Message) -> None:
            nonlocal text
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                kinds = ("application/json", "text/event-stream", "text/html", "text/plain")
                text = headers.get("content-type", "").startswith(kinds)
                if text:
                    del headers["content-length"]
            elif text:
                content = message.get("body", b"")
                for path in self._written:
                    content = content.replace(path, _ALIAS.encode())
                message = {**message, "body": content}
            await send(message)

        return replace


def _address(scope: Message) -> str:
    return scope["client"][0] if scope["client"] else ""


def is_address(name: str) -> bool:
    """Whether a host is named by an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _check_origin(headers: Headers, host: str, path: str) -> None:
    """Raises if a browser says that another site sent the request."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    foreign = origin is not None and _split(origin).netloc.lower() != host.lower()
    # A link from another site may lead to the page, but not further.
    if foreign or (site not in ("same-origin", "none") and path != "/"):
        raise HTTPException(403, f"requests from other sites are refused, got one from {origin}")


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise HTTPException(400, f"no valid address: {url!r}") from error
