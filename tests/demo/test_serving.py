"""The page's limits, by requests to a page that is served with an inpainter that waits."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import cast

import httpx
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="Gradio needs Python 3.10")

from pgi.demo import Settings, serve
from pgi.demo.actions import Actions
from pgi.demo.serving import is_public
from pgi.demo.storage import Storage
from pgi.inference import Inpainter
from tests.demo.pages import Slow, Visitor, png, served, stroke

HUGE = png(2000, 2100, "1")  # 4.2 megapixels in 1 kB.


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def address(slow: Slow) -> Iterator[str]:
    with served(slow, max_megapixels=4) as page:
        yield page
        slow.may_end.set()


def test_the_defaults_depend_on_who_can_reach_the_page() -> None:
    assert not any(map(is_public, ("127.0.0.1", "127.0.0.2", "localhost", "::1", "[::1]")))
    assert all(map(is_public, ("0.0.0.0", "::", "192.168.0.1", "photos.example")))
    assert Settings().megapixels == 64
    assert Settings(host="0.0.0.0").megapixels == 16
    assert Settings(host_names=["photos.example"]).megapixels == 16  # A proxy leads here.
    assert Settings(host="0.0.0.0", max_megapixels=50).megapixels == 50


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_needs_no_brackets(slow: Slow, host: str) -> None:
    if not socket.has_ipv6:
        pytest.skip("needs IPv6")
    with served(slow, host=host) as address, Visitor(address) as visitor:
        assert address.startswith("http://[::1]:")
        assert visitor.client.get("/config").status_code == 200


# Pictures


def test_large_photographs_and_layers_are_refused(address: str, slow: Slow) -> None:
    assert len(HUGE) < 2000
    with Visitor(address) as visitor:
        huge, small = visitor.upload(HUGE), visitor.upload(png())
        layer = visitor.upload(stroke())
        large = "Must have at most 4 megapixels, got 4.2 (2100 x 2000)."
        assert visitor.refusal("show", huge) == large
        assert visitor.refusal("fill", huge, {"layers": [layer]}) == large
        message = visitor.refusal("fill", small, {"layers": [huge]})
        assert message == "Must have at most 1.04858 megapixels, got 4.2 (2100 x 2000)."
        message = visitor.refusal("fill", small, {"layers": [layer] * 100})
        assert message == "Must have at most 1 layer of paint, got 100."
    assert not slow.calls


def test_the_limit_holds_under_that_of_pillow_too(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000_000)  # An error above 4 megapixels.
    with Visitor(address) as visitor:
        message = visitor.refusal("show", visitor.upload(HUGE))
    assert message == "Must have at most 4 megapixels, got more than 4."


def test_the_editors_other_pictures_are_not_opened(
    address: str, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.may_end.set()
    with Visitor(address) as visitor:
        answer = visitor.fill(png(), stroke(), background=HUGE, composite=b"no picture")
        assert answer.status_code == 200
        assert visitor.outcome()["success"]


# The queue


def test_one_fill_of_a_visitor_may_wait(address: str, slow: Slow) -> None:
    with Visitor(address) as visitor, Visitor(address) as again:
        assert visitor.fill(png(), stroke()).status_code == 200
        assert slow.begun.wait(30)
        # Also with many requests at once, and from another tab.
        data = again.upload(png()), {"layers": [again.upload(stroke())]}
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: again.join("fill", *data), range(6)))
        assert sorted(answer.status_code for answer in answers) == [200] + [429] * 5
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert "still waiting" in refused.json()["detail"]
        # The others' light events go on.
        assert visitor.join("show", visitor.upload(png())).status_code == 200
        slow.may_end.set()
        assert again.outcome()["success"]
        assert again.fill(png(), stroke()).status_code == 200
        assert again.outcome()["success"]
    assert slow.most == 1


def test_one_photograph_is_filled_at_a_time_without_the_queue_too(slow: Slow) -> None:
    with Storage(2**24, 60) as storage, ThreadPoolExecutor(4) as pool:
        for name, content in (("cat.png", png()), ("layer.png", stroke())):
            (storage.path / name).write_bytes(content)
        actions = Actions(cast(Inpainter, slow), [], storage, 4)
        photograph, layer = ({"path": str(storage.path / f"{x}.png")} for x in ("cat", "layer"))
        results = [pool.submit(actions.fill, photograph, {"layers": [layer]}) for _ in range(4)]
        assert slow.begun.wait(30)
        time.sleep(0.2)
        slow.may_end.set()
        assert len({result.result().download for result in results}) == 4
    assert (slow.calls, slow.most) == (4, 1)


def test_a_place_is_free_again_when_its_visitor_leaves(address: str, slow: Slow) -> None:
    with Visitor(address) as first, Visitor(address) as gone, Visitor(address) as third:
        first.fill(png(), stroke())
        assert slow.begun.wait(30)
        assert gone.fill(png(), stroke()).status_code == 200
        assert third.fill(png(), stroke()).status_code == 429
        url = f"/gradio_api/queue/data?session_hash={gone.session}"
        with gone.client.stream("GET", url) as lines:
            next(lines.iter_lines())
        for _ in range(100):
            answer = third.fill(png(), stroke())
            if answer.status_code == 200:
                break
        assert answer.status_code == 200


def test_proxied_visitors_are_told_apart(address: str, slow: Slow) -> None:
    with ExitStack() as stack:
        ann, bob, bob_again = (
            stack.enter_context(Visitor(address, **{"X-Forwarded-For": name}))
            for name in ("10.0.0.1", "10.0.0.2", "10.0.0.2")
        )
        ann.fill(png(), stroke())
        assert slow.begun.wait(30)
        answers = [visitor.fill(png(), stroke()).status_code for visitor in (ann, bob, bob_again)]
    assert answers == [200, 200, 429]


def test_unknown_events_are_refused(address: str) -> None:
    with Visitor(address) as visitor:
        body = {"session_hash": "x", "fn_index": 99, "data": []}
        answer = visitor.client.post("/gradio_api/queue/join", json=body)
    assert (answer.status_code, answer.json()) == (404, {"detail": "this page has no such event"})


# Accounts


def logged_in(visitor: Visitor, name: str) -> Visitor:
    form = {"username": name, "password": f"of {name}"}
    assert visitor.client.post("/login", data=form).status_code == 200
    return visitor


def test_a_login_is_needed_and_names_visitors(slow: Slow) -> None:
    accounts = [(name, f"of {name}") for name in ("ann", "bob")]
    with served(slow, accounts=accounts) as address, ExitStack() as stack:
        stranger, ann, bob, bob_again = (stack.enter_context(Visitor(address)) for _ in range(4))
        form = {"username": "ann", "password": "of bob"}
        assert stranger.client.post("/login", data=form).status_code == 400
        assert stranger.client.post("/login", content=b" " * 100_000).status_code == 413
        for answer in (
            stranger.client.get("/config"),
            stranger.client.post("/gradio_api/upload", files={"files": png()}),
            stranger.client.post("/gradio_api/queue/join", json={"data": []}),
            stranger.client.get("/gradio_api/queue/data?session_hash=x"),
            stranger.client.get("/gradio_api/file=/files/chelsea.png"),
        ):
            assert answer.status_code == 401
        for visitor, name in ((ann, "ann"), (bob, "bob"), (bob_again, "bob")):
            logged_in(visitor, name)
        ann.fill(png(), stroke())
        assert slow.begun.wait(30)
        answers = [visitor.fill(png(), stroke()).status_code for visitor in (ann, bob, bob_again)]
        assert answers == [200, 200, 429]
        slow.may_end.set()


def test_passwords_cannot_be_guessed_quickly(slow: Slow) -> None:
    with served(slow, accounts=[("ann", "of ann")]) as address, Visitor(address) as stranger:
        form = {"username": "ann", "password": "x"}
        answers = [stranger.client.post("/login", data=form) for _ in range(11)]
        assert [answer.status_code for answer in answers] == [400] * 10 + [429]
        assert "10 attempts to log in a minute" in answers[-1].text


def test_a_taken_port_is_named(slow: Slow) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        page = serve(cast(Inpainter, slow), [], Settings(port=port))
        with pytest.raises(OSError, match=rf"127.0.0.1:{port} must be a free port.*--port"), page:
            pass


def test_the_settings_do_not_show_passwords() -> None:
    assert "secret" not in repr(Settings(accounts=[("ann", "secret")]))


# Room


def test_a_full_storage_is_said(slow: Slow) -> None:
    slow.may_end.set()
    # Room for two small files, of 64 KiB each.
    with (
        served(slow, storage_megabytes=0.15) as address,
        Visitor(address) as visitor,
        Visitor(address, **{"X-Forwarded-For": "10.0.0.7"}) as other,
    ):
        answer = visitor.client.post("/gradio_api/upload", files={"files": bytes(200_000)})
        assert answer.status_code == 507
        assert answer.text.startswith("the page keeps at most 0 megabytes of photographs")
        # One visitor alone may upload a quarter.
        photograph, layer = visitor.upload(png()), other.upload(stroke())
        message = visitor.refusal("fill", photograph, {"layers": [layer]})
        assert message.startswith("The page keeps at most 0 megabytes of photographs")
    assert slow.calls == 1


def test_an_upload_that_breaks_off_gives_its_room_back(slow: Slow) -> None:
    with served(slow, storage_megabytes=1) as address, Visitor(address) as visitor:
        host, port = httpx.URL(address).host, httpx.URL(address).port
        head = (
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\nExpect: 100-continue\r\n\r\n"
        )
        with socket.create_connection((host, port or 80)) as broken:
            broken.sendall(head.encode())
            assert broken.recv(1000).startswith(b"HTTP/1.1 100")  # It is being read.
            answer = visitor.client.post("/gradio_api/upload", files={"files": bytes(200_000)})
            assert answer.status_code == 507
        for _ in range(100):
            answer = visitor.client.post("/gradio_api/upload", files={"files": bytes(200_000)})
            if answer.status_code == 200:
                break
        assert answer.status_code == 200


# What is shown


def test_a_result_that_is_not_kept_is_said(address: str) -> None:
    with Visitor(address) as visitor:
        message = visitor.refusal("reveal", visitor.upload(png()), None)
    assert message == "The result is no longer kept: press Fill again."


def test_a_late_result_is_not_shown_under_another_photograph(slow: Slow, address: str) -> None:
    with Visitor(address) as visitor:
        other = visitor.upload(png(), "dog.png")
        assert visitor.fill(png(), stroke()).status_code == 200
        slow.may_end.set()
        assert visitor.outcome()["success"]
        assert visitor.join("reveal", other, None).status_code == 200
        _, *shown = visitor.outcome()["output"]["data"]
        assert shown == [{"__type__": "update"}] * 3
