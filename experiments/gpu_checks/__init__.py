"""All checks of `experiments.check_gpu`, by name."""

from __future__ import annotations

from functools import partial

from experiments.gpu_checks import inference, reference, training
from experiments.gpu_checks.common import STEPS, Check


def checks(quick: bool) -> dict[str, Check]:
    """All checks by name, in their order."""
    sides = (64, 128, 256) if quick else (512, 1024, 2048)
    return {
        "golden numbers: generator": reference.generator,
        "golden numbers: discriminator": reference.discriminator,
        "golden numbers: attention": reference.attention,
        training.FLOAT32: training.ten_steps,
        f"{STEPS} steps, mixed_bfloat16": partial(
            training.ten_steps, within=0.05, precision="mixed_bfloat16"
        ),
        f"{STEPS} steps, mixed_float16": partial(
            training.ten_steps, within=0.05, precision="mixed_float16"
        ),
        f"{STEPS} steps, XLA": training.xla,
        f"{STEPS} steps, MirroredStrategy": training.mirrored,
        "input": training.input_stage,
        **{f"inference at {side}": partial(inference.inference, side) for side in sides},
        f"inference of a whole image at {sides[0]}": partial(inference.ratio, sides[0]),
    }
