"""Datasets by name: one folder each, and any folder of images."""

from pgi import quiet  # isort: skip  # noqa: F401  (before anything else imports TensorFlow)

from data.datasets import load

__all__ = ["load"]
