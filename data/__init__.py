"""Datasets by name: one folder each, and any folder of images."""

from data.datasets import load

__all__ = ["load"]
