"""Photographs from Debian packages."""
