"""Journal of a method that is being measured: its numbers, photograph by photograph.

    {"of": ...}                                         what the numbers are of
    {"made": ...}                                       where they are measured; again on each resume
    {"crops": FOLDER, "photograph": NAME, "scores": [...]}    for each crop, by masks, protocol, metric

One JSON value a line. An interrupted measurement goes on after the last whole line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Numbers of a crop by mask set, protocol and metric.
Scores = dict[str, dict[str, dict[str, float]]]


class Journal:
    """A journal file, continued if it is of the same, else begun anew with a printed line.

    A context manager: the file is open inside. Only one process may write to it at a time.

    Args:
        path: of the file, in a folder that exists.
        of: what the numbers are of, as plain values.
        made: provenance of the numbers to come.

    Attributes:
        made: provenance of all numbers, those of earlier calls too.
        done: number of photographs whose numbers it has, by the crop list's folder.
    """

    def __init__(self, path: Path, of: Mapping[str, Any], made: Mapping[str, Any]) -> None:
        self.path, self.made = path, dict(made)
        self.done: Counter[str] = Counter()
        of = json.loads(json.dumps(of))
        end, found = 0, None
        for end, value in _whole_lines(path):
            found = value if found is None else found
            if found.get("of") == of:
                self.made = merged(value.get("made", {}), self.made)
                self.done.update(filter(None, [value.get("crops")]))
            else:
                self.done[""] += "scores" in value
        if lost := self.done.pop("", 0):
            others = ", ".join(x for x in of if (found or {}).get("of", {}).get(x) != of[x])
            print(f"discarded: {path} has {lost} photographs, but of another {others}")
        same = found is not None and found.get("of") == of
        self._file = open(path, "ab")
        self._file.truncate(end if same else 0)
        for line in ({"made": made},) if same else ({"of": of}, {"made": made}):
            self._write(line)
