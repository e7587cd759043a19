"""DeepFillv2's golden numbers: results of its networks with weights that anyone can make again.

They lie in `tests/golden/` of a clone.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"


def golden(name: str) -> dict[str, np.ndarray]:
    """The arrays of one file of golden numbers."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def reference_shapes(network: str) -> dict[str, list[int]]:
    """Name -> shape of "generator" or "discriminator"."""
    shapes: dict[str, dict[str, list[int]]]
    shapes = json.loads((GOLDEN / "deepfillv2_variables.json").read_text())
    return shapes[network]


def reference_weights(network: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Name -> array, each made from its name and the seed as the golden numbers' were."""
    return {name: _weights(name, shape, seed) for name, shape in reference_shapes(network).items()}


def _weights(name: str, shape: list[int], seed: int) -> np.ndarray:
    normal = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape)
    if name.endswith("bias"):
        normal *= 0.1
    elif not name.endswith("/u"):
        normal *= 1.6 / np.sqrt(np.prod(shape[:-1]))
    return normal.astype(np.float32)
