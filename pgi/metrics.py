"""L1, PSNR and SSIM of a result against the truth, by the formulas of five protocols.

The paper gives no formulas, and the field's programs disagree, so every number carries its
protocol:

    paper      completed image   L1 sum|a - b| / sum(a + b)   PSNR   SSIM, uniform window of 51
    paper_gray as paper, but the images are converted to grey first
    standard   completed image   L1 mean|a - b|, in [0, 1]    PSNR   SSIM, Gaussian window of 11
    raw        network's output  as standard
    hole       hole pixels only  as standard                  PSNR   none

`paper` is the likeliest of those that the paper may have used; docs/REPRODUCTION.md compares them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from pgi.arrays import AnyArray, FloatArray
from pgi.images import as_hole
from pgi.rules import check, check_choice

PROTOCOLS = ("paper", "paper_gray", "standard", "raw", "hole")
METRICS = ("ssim", "psnr", "l1")

_WHITE = 255
_UNIFORM: dict[str, Any] = {"win_size": 51}
_PAPER = ("paper", "paper_gray")
_GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "win_size": 11}


def evaluate(
    truth: AnyArray, result: AnyArray, mask: AnyArray, protocol: str = "paper"
) -> dict[str, FloatArray]:
    """The metrics of a result, or of each of a batch, by a protocol (section 4.1).

    Args:
        truth: uint8 `[H, W, 3]` or `[N, H, W, 3]`, RGB.
        result: of the same shape. Its known pixels are replaced by the truth's, except under
            "raw".
        mask: bool, True = hole, or uint8, above 127 = hole; `[H, W]` or `[H, W, 1]`, for a batch
            also `[N, H, W]` or `[N, H, W, 1]`.
        protocol: of `PROTOCOLS`.

    Returns:
        float64 by name, `[]` or `[N]`: "l1", lower is better; "psnr" in dB, over all channels at
        once, infinite for a perfect result; "ssim", at most 1, which "hole" does not have.

    Raises:
        RuleError: an argument has another type or shape; a side is shorter than the SSIM's window
            (51 under "paper" and "paper_gray", 11 under "standard" and "raw"); a mask without hole
            under "hole".
    """
    check_choice("protocol", PROTOCOLS, protocol)
    truth, result = np.asarray(truth), np.asarray(result)
    check("truth", "uint8", truth.dtype == np.uint8, str(truth.dtype))
    check("result", "uint8", result.dtype == np.uint8, str(result.dtype))
    fits = truth.ndim in (3, 4) and truth.shape[-1] == 3 and truth.size > 0
    check("truth", "[H, W, 3] or [N, H, W, 3] and not empty", fits, truth.shape)
    same = result.shape == truth.shape
    check("result", f"of the truth's shape {truth.shape}", same, result.shape)
    hole = as_hole(mask, truth.shape[:-1])
    if protocol == "hole":
        check("mask", "hole somewhere", bool(hole.any(axis=(-2, -1)).all()), "no hole")
    if protocol != "raw":
        result = np.where(hole[..., np.newaxis], result, truth)
    if truth.ndim == 3:
        return _evaluate_one(truth, result, hole, protocol)
    holes = np.broadcast_to(hole, truth.shape[:-1])
    each = [_evaluate_one(*images, protocol) for images in zip(truth, result, holes)]
    return {name: np.stack([values[name] for values in each]) for name in each[0]}


def _evaluate_one(
    truth: AnyArray, result: AnyArray, hole: AnyArray, protocol: str
) -> dict[str, FloatArray]:
    a, b = truth.astype(np.float64), result.astype(np.float64)
    if protocol == "paper_gray":  # Luma of ITU-R BT.709, unrounded.
        a, b = rgb2gray(a), rgb2gray(b)
    error = (a - b)[hole] if protocol == "hole" else a - b
    with np.errstate(divide="ignore"):  # A perfect result has an infinite PSNR.
        values = {"psnr": 10 * np.log10(_WHITE**2 / np.mean(error**2))}
    if protocol in _PAPER:
        # Two black images: 0 / 0 is no error.
        values["l1"] = np.abs(error).sum() / max(np.sum(a + b), 1.0)
    else:
        values["l1"] = np.mean(np.abs(error)) / _WHITE
    if protocol != "hole":
        window = _UNIFORM if protocol in _PAPER else _GAUSSIAN
        rule = f"at least {window['win_size']} px under the protocol {protocol}"
        check("sides", rule, min(hole.shape) >= window["win_size"], hole.shape)
        channels = -1 if a.ndim == 3 else None
        values["ssim"] = structural_similarity(
            a, b, channel_axis=channels, data_range=_WHITE, **window
        )
    return values
