"""The file of names and passwords."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="Gradio needs Python 3.10")

from pgi.demo import read_accounts
from pgi.errors import AccountsError


def test_names_and_passwords(tmp_path: Path) -> None:
    (tmp_path / "accounts").write_bytes("ann:a:b c\r\n\n bob :päss \n".encode())
    assert read_accounts(tmp_path / "accounts") == [("ann", "a:b c"), ("bob", "päss ")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"accounts must have at least one line NAME:PASSWORD, got none"),
        (b"\n \n", r"accounts must have at least one line"),
        (b"ann:secret\nsecret\n", r"accounts, line 2: must be NAME:PASSWORD"),
        (b"ann:\n", r"accounts, line 1: must be NAME:PASSWORD"),
        (b":secret\n", r"accounts, line 1: must be NAME:PASSWORD"),
        (b"ann:secret\n\nann:secret\n", r"accounts, line 3: names must differ"),
        (b"ann:secret\xff", r"accounts cannot be read: it is no text in UTF-8"),
    ],
)
def test_what_is_wrong_is_said_without_passwords(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "accounts").write_bytes(content)
    with pytest.raises(AccountsError, match=message) as error:
        read_accounts(tmp_path / "accounts")
    assert "secret" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AccountsError, match="none cannot be read: No such file"):
        read_accounts(tmp_path / "none")
    with pytest.raises(AccountsError, match="Is a directory"):
        read_accounts(tmp_path)
