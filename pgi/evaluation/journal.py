"""Journal: the numbers of a method that is being measured, photograph by photograph.

    {"of": ...}          what they are of
    {"made": ...}        where they are measured; one more line after each interruption
    {"crops": "div2k_512_1a2b3c4d", "photograph": "0801.png", "scores": [...]}

One JSON value a line. An interrupted measurement continues after the last whole line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pgi.atomic import refuse_link

# A crop's numbers, by mask set, protocol and metric.
Scores = Mapping[str, Mapping[str, Mapping[str, float]]]


class Journal:
    """A journal's file, which is begun anew if it is of something else.

    A printed line says how many photographs are discarded then.

    Only one process may write to it at a time.

    Args:
        path: of the file; its folder exists.
        of: what the numbers are of, as plain values.
        made: provenance of the numbers to come.

    Attributes:
        done: how many photographs have their numbers, by the crop list's folder.
        made: provenance of all numbers, those of earlier calls too.
    """

    def __init__(self, path: Path, of: Mapping[str, Any], made: Mapping[str, Any]) -> None:
        self.path, self.done, self.made = path, Counter[str](), dict[str, Any]()
        of, before, end = json.loads(json.dumps(of)), None, 0
        for line, place in _whole_lines(path):
            before, end = line.get("of", before), place
            self.done.update([line["crops"]] if "crops" in line else [])
            self.made = merged(self.made, line.get("made", self.made))
        if before != of and path.exists():
            others = ", ".join(key for key in of if (before or {}).get(key) != of[key])
            if self.done:
                print(f"discarded {self.done.total()} photographs in {path}: of another {others}")
            self.done, self.made, end = Counter(), {}, 0
        with open(path, "ab", opener=refuse_link) as file:
            file.truncate(end)
        self.made = merged(self.made, made)
        for header in ({"made": made},) if end else ({"of": of}, {"made": made}):
            self._append(header)

    def append(self, crops: str, photograph: str, scores: Sequence[Scores]) -> None:
        """Writes the numbers of a photograph's crops.

        Args:
            crops: folder of the crop list.
            photograph: its name.
            scores: of each of its crops.
        """
        self._append({"crops": crops, "photograph": photograph, "scores": scores})
        self.done[crops] += 1

    def scores(self) -> Iterator[tuple[str, Scores]]:
        """The crop list's folder and the numbers, for each crop."""
        for line, _ in _whole_lines(self.path):
            for scores in line.get("scores", ()):
                yield line["crops"], scores

    def _append(self, line: Mapping[str, Any]) -> None:
        with open(self.path, "ab", opener=refuse_link) as file:
            file.write(json.dumps(line).encode() + b"\n")


def merged(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance of numbers of which some were made before: "A; B" of two machines or commits."""
    both = {}
    for key in ("git_commit", "machine"):
        if before and before.get(key) != now.get(key):
            parts = [part for x in (before, now) for part in str(x.get(key)).split("; ")]
            both[key] = "; ".join(dict.fromkeys(parts))
    return {**now, **both}


def _whole_lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Each line's value and its end in the file, up to the first that is torn or damaged."""
    if not path.exists():
        return
    end = 0
    with open(path, "rb") as file:
        for line in file:
            try:
                value = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                return
            if not isinstance(value, dict):
                return
            end += len(line)
            yield value, end
