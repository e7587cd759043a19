"""Imports run one way: a room may only know the rooms below it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the bottom up; rooms of one line may know each other.
FLOORS = (
    ("pgi.errors", "pgi.arrays", "pgi.opencv", "pgi.quiet", "pgi.atomic", "pgi.provenance"),
    ("pgi.rules",),
    ("pgi.config", "pgi.layers"),
    ("pgi.images", "pgi.masks", "pgi.losses", "pgi.metrics", "pgi.sheets", "pgi.training.reading"),
    ("pgi.models",),
    ("pgi.deepfillv2", "pgi.training.summary", "pgi.training.pipeline", "pgi.training.run_folder"),
    ("pgi.training.stages", "pgi.training.checkpoints", "pgi.evaluation.mask_sets"),
    ("pgi.inference", "pgi.load"),
    ("pgi.training",),
    ("pgi.evaluation",),
    ("pgi.files",),
    ("pgi.export",),
    ("pgi.demo",),
    ("pgi.__main__",),
    ("experiments.program",),
    ("data",),
    ("experiments",),
)
FILES = [
    path for room in ("pgi", "data", "experiments") for path in sorted((ROOT / room).rglob("*.py"))
]


def floor(module: str) -> int | None:
    for height, rooms in enumerate(FLOORS):
        if any(module == room or module.startswith(f"{room}.") for room in rooms):
            return height
    return None


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in ("pgi", "data", "experiments")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_nothing_from_above(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    # Its one function imports only when it is called.
    own = floor("pgi.load" if module == "pgi" else module)
    assert own is not None, f"{module} has no place in FLOORS"
    for name in imported(path):
        other = floor(name)
        assert other is not None and other <= own, f"{module} imports {name}"


def test_the_library_knows_no_flags() -> None:
    for path in sorted((ROOT / "pgi").rglob("*.py")):
        assert "absl.flags" not in path.read_text() and "import flags" not in path.read_text()
