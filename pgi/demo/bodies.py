"""Requests whose bodies are bounded, in bytes and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

from starlette.exceptions import HTTPException

T = TypeVar("T")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

# Bytes of a request that is no upload. Pictures come as uploads, and events name their paths.
_SMALL = 2**16
# A request must have arrived within so many seconds.
_PATIENCE = 300


def check_size(size: int, limit: int) -> None:
    """Raises an HTTPException 413 if a body is too large."""
    if size > limit:
        raise HTTPException(
            413, f"a request to this address must have at most {limit} bytes, got {size} or more"
        )


async def in_time(request: Awaitable[T]) -> T:
    """Waits for what reads a request; raises an HTTPException 408 if it takes too long."""
    try:
        return await asyncio.wait_for(request, _PATIENCE)
    except asyncio.TimeoutError as error:
        raise HTTPException(408, f"the request took longer than {_PATIENCE} seconds") from error


async def small_body(receive: Receive) -> bytes:
    """A small request's whole body; raises an HTTPException 413 if it is not small."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)  # None after a disconnection.
        check_size(len(body), _SMALL)
    return body


def replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already."""
    first = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        return next(first, None) or await receive()

    return replay


def counted(receive: Receive, limit: int) -> Receive:
    """Raises an HTTPException 413 when more bytes arrive than the limit."""
    size = 0

    async def count() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        check_size(size, limit)
        return message

    return count
