"""The end of the page's process."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import stat
import subprocess
import sys
import termios
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="Gradio needs Python 3.10")

from tests.demo.pages import Visitor, free_port, png, stroke

PROGRAM = """
import sys
from pgi import demo
from tests.demo.pages import Slow
settings = demo.Settings(host=sys.argv[1], port=int(sys.argv[2]))
demo.serve_until_interrupted(Slow(), demo.sample_photographs(), settings)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_deletes_all_files_while_a_photograph_is_filled(
    tmp_path: Path, number: signal.Signals
) -> None:
    host = "0.0.0.0" if number == signal.SIGTERM else "127.0.0.1"
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, host, str(port)],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("The page is at http://")
        with Visitor(f"http://127.0.0.1:{port}/") as visitor:
            assert visitor.fill(png(), stroke()).status_code == 200
            (folder,) = tmp_path.iterdir()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert len(list(folder.rglob("*.png"))) > 4
            process.send_signal(number)
            process.send_signal(number)  # A second one does not disturb the first.
            _, errors = process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert "interrupted; the page is closed, its uploads and results are deleted" in errors
    assert ("everyone who can reach this machine" in errors) == (host == "0.0.0.0")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_closed_terminal_ends_the_page_too(tmp_path: Path) -> None:
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "127.0.0.1", str(free_port())],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    try:
        os.close(its_end)
        text = b""
        while b"The page is at" not in text:
            text += os.read(terminal, 1000)
        os.close(terminal)  # The system sends SIGHUP, and nothing can be printed any more.
        assert process.wait(15) == 128 + signal.SIGHUP
    finally:
        process.kill()
    assert not list(tmp_path.iterdir())
