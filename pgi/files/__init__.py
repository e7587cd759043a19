"""Pictures in files, for the program `pgi inpaint`: whatever is not the hole stays as it was."""
