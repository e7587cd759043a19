"""Photographs in Debian's packages of wallpapers."""
