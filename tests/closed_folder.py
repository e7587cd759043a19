"""Folders that cannot be listed, for the superuser too, whom no permissions stop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def forbid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Makes every folder of that name one that cannot be listed."""
    really_list = os.scandir

    def list_others(path):
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return really_list(path)

    monkeypatch.setattr(os, "scandir", list_others)
