"""A web page on which to paint a hole into a photograph and fill it."""

try:
    import gradio  # noqa: F401
except ImportError as error:
    raise ImportError(
        'pgi demo needs Gradio: pip install -c constraints.txt -e ".[demo]"'
    ) from error

from pgi.demo.accounts import read_accounts
from pgi.demo.page import sample_photographs
from pgi.demo.program import serve_until_interrupted
from pgi.demo.serving import Settings, serve

__all__ = [
    "Settings",
    "read_accounts",
    "sample_photographs",
    "serve",
    "serve_until_interrupted",
]
