"""Rules for argument values, shared by the config and the models.

Every message names the argument, the rule and the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgi.arrays import BoolArray
from pgi.errors import RuleError

FUSIONS = (
    "image",
    "image_attention",
    "image_convolution",
    "feature_coarse",
    "feature_refine",
    "none",
)
DILATIONS = ("adaptive", "standard")
DEPTHS = ("paper", "auto")
# Of programs that fill pictures. Evaluation measures the paper's.
DEFAULT_DEPTH = "auto"
INITIALIZERS = ("glorot_uniform", "gated_he")
PLACEMENTS = ("random", "center")
# A config may come from a stranger: beyond these the networks would fill the memory. The paper's
# config has 3 levels up to 512 px, of width 48 and 64.
MAX_LEVELS = 6
MAX_LEVEL_SIDE = 8192
MAX_WIDTH = 256
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
CONVOLUTION_DTYPES = ("float32", "bfloat16")


def check(name: str, rule: str, holds: bool, value: Any) -> None:
    """Raises a RuleError "`name` must be `rule`, got `value`" unless the rule holds."""
    if not holds:
        raise RuleError(f"{name} must be {rule}, got {value!r}")


def check_choice(name: str, choices: Sequence[str], value: str) -> None:
    """Raises a RuleError unless the value is one of the choices."""
    check(name, f"one of {', '.join(choices)}", value in choices, value)


def check_precision(precision: str, convolution_dtype: str) -> None:
    """Raises a RuleError unless networks can be computed in these types."""
    check_choice("precision", PRECISIONS, precision)
    check_choice("convolution_dtype", CONVOLUTION_DTYPES, convolution_dtype)
    alone = "float32" in (precision, convolution_dtype)
    check("convolution_dtype", f'"float32" under precision "{precision}"', alone, convolution_dtype)


def check_levels(levels: Sequence[int]) -> None:
    """Raises a RuleError unless each level's side is twice that below, from a multiple of 8 up.

    There may be `MAX_LEVELS` levels, of up to `MAX_LEVEL_SIDE` px.
    """
    if not levels or levels[0] < 8 or levels[0] % 8:
        raise RuleError(f"levels must start with a positive multiple of 8, got {tuple(levels)}")
    if any(upper != 2 * lower for lower, upper in zip(levels, levels[1:])):
        raise RuleError(f"levels must double, got {tuple(levels)}")
    rule = f"at most {MAX_LEVELS} levels of at most {MAX_LEVEL_SIDE} px"
    fits = len(levels) <= MAX_LEVELS and levels[-1] <= MAX_LEVEL_SIDE
    check("levels", rule, fits, tuple(levels))


def check_width(width: int) -> None:
    """Raises a RuleError unless gated convolutions can halve the width twice."""
    check("width", "a positive multiple of 4", width > 0 and width % 4 == 0, width)
    check("width", f"at most {MAX_WIDTH}", width <= MAX_WIDTH, width)


def check_fusion(fusion: str, drop_coarse: bool) -> None:
    """Raises a RuleError unless the fusion is known and, under `drop_coarse`, "image"."""
    check_choice("fusion", FUSIONS, fusion)
    if drop_coarse:
        check("fusion", '"image" under drop_coarse', fusion == "image", fusion)


def check_mask_scale(largest: int) -> None:
    """Raises a RuleError if a mask's largest value is 1, which is hole only in bool."""
    scale = "of 0 to 255, where above 127 is hole (or bool)"
    if largest == 1:
        raise RuleError(f"mask must be {scale}, got a maximum of 1")


def check_known(hole: BoolArray, name: str = "mask") -> None:
    """Raises a RuleError if a mask is all hole, which leaves nothing to fill it from."""
    rule = "less than all hole: it is filled from the known pixels"
    check(name, rule, not hole.all(), "all hole")


def mask_warning(hole: BoolArray, name: str = "mask") -> str | None:
    """A warning if a mask, bool, is more than 70 % hole and so may be inverted; None otherwise."""
    share = hole.mean()
    if share <= 0.7:
        return None
    return f"{name} is {share:.0%} hole; is it inverted? White, or True, is the hole"
