"""What the page's server refuses, by requests to a page that is served."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="Gradio needs Python 3.10")

from pgi.demo.guard import Guard
from pgi.demo.storage import Storage
from tests.demo.pages import Slow, Visitor, file_data, free_port, png, served, stroke

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(Slow(may_end=True), max_upload_megabytes=1, host_names=["Photos.Example"]) as page:
        yield page


@pytest.fixture
def visitor(address: str) -> Iterator[Visitor]:
    with Visitor(address) as visitor:
        yield visitor


def test_a_photograph_is_shown_and_filled(visitor: Visitor) -> None:
    assert visitor.join("show", visitor.upload(png())).status_code == 200
    assert visitor.outcome()["success"]
    photograph = visitor.upload(png())
    assert visitor.fill(png(), stroke()).status_code == 200
    assert visitor.outcome()["success"]
    assert visitor.join("reveal", photograph, None).status_code == 200
    *_, download, levels = visitor.outcome()["output"]["data"]
    result = visitor.client.get(download["value"]["url"])
    assert result.status_code == 200 and result.content.startswith(b"\x89PNG")
    assert 'filename="cat_filled.png"' in result.headers["content-disposition"]
    assert levels["value"][0]["caption"] == "Level 0, 64 px wide"


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null"])
def test_other_sites_are_refused(address: str, origin: str) -> None:
    with Visitor(address, Origin=origin) as other:
        for answer in (
            other.client.get("/config"),
            other.client.post("/gradio_api/upload", files={"files": png()}),
            other.client.post("/gradio_api/queue/join", json={"data": []}),
        ):
            assert answer.status_code == 403
            assert f"other sites are refused, got one from {origin}" in answer.text
    with Visitor(address, Origin=address.rstrip("/")) as own:
        assert own.upload(png())


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_requests_that_a_browser_calls_foreign_are_refused(address: str, site: str) -> None:
    with Visitor(address, **{"Sec-Fetch-Site": site}) as other:
        assert other.client.get("/config").status_code == 403
        assert other.client.post("/gradio_api/upload", files={"files": png()}).status_code == 403
        assert other.client.get("/").status_code == 200  # A link.
    with Visitor(address, **{"Sec-Fetch-Site": "same-origin"}) as own:
        assert own.upload(png())


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:7860", "127.0.0.1.evil.example", ""),
        *("evil@localhost", "localhost/evil", "localhost:evil"),
    ],
)
def test_unknown_host_names_are_refused(address: str, host: str) -> None:
    with Visitor(address, Host=host) as other:
        answer = other.client.get("/")
        assert answer.status_code in (400, 403)
        if host:
            assert "--host-name=NAME adds a name" in answer.text


@pytest.mark.parametrize(
    "host", ["localhost:1", "photos.example", "PHOTOS.example:443", "10.0.0.7:80", "[::1]:7860"]
)
def test_addresses_and_names_that_were_given_are_served(address: str, host: str) -> None:
    with Visitor(address, Host=host) as known:
        assert known.client.get("/config").status_code == 200


def test_behind_a_proxy_with_tls(address: str) -> None:
    public = "https://photos.example"
    headers = {"Host": "photos.example", "Origin": public, "X-Forwarded-Proto": "https"}
    with Visitor(address, **headers) as visitor:
        photograph = {**visitor.upload(png()), "url": f"{public}/gradio_api/file=/files/cat.png"}
        assert visitor.join("show", photograph).status_code == 200
        (shown,) = visitor.outcome()["output"]["data"]
    assert shown["background"]["url"].startswith(f"{public}/gradio_api/file=/files/")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/run/fill"),
        ("POST", "/gradio_api/run/fill/"),
        ("POST", "/gradio_api/api/fill"),
        ("POST", "/gradio_api/call/fill"),
        ("POST", "/gradio_api/call/v2/fill"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/stream/1"),
        ("POST", "/gradio_api/cancel"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/"),
        ("PUT", "/gradio_api/upload"),
        ("GET", "/gradio_api/upload"),
        ("GET", "/gradio_api/proxy=http://127.0.0.1:1/"),
        ("GET", "/gradio_api/info"),
        ("GET", "/gradio_api/openapi.json"),
        ("GET", "/gradio_api/queue/status"),
        ("GET", "/gradio_api/token"),
        ("GET", "/gradio_api/file/etc/passwd"),
        ("GET", "/gradio_api/custom_component/a/client/b/c"),
        ("GET", "/gradio_api/deep_link"),
        ("GET", "/gradio_api/dev/reload"),
        ("GET", "/gradio_api/vibe-code"),
        ("GET", "/monitoring"),
        ("GET", "/monitoring/summary"),
        ("GET", "/pwa_icon/100000"),
        ("GET", "/docs"),
    ],
)
def test_routes_that_the_page_does_not_need_are_closed(
    visitor: Visitor, method: str, path: str
) -> None:
    answer = visitor.client.request(method, path, json={"data": []} if method == "POST" else None)
    assert answer.status_code == 404
    assert "this page has no such address" in answer.text


def test_web_sockets_are_closed() -> None:
    sent, asked = [], []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def application(*call: Any) -> None:
        asked.append(call)

    with Storage(MEGABYTE, 60) as storage:
        guard = Guard(application, storage, [], MEGABYTE)
        asyncio.run(guard({"type": "websocket", "path": "/"}, None, send))  # type: ignore[arg-type]
    assert (sent, asked) == (["websocket.close"], [])


def chunks(size: int) -> Iterator[bytes]:
    """A body whose length is not announced."""
    for _ in range(0, size, 1000):
        yield b" " * 1000


@pytest.mark.parametrize("announced", [True, False])
def test_large_events_are_refused(visitor: Visitor, announced: bool) -> None:
    body = b" " * 100_000 if announced else chunks(100_000)
    answer = visitor.client.post(
        "/gradio_api/queue/join", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert "must have at most 65536 bytes" in answer.json()["detail"]


@pytest.mark.parametrize("announced", [True, False])
def test_large_uploads_are_refused(visitor: Visitor, announced: bool) -> None:
    size = MEGABYTE + 5000
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'

    def parts() -> Iterator[bytes]:
        yield head
        yield from chunks(size)

    answer = visitor.client.post(
        "/gradio_api/upload",
        content=head + b" " * size if announced else parts(),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 413
    assert str(MEGABYTE) in answer.text or str(MEGABYTE + 4096) in answer.text


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/upload"])
def test_requests_that_never_end_are_ended(
    visitor: Visitor, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgi.demo.bodies._PATIENCE", 0.2)
    end = threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"--x\r\n"
        end.wait(1)
        yield b""

    try:
        answer = visitor.client.post(
            path, content=slow(), headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
    finally:
        end.set()
    assert answer.status_code == 408
    assert "took longer than 0.2 seconds" in answer.text


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 60_000, b"\xff"])
def test_events_that_are_no_json_are_refused(visitor: Visitor, body: bytes) -> None:
    answer = visitor.client.post("/gradio_api/queue/join", content=body)
    assert (answer.status_code, answer.json()["detail"]) == (400, "the request is no valid JSON")


@pytest.fixture
def elsewhere() -> Iterator[socket.socket]:
    """A server that hears if somebody connects."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        server.settimeout(0.5)
        yield server


def test_files_of_other_servers_are_not_fetched(visitor: Visitor, elsewhere: socket.socket) -> None:
    url = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/cat.png"
    upload = visitor.upload(png())
    for file in (file_data(url), {**upload, "url": url}, {**upload, "url": url[5:]}):
        for data in (file, [file], {"layers": [file]}):
            answer = visitor.join("show", data)
            assert answer.status_code == 403
            assert "files" in answer.json()["detail"]
    for path in (url, url.replace("//", "/"), url[5:]):
        assert visitor.client.get(f"/gradio_api/file={path}").status_code == 403
    with pytest.raises(TimeoutError):
        elsewhere.accept()


def test_only_uploads_and_results_are_files(visitor: Visitor, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    uploaded = visitor.upload(png())["path"]
    assert visitor.client.get(f"/gradio_api/file={uploaded}").content == png()
    for path in (
        str(secret),
        str(Path(__file__)),
        f"{uploaded}/../../../../../..{secret}",
        f"/files/../../..{secret}",
        "secret.png",
        "",
    ):
        # As a browser and httpx would not send them, which resolve the dots themselves.
        raw = path.replace("..", "%2e%2e")
        assert visitor.client.get(f"/gradio_api/file={raw}").status_code == 403
        assert visitor.join("show", file_data(path)).status_code == 403


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "program.js"])
def test_uploads_are_no_programs_of_the_page(visitor: Visitor, name: str) -> None:
    path = visitor.upload(b"<script>alert(1)</script>", name)["path"]
    headers = visitor.client.get(f"/gradio_api/file={path}").headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment")


def everything(visitor: Visitor) -> Iterator[str]:
    """All that a visitor gets to read, and messages of what goes wrong."""
    for path in ("/", "/config", "/manifest.json", "/theme.css", "/gradio_api/file=/files/none"):
        yield visitor.client.get(path).text
    yield visitor.client.get("/gradio_api/file=/files/").text
    photograph = visitor.upload(png())
    yield json.dumps(photograph)
    attempts: list[tuple[Any, ...]] = [
        ("show", photograph),
        ("fill", photograph, {"layers": [visitor.upload(stroke())]}),
        ("reveal", photograph, None),
        ("fill", photograph, {"layers": [file_data("/files/none.png")]}),
        ("fill", photograph, {"layers": [{"path": "/files/none.png"}]}),
        ("fill", photograph, {"layers": 5}),
        ("fill", "text", {"layers": [5]}),
        ("fill", {"path": "/files/"}, None),
        ("show", visitor.upload(b"no picture")),
        ("show", 5),
    ]
    for attempt in attempts:
        assert visitor.join(*attempt).status_code == 200
        yield json.dumps(visitor.outcome())
    yield visitor.join("show").text


def test_answers_name_no_folder_of_this_machine(
    visitor: Visitor, capfd: pytest.CaptureFixture[str]
) -> None:
    import gradio

    places = [Path.home(), Path.cwd(), Path(__file__).parents[2], Path(gradio.__file__).parents[1]]
    texts = list(everything(visitor))
    assert any("/files/" in text for text in texts)
    for text in texts:
        for place in (*map(str, places), "/tmp", "pgi-demo-"):
            assert place not in text


@pytest.mark.parametrize(
    ("number", "head", "message"),
    [
        (5, 'name="files"; filename="a.png"', "Too many files"),  # Each stays open.
        (1, 'name="text"', "Too many fields"),  # It would be kept in memory.
    ],
)
def test_uploads_are_a_few_files(visitor: Visitor, number: int, head: str, message: str) -> None:
    part = f"--x\r\nContent-Disposition: form-data; {head}\r\n\r\na\r\n"
    answer = visitor.client.post(
        "/gradio_api/upload",
        content=part * number + "--x--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 400
    assert answer.text.startswith(message)


def test_long_names_of_sessions_and_uploads_are_refused(visitor: Visitor) -> None:
    visitor.session = "s" * 65
    answer = visitor.join("show", None)
    assert answer.status_code == 400
    assert answer.json()["detail"] == "session_hash must have at most 64 characters"
    answer = visitor.client.get("/gradio_api/upload_progress", params={"upload_id": "u" * 1024})
    assert answer.status_code == 414
    assert answer.json()["detail"] == "a query must have at most 1024 bytes"
