"""The inpainter's contract: the same image out, its holes filled, and nothing else changed."""

from __future__ import annotations

import collections
import dataclasses
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import pgi
from pgi.errors import RuleError, RunFolderError
from pgi.images import pyramids, to_float, to_uint8
from pgi.inference import PyramidInpainter, load_checkpoint
from pgi.inference.pyramid_inpainter import extra_levels
from pgi.models import PyramidGenerator
from pgi.models.refine import RefineNetwork
from pgi.rules import mask_warning
from pgi.training import assembly
from pgi.training.run_folder import Checkpoint, RunFolder
from tests.tiny_run import CONFIG, MODEL, write_run


@pytest.fixture(scope="module")
def inpainter() -> PyramidInpainter:
    return PyramidInpainter(assembly.make_model(CONFIG))


def example(height: int = 48, width: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(seed).integers(0, 256, [height, width, 3], np.uint8)
    mask = np.zeros([height, width], bool)
    mask[height // 4 : height // 2 + 1, width // 3 : width // 2 + 1] = True
    mask[-1, -1] = False
    return image, mask


@pytest.mark.parametrize(
    ("height", "width"), [(48, 64), (2, 1), (1, 2), (5, 3), (33, 65), (16, 17), (200, 7)]
)
def test_any_size_comes_back_with_only_its_hole_filled(
    inpainter: PyramidInpainter, height: int, width: int
) -> None:
    image, mask = example(height, width)
    result = inpainter(image, mask)
    assert result.shape == image.shape and result.dtype == np.uint8
    np.testing.assert_array_equal(result[~mask], image[~mask])
    assert (result[mask] != image[mask]).any()


@pytest.mark.parametrize("hidden", [0, 255])
def test_what_lies_under_the_mask_changes_nothing(inpainter: PyramidInpainter, hidden: int) -> None:
    image, mask = example(33, 50)
    other = image.copy()
    other[mask] = hidden
    np.testing.assert_array_equal(inpainter(other, mask), inpainter(image, mask))


def whole(inpainter: PyramidInpainter, image: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
    """The levels' completed images, computed everywhere, and the highest level's raw one."""
    levels = len(inpainter.model.levels)
    multiple = 8 * 2 ** (levels - 1)
    sides = [(0, -side % multiple) for side in mask.shape]
    pixels = np.pad(image, [*sides, (0, 0)], mode="reflect")
    hole = np.pad(mask, sides, mode="reflect").astype(np.float32)
    outputs = inpainter.model(pyramids(to_float(pixels[None]), hole[None, :, :, None], levels))
    images = [*(output.completed for output in outputs), outputs[-1].refined]
    sizes = [[-(-side // 2**k) for side in mask.shape] for k in (*reversed(range(levels)), 0)]
    return [to_uint8(x[0, :high, :wide]).numpy() for x, (high, wide) in zip(images, sizes)]


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal but for rounding: a graph rounds floats differently from eager ops."""
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == np.uint8
    assert abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(48, 64), (33, 51)])
def test_the_raw_result_is_the_models_before_known_pixels_are_restored(
    inpainter: PyramidInpainter, height: int, width: int
) -> None:
    image, mask = example(height, width)
    raw = inpainter.raw(image, mask)
    assert_close(raw, whole(inpainter, image, mask)[-1])
    assert (raw[~mask] != image[~mask]).any()
    with pytest.raises(RuleError, match=r"image must be uint8 .H, W, 3."):
        inpainter.raw(image[..., :2], mask)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (33, 51), (1, 2), (200, 7)])
def test_completed_levels_end_with_the_calls_result(
    inpainter: PyramidInpainter, height: int, width: int
) -> None:
    image, mask = example(height, width)
    lower, top = levels = inpainter.completed_levels(image, mask)
    np.testing.assert_array_equal(top, inpainter(image, mask))
    np.testing.assert_array_equal(top[~mask], image[~mask])
    assert lower.shape == (-(-height // 2), -(-width // 2), 3)
    for ours, theirs in zip(levels, whole(inpainter, image, mask)):
        assert_close(ours, theirs)
    with pytest.raises(RuleError, match=r"image must be uint8 .H, W, 3."):
        inpainter.completed_levels(image[..., :2], mask)


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["none", "feature_refine"])
def test_completed_levels_of_other_fusions_too(fusion: str) -> None:
    model = dataclasses.replace(MODEL, levels=(8, 16, 32), fusion=fusion)
    loss = dataclasses.replace(CONFIG.loss, level_weights=(10.0, 1.0, 1.0))
    inpainter = PyramidInpainter(
        assembly.make_model(dataclasses.replace(CONFIG, model=model, loss=loss))
    )
    image, mask = example(33, 51)
    levels = inpainter.completed_levels(image, mask)
    assert [x.shape[:2] for x in levels] == [(9, 13), (17, 26), (33, 51)]
    np.testing.assert_array_equal(levels[-1], inpainter(image, mask))
    for ours, theirs in zip(levels, whole(inpainter, image, mask)):
        assert_close(ours, theirs)


def test_completed_levels_without_a_hole_are_the_images_pyramid(
    inpainter: PyramidInpainter,
) -> None:
    image, mask = example()
    lower, top = inpainter.completed_levels(image, np.zeros_like(mask))
    np.testing.assert_array_equal(top, image)
    mean = image.reshape(24, 2, 32, 2, 3).mean((1, 3))
    assert abs(lower - mean).max() <= 0.5 + 1e-3
    with pytest.raises(RuleError, match="less than all hole"):
        inpainter.completed_levels(image, np.ones_like(mask))


def test_other_sizes_are_mirrored_up_to_one(inpainter: PyramidInpainter) -> None:
    image, mask = example(35, 44)
    mirrored = np.pad(image, [(0, 13), (0, 4), (0, 0)], mode="reflect")
    holes = np.pad(mask, [(0, 13), (0, 4)], mode="reflect")
    expected = inpainter(mirrored, holes)[:35, :44]
    np.testing.assert_array_equal(inpainter(image, mask), expected)


def test_another_size_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network's Python code runs only while it is traced."""
    traced: collections.Counter[str] = collections.Counter()
    for name in ("convolution_features", "prepare_attention", "attend_region", "merge"):
        original = getattr(RefineNetwork, name)

        def counted(*arguments: Any, name: str = name, original: Any = original) -> Any:
            traced[name] += 1
            return original(*arguments)

        monkeypatch.setattr(RefineNetwork, name, counted)
    inpainter = PyramidInpainter(assembly.make_model(CONFIG))
    traced.clear()  # Building runs them too.
    for size in (20, 30, 40):
        inpainter(*example(size, size))
        inpainter.completed_levels(*example(size, size))
    # Attention has no weights: one graph serves both levels.
    assert traced == {
        "convolution_features": 2,
        "prepare_attention": 1,
        "attend_region": 1,
        "merge": 2,
    }


def test_masks_of_every_form_mean_the_same(inpainter: PyramidInpainter) -> None:
    image, mask = example()
    expected = inpainter(image, mask)
    grey = np.where(mask, np.uint8(128), np.uint8(127))
    for form in (grey, grey[:, :, None], mask[:, :, None], mask.tolist()):
        np.testing.assert_array_equal(inpainter(image, form), expected)


def test_a_batch_gives_what_its_images_give_one_by_one(inpainter: PyramidInpainter) -> None:
    (first, mask), (second, _) = example(seed=1), example(seed=2)
    masks = np.stack([mask, mask[::-1]])
    expected = np.stack([inpainter(first, masks[0]), inpainter(second, masks[1])])
    batch = np.stack([first, second])
    np.testing.assert_array_equal(inpainter(batch, masks), expected)
    np.testing.assert_array_equal(inpainter(batch, masks[..., None]), expected)
    shared = np.stack([inpainter(first, mask), inpainter(second, mask)])
    np.testing.assert_array_equal(inpainter(batch, mask), shared)


def test_a_mask_of_one_column_is_no_channel(inpainter: PyramidInpainter) -> None:
    batch = np.stack([example(20, 1, seed)[0] for seed in (3, 4)])
    masks = np.zeros([2, 20, 1], bool)
    masks[0, 3:9], masks[1, 11:] = True, True
    result = inpainter(batch, masks)
    np.testing.assert_array_equal(result[~masks], batch[~masks])
    np.testing.assert_array_equal(result[0], inpainter(batch[0], masks[0]))


def test_an_image_without_a_hole_comes_back_as_it_is(inpainter: PyramidInpainter) -> None:
    image, mask = example(31, 22)
    result = inpainter(image, np.zeros_like(mask))
    np.testing.assert_array_equal(result, image)
    result[:] = 0
    assert image.any()  # The result is the caller's own.


def test_warns_of_a_mask_that_may_be_inverted(inpainter: PyramidInpainter) -> None:
    image, mask = example(20, 20)
    mask[:] = True
    mask[:6] = False  # 70 %.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inpainter(image, mask)
        mask[5, 0] = True
        inpainter.completed_levels(image, mask)  # For programs, which use `mask_warning`.
    with pytest.warns(UserWarning, match="mask is 70% hole; is it inverted"):
        inpainter(image, mask)
    assert mask_warning(mask) == "mask is 70% hole; is it inverted? White, or True, is the hole"


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (np.zeros([4, 4, 3]), np.zeros([4, 4], bool), "image must be uint8, got 'float64'"),
        (np.zeros([4, 4], np.uint8), np.zeros([4, 4], bool), r"image must be \[H, W, 3\]"),
        (np.zeros([4, 0, 3], np.uint8), np.zeros([4, 0], bool), "not empty, got .4, 0, 3."),
        (np.zeros([4, 4, 3], np.uint8), np.zeros([4, 4]), "mask must be bool or uint8"),
        (np.zeros([4, 4, 3], np.uint8), np.zeros([3, 4], bool), r"image's size \(4, 4\), got \(3"),
        (np.zeros([2, 4, 4, 3], np.uint8), np.zeros([3, 4, 4], bool), r"got \(3, 4, 4\)"),
        (np.zeros([4, 4, 3], np.uint8), np.ones([4, 4], np.uint8), "got a maximum of 1"),
        (
            np.zeros([4, 4, 3], np.uint8),
            np.ones([4, 4], bool),
            "it is filled from the known pixels",
        ),
        (
            np.zeros([2, 4, 4, 3], np.uint8),
            np.stack([np.zeros([4, 4], bool), np.ones([4, 4], bool)]),
            "mask 1 must be less than all hole",
        ),
    ],
)
def test_refuses_what_it_cannot_fill(
    inpainter: PyramidInpainter, image: np.ndarray, mask: np.ndarray, message: str
) -> None:
    with pytest.raises(RuleError, match=message):
        inpainter(image, mask)


# Loading


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PyramidGenerator]:
    path = tmp_path_factory.mktemp("runs") / "tiny"
    return path, write_run(path)


def test_a_run_folder_is_loaded_with_its_newest_weights(run: tuple) -> None:
    folder, model = run
    image, mask = example()
    np.testing.assert_array_equal(
        pgi.load(str(folder), "paper")(image, mask), PyramidInpainter(model)(image, mask)
    )


@pytest.mark.parametrize(("name", "factor"), [("step-2", 1.0), ("step-1.index", 1 / 1.3)])
def test_a_checkpoint_is_loaded_by_its_name(run: tuple, name: str, factor: float) -> None:
    folder, model = run
    loaded = load_checkpoint(Checkpoint.find(folder / "checkpoints" / name)).model
    assert not loaded.discriminators
    for ours, theirs in zip(loaded.generator_variables, model.generator_variables):
        np.testing.assert_allclose(ours, theirs * factor, rtol=1e-6)


@pytest.mark.usefixtures("eagerly")
def test_a_model_computes_in_float32_under_any_policy(run: tuple) -> None:
    checkpoint, (image, mask) = Checkpoint.find(run[0]), example()
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        result = load_checkpoint(checkpoint)(image, mask)
        assert tf.keras.mixed_precision.global_policy().name == "mixed_bfloat16"
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    np.testing.assert_array_equal(result, load_checkpoint(checkpoint)(image, mask))


def test_loading_leaves_the_callers_random_numbers_alone(run: tuple) -> None:
    np.random.seed(3)
    expected = np.random.uniform()
    np.random.seed(3)
    pgi.load(run[0])
    assert np.random.uniform() == expected


def test_says_what_is_missing(tmp_path: Path, run: tuple) -> None:
    with pytest.raises(
        RunFolderError, match="nowhere is neither a run folder nor a checkpoint nor"
    ):
        pgi.load(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match="is not a run folder"):
        pgi.load(tmp_path)
    RunFolder(tmp_path / "begun").begin(CONFIG)
    with pytest.raises(RunFolderError, match="begun holds no checkpoint yet"):
        pgi.load(tmp_path / "begun")


def test_refuses_weights_of_another_network(tmp_path: Path, run: tuple) -> None:
    wider = dataclasses.replace(CONFIG, model=dataclasses.replace(MODEL, width=8))
    RunFolder(tmp_path / "wider").begin(wider)
    (tmp_path / "wider" / "checkpoints").symlink_to(run[0] / "checkpoints")
    with pytest.raises(RunFolderError, match="damaged or does not fit its run's config"):
        pgi.load(tmp_path / "wider")


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_a_damaged_checkpoint_is_one_message(tmp_path: Path, run: tuple, part: str) -> None:
    copy = shutil.copytree(run[0], tmp_path / "copy")
    file = copy / "checkpoints" / f"step-2.{part}"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(RunFolderError, match="step-2 is damaged"):
        pgi.load(copy / "checkpoints" / "step-2")


@pytest.mark.parametrize("hole", [False, True])
def test_a_single_pixel_is_known_or_an_error(inpainter: PyramidInpainter, hole: bool) -> None:
    image = np.full([1, 1, 3], 7, np.uint8)
    if hole:
        with pytest.raises(RuleError, match="less than all hole"):
            inpainter(image, np.array([[True]]))
    else:
        np.testing.assert_array_equal(inpainter(image, np.array([[False]])), image)


def largest_square(hole: np.ndarray) -> int:
    """Side of the largest odd square of hole, where beyond the border is hole too."""
    side = 0
    for row, column in np.argwhere(hole):
        reach = 0
        while hole[
            max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1
        ].all():
            side, reach = max(side, 2 * reach + 1), reach + 1
            if reach > max(hole.shape):
                return side
    return side


@pytest.mark.parametrize("seed", range(12))
def test_levels_are_added_until_the_hole_is_as_small_as_in_training(seed: int) -> None:
    """Sides of 8 and 16 in training, so squares of up to 4 at the lowest level."""
    model = assembly.make_model(CONFIG)
    assert tuple(model.levels) == (8, 16)
    rng = np.random.default_rng(seed)
    height, width = rng.integers(40, 300, 2)
    hole = np.zeros([height, width], bool)
    for _ in range(rng.integers(1, 3)):
        top, left = rng.integers(0, [height, width])
        hole[top : top + rng.integers(1, 150), left : left + rng.integers(1, 150)] = True
    expected, lowest = 0, hole
    for halvings in range(1, 7):
        padded = np.pad(lowest, [(0, lowest.shape[0] % 2), (0, lowest.shape[1] % 2)])
        lowest = padded.reshape(padded.shape[0] // 2, 2, -1, 2).any(axis=(1, 3))
        small = largest_square(lowest) <= 4
        if small or min(height, width) / 2 ** (halvings + 1) < 8:
            expected = halvings - 1
            break
    count = extra_levels(model, "auto")
    assert count is not None and int(count(hole)) == expected


@pytest.mark.parametrize(
    "options", [{"levels": (16,)}, {"fusion": "none"}, {"fusion": "feature_coarse"}]
)
def test_no_levels_are_added_where_none_was_trained_to_follow_another(options: dict) -> None:
    model = PyramidGenerator(**{"levels": (8, 16), "width": 4, **options})
    model.build_networks()
    image, mask = example(200, 168)
    paper, auto = (PyramidInpainter(model, depth=x) for x in ("paper", "auto"))
    assert len(auto.completed_levels(image, mask)) == len(model.levels)
    np.testing.assert_array_equal(auto(image, mask), paper(image, mask))


def test_deeper_pyramids_for_larger_holes_only(inpainter: PyramidInpainter) -> None:
    deep = PyramidInpainter(inpainter.model, depth="auto")
    image, mask = example(200, 168)
    assert len(deep.completed_levels(image, mask)) == 4
    result = deep(image, mask)
    np.testing.assert_array_equal(result, deep.completed_levels(image, mask)[-1])
    np.testing.assert_array_equal(result[~mask], image[~mask])
    assert (result != inpainter(image, mask)).any()
    small = np.zeros_like(mask)
    small[20:27, 20:27] = True
    np.testing.assert_array_equal(deep(image, small), inpainter(image, small))
    with pytest.raises(RuleError, match="depth must be one of paper, auto, got 'deep'"):
        PyramidInpainter(inpainter.model, depth="deep")
