"""metrics.jsonl: one JSON object per snapshot, oldest first.

The file is always replaced as a whole, so a kill or a full disk never leaves half a line.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from pgi.atomic import write_atomically


def append(path: Path, step: int, values: Mapping[str, float]) -> None:
    """Adds a line of `{"step": ..., name: value, ...}`."""
    before = path.read_bytes() if path.exists() else b""
    if before and not before.endswith(b"\n"):  # Earlier versions could be killed within a line.
        before += b"\n"
    write_atomically(path, before + json.dumps({"step": step, **values}).encode() + b"\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All lines; leaves out those that cannot be read, with a warning for each."""
    if not path.exists():
        return []
    lines = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            values: dict[str, Any] = json.loads(line)
            operator.index(values["step"])  # TypeError unless it is an integer.
            lines.append(values)
        except (ValueError, TypeError, KeyError, RecursionError):
            logging.warning("%s: left out line %d, which cannot be read", path, number)
    return lines


def forget_after(path: Path, step: int) -> None:
    """Deletes the lines of later steps, and those that cannot be read."""
    kept = [json.dumps(line) for line in read(path) if line["step"] <= step]
    write_atomically(path, "".join(line + "\n" for line in kept).encode())
