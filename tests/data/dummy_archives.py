"""The builders' dummy archives, in the place where a user would have put the real ones."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "data"
# What the dummy archives hold.
COUNTS = {
    "places2": {"train": 6, "validation": 4},
    "div2k": {"train": 4, "validation": 3},
    "celeba_hq": {"train": 4, "validation": 2},
}


def install(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a home for TFDS with a dataset's dummy archives; returns their folder."""
    manual = home / "downloads" / "manual"
    manual.mkdir(parents=True, exist_ok=True)
    dummies = ROOT / name / "dummy_data"
    for path in dummies.iterdir():
        (manual / path.name).symlink_to(path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(home))
    module = importlib.import_module(f"data.{name}.{name}_dataset_builder")
    if name == "photos":
        for name, file in (("PHOTOGRAPHS", "photographs.json"), ("MORE", "photographs_wide.json")):
            monkeypatch.setattr(module, name, json.loads((dummies / file).read_bytes()))
    else:
        monkeypatch.setattr(module.Builder, "counts", lambda _: COUNTS[name])
    return manual
