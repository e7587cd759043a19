"""Why an export was not made."""


class ExportError(ValueError):
    """An export cannot be made or failed its check; nothing of it is left behind."""
