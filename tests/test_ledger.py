"""The reproduction ledger names code and tests that exist, and a status it defines."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STATUSES = ("stated", "from DeepFillv2", "inferred", "our choice")


def rows() -> list[dict[str, str]]:
    found, header = [], None
    for line in (ROOT / "docs" / "REPRODUCTION.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            header = None
        elif header is None:
            header = cells
        elif header[0] == "what" and not set(line) <= set("|-"):
            found.append(dict(zip(header, cells)))
    return found


def functions_of(file: str) -> set[str]:
    """Names of the test functions of a file, given by its path from the root."""
    tree = ast.parse((ROOT / file).read_text())
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return {function.name for function in functions if function.name.startswith("test_")}


def test_there_are_rows_and_each_is_whole() -> None:
    assert len(rows()) > 30
    assert all(row["what"] and row["decision"] and row["code"] and row["test"] for row in rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["what"])
def test_the_row_names_code_and_a_test_that_exist(row: dict[str, str]) -> None:
    assert any(status in row["status"] for status in STATUSES)

    path, found = row["code"].strip("`").split("."), None
    for length in range(len(path), 0, -1):
        try:
            found = importlib.import_module(".".join(path[:length]))
        except ModuleNotFoundError:
            continue
        for name in path[length:]:
            found = getattr(found, name)
        break
    assert found is not None

    file, _, name = row["test"].strip("`").partition("::")
    assert name in functions_of(file), f"no test function {name!r} in {file}"
