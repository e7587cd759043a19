"""Serving the page, safely in front of strangers.

Neither the page nor its server loads anything from another host.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import Request
from gradio import route_utils, routes
from gradio.data_classes import PredictBodyInternal
from gradio.route_utils import GradioMultiPartParser
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from pgi.demo.actions import Actions
from pgi.demo.guard import Guard, is_address
from pgi.demo.page import CSS, FILLING, build
from pgi.demo.storage import Storage
from pgi.inference import Inpainter

# Longest queue, of all events and visitors together.
_WAITING = 64
# How many events of one visitor may wait in each queue.
_WAITING_FILLS, _WAITING_OTHERS = 1, 8
# How many visits are remembered, with the files that each one's last events named: about 60 MB. A
# visitor whose visit is forgotten during a fill does not get the result.
_VISITS = 2048
_HOUR = 3600
# Most files of one upload. The page's own uploads have one.
_FILES = 4


def is_public(host: str) -> bool:
    """Whether other machines can reach a server that listens on this address."""
    if is_address(host.strip("[]")):
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    return host != "localhost"


@dataclass(frozen=True)
class Settings:
    """How the page is served, and what it accepts.

    Args:
        host: address to listen on; only this machine by default, "0.0.0.0" for all machines.
        port: to listen on.
        host_names: by which visitors reach the page, beside "localhost", `host` and IP addresses.
        accounts: names and passwords; without any there is no login.
        max_megapixels: larger photographs are rejected. By default 64, and 16 for others: if
            `host` is not this machine's own, or there are `host_names`.
        max_upload_megabytes: larger files are rejected, with megabytes of 2**20 bytes. At least 8,
            because the limit also applies to the editor's pictures of the painted area.
        storage_megabytes: of all uploads and results together, of 2**20 bytes.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    host_names: Sequence[str] = ()
    accounts: Sequence[tuple[str, str]] = field(default=(), repr=False)
    max_megapixels: float | None = None
    max_upload_megabytes: float = 64.0
    storage_megabytes: float = 1024.0

    @property
    def public(self) -> bool:
        """Whether the page is for others: reached from other machines, or through a proxy."""
        return is_public(self.host) or bool(self.host_names)

    @property
    def megapixels(self) -> float:
        """Of the largest photograph."""
        return self.max_megapixels or (16.0 if self.public else 64.0)


@contextmanager
def serve(
    inpainter: Inpainter, samples: Sequence[Path], settings: Settings = Settings()
) -> Iterator[str]:
    """Context in which the page is served; afterwards all uploads and results are deleted.

    Args:
        inpainter: fills the holes, one at a time.
        samples: photographs to pick from, PNG, JPEG or WebP files.
        settings: address and limits.

    Yields:
        The page's address.

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    # Uploads and results are deleted after an hour or a day.
    seconds = _HOUR if settings.public else 24 * _HOUR
    with Storage(int(settings.storage_megabytes * 2**20), seconds) as storage:
        # Gradio read this when it was imported; it makes an empty folder there.
        routes.DEFAULT_TEMP_DIR = str(storage.path)
        route_utils.GradioMultiPartParser = _FewParts  # type: ignore[misc]
        actions = Actions(inpainter, samples, storage, settings.megapixels)
        page = build(actions, (600, seconds), _WAITING)
        _limit_waiting(page)
        try:
            yield _launch(page, storage, settings)
        finally:
            if server := getattr(page, "server", None):
                # Browsers keep connections open, and uvicorn prints an error for each that it ends.
                server.config.timeout_graceful_shutdown = 1
                logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            page.close(verbose=False)


class _FewParts(GradioMultiPartParser):
    """Reads an upload that is a few files.

    Gradio allows 1000 files, each of which stays open until the upload ends, and 1000 texts, which
    are kept in memory.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "max_files": _FILES, "max_fields": 0})


def _launch(page: gr.Blocks, storage: Storage, settings: Settings) -> str:
    max_upload = int(settings.max_upload_megabytes * 2**20)
    names = [settings.host, *settings.host_names]
    host = settings.host.strip("[]")
    if ":" in host:
        host = f"[{host}]"  # Gradio wants brackets around IPv6 addresses.
    guard = Middleware(Guard, storage=storage, host_names=names, max_upload=max_upload)
    # The system's fonts: others would be downloaded.
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=settings.port,
            auth=list(settings.accounts) or None,
            max_file_size=max_upload,
            state_session_capacity=_VISITS,
            app_kwargs={"middleware": [guard]},
            prevent_thread_lock=True,
            theme=theme,
            css=CSS,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            num_workers=0,  # They would serve files without the guard.
            share=False,
            ssr_mode=False,
            quiet=True,
        )
    except OSError as error:  # Gradio's message names its own variables.
        raise OSError(
            f"{host}:{settings.port} must be a free port of an address of this machine: see --host "
            "and --port"
        ) from error
    return str(address)


def _limit_waiting(page: gr.Blocks) -> None:
    """Refuses events of visitors of whom enough are waiting already.

    A visitor is a name that is logged in, or else an address. What counts is Gradio's own queue,
    which forgets the events of visitors who have left.
    """
    queue = page._queue
    push, one_at_a_time = queue.push, asyncio.Lock()

    async def limited(body: PredictBodyInternal, request: Request, username: str | None) -> Any:
        function = page.fns.get(-1 if body.fn_index is None else body.fn_index)
        if function is None:
            raise HTTPException(404, "this page has no such event")
        visitor = username or _address(request)
        name = function.concurrency_id
        most = _WAITING_FILLS if name == FILLING else _WAITING_OTHERS
        async with one_at_a_time:
            waiting = queue.event_queue_per_concurrency_id
            events = waiting[name].queue if name in waiting else []
            mine = [
                event for event in events if visitor in (event.username, _address(event.request))
            ]
            if len(mine) >= most:
                raise HTTPException(
                    429, "Your last request is still waiting. Please try again when it is done."
                )
            return await push(body=body, request=request, username=username)

    queue.push = limited  # type: ignore[method-assign]  # Gradio has no hook for it.


def _address(request: Request) -> str | None:
    return request.client.host if request.client else None
