"""Filling of picture files that keeps everything outside the hole, for `pgi inpaint`."""
