"""A served page for tests, and requests to it like those of a browser."""

from __future__ import annotations

import io
import json
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
import numpy as np
from PIL import Image

from pgi import demo
from pgi.inference import Inpainter


class Slow:
    """Returns the image, when it may."""

    def __init__(self, may_end: bool = False) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.at_once = self.most = self.calls = 0
        if may_end:
            self.may_end.set()

    def completed_levels(self, image: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        self.calls += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.begun.set()
        self.may_end.wait(60)
        self.at_once -= 1
        return [image]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def served(inpainter: Inpainter | Slow, **settings: Any) -> Iterator[str]:
    """Yields the page's address."""
    fixed = demo.Settings(port=free_port(), **settings)
    with demo.serve(cast(Inpainter, inpainter), demo.sample_photographs(), fixed) as address:
        yield address


def png(height: int = 48, width: int = 64, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    return file.getvalue()


def stroke(height: int = 48, width: int = 64) -> bytes:
    """A layer with a painted rectangle."""
    layer = np.zeros([height, width, 4], np.uint8)
    layer[10:20, 10:20] = 255
    file = io.BytesIO()
    Image.fromarray(layer).save(file, "PNG")
    return file.getvalue()


class Visitor:
    """A visitor's browser, as far as its requests go."""

    def __init__(self, address: str, **headers: str) -> None:
        self.address = address
        self.client = httpx.Client(base_url=address, headers=headers, timeout=30, trust_env=False)
        self.session = uuid.uuid4().hex

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def upload(self, content: bytes, name: str = "cat.png") -> dict[str, Any]:
        answer = self.client.post("/gradio_api/upload", files={"files": (name, content)})
        assert answer.status_code == 200, answer.text
        return file_data(answer.json()[0])

    def join(self, action: str, *data: Any) -> httpx.Response:
        """Asks for an event, by the name of its function."""
        events = self.client.get("/config").json()["dependencies"]
        (number,) = [event["id"] for event in events if event["api_name"] == action]
        body = {"session_hash": self.session, "fn_index": number, "data": data, "event_data": None}
        return self.client.post("/gradio_api/queue/join", json=body)

    def outcome(self) -> dict[str, Any]:
        """What comes of the event: Gradio's last message."""
        url = f"/gradio_api/queue/data?session_hash={self.session}"
        with self.client.stream("GET", url) as lines:
            for line in lines.iter_lines():
                message = json.loads(line.removeprefix("data: ")) if line else {}
                if message.get("msg") == "process_completed":
                    return message
        raise AssertionError("the event was not completed")

    def fill(self, photograph: bytes, *layers: bytes, **pictures: bytes) -> httpx.Response:
        """Uploads everything, then asks for the filling."""
        painted: dict[str, Any] = {name: self.upload(x) for name, x in pictures.items()}
        painted["layers"] = [self.upload(layer, "layer_0.png") for layer in layers]
        return self.join("fill", self.upload(photograph), painted)

    def refusal(self, action: str, *data: Any) -> str:
        """The message that an event ends with."""
        assert self.join(action, *data).status_code == 200
        message = self.outcome()
        assert not message["success"]
        return str(message["output"]["error"])


def file_data(path: str) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}
