"""Who may log in to the page: a file of names and passwords."""

from __future__ import annotations

from pathlib import Path

from pgi.errors import AccountsError


def read_accounts(path: Path) -> list[tuple[str, str]]:
    """Names and passwords of a file with one `name:password` per line.

    A file rather than a flag, because every user of a machine can read the command lines of all
    its processes. Empty lines are skipped. A password may contain colons and spaces.

    Raises:
        AccountsError: the file is missing or empty, or a line is not of this form. The message
            names the line's number, and never its text.
    """
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise AccountsError(f"{path} cannot be read: {reason}") from error
    accounts: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, _, password = line.partition(":")
        name = name.strip()  # As the login form does.
        if not name or not password:
            raise AccountsError(f"{path}, line {number}: must be NAME:PASSWORD")
        if name in accounts:
            raise AccountsError(
                f"{path}, line {number}: names must differ, and this one came before"
            )
        accounts[name] = password
    if not accounts:
        raise AccountsError(f"{path} must have at least one line NAME:PASSWORD, got none")
    return list(accounts.items())
