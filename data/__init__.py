"""Datasets by name. Each dataset that needs code of its own has a folder here."""

from pgi import quiet  # isort: skip  # noqa: F401  (before anything else imports TensorFlow)

from data.datasets import load

__all__ = ["load"]
