"""Exit statuses and messages that all programs have in common."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
from absl import app, flags
from experiments import program
from pgi.errors import Interrupted, LostWorkerError, PictureError

def main(argv):
    program.no_arguments(argv)
    match flags.FLAGS.end:
        case "failed": return 1
        case "error": raise PictureError("no picture")
        case "usage": raise app.UsageError("name a file")
        case "file": open("/no/such/file")
        case "interrupted": raise KeyboardInterrupt
        case "signal": raise Interrupted(15, "SIGTERM at step 3, saved: step-3")
        case "lost": raise LostWorkerError("worker 1 (b:2) is lost")
        case "bug": raise AssertionError("a bug")

program.run(main, lambda: flags.DEFINE_string("end", "", "How it ends."), "nothing is left")
"""


def ended(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return result.returncode, result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 0, ""),
        (["--end=failed"], 1, ""),
        (["--end=error"], 2, "error: no picture\n"),
        (["--end=usage"], 2, "error: name a file\n"),
        (["--end=file"], 2, "error: [Errno 2] No such file or directory: '/no/such/file'\n"),
        (["more", "words"], 2, "error: arguments must be flags only, got 'more words'\n"),
        (["--begin=now"], 2, "cannot read the flags: Unknown command line flag 'begin'\n"),
        (["--end=lost"], 75, "error: worker 1 (b:2) is lost; nothing is left\n"),
        (["--end=interrupted"], 130, "interrupted; nothing is left\n"),
        (["--end=signal"], 143, "SIGTERM at step 3, saved: step-3; nothing is left\n"),
    ],
)
def test_a_program_ends_with_its_status_and_one_line(
    arguments: list[str], status: int, message: str
) -> None:
    assert ended(*arguments) == (status, message)


def test_a_program_of_one_process_refuses_several_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}'
    monkeypatch.setenv("TF_CONFIG", cluster)
    status, message = ended()
    assert status == 2 and message.startswith("error: TF_CONFIG must be unset or of one worker")
    assert message.endswith("got '2 workers'\n") and message.count("\n") == 1


def test_a_bug_keeps_its_traceback() -> None:
    status, message = ended("--end=bug")
    assert status == 1 and "Traceback" in message and message.endswith("AssertionError: a bug\n")
