"""Initial weights from another run, from a DeepFillv2 checkpoint, or from the level below."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from pgi import deepfillv2
from pgi.errors import RuleError
from pgi.models import PyramidGenerator, SubGenerator
from pgi.training import checkpoints, weights_file

_NO_DISCRIMINATOR = "its discriminator keeps its initial weights"


def load(model: PyramidGenerator, source: str) -> str:
    """Loads the weights of another training into the levels that it has.

    Args:
        model: built.
        source: a model as for `pgi.training.weights_file.find`: a level gets the sub-generator
            (its moving average if there is one) and the discriminator of the level with the same
            side in pixels. Or a TensorFlow 1 checkpoint, named as for
            `pgi.deepfillv2.split_source`: every level gets DeepFillv2's generator, converted from
            BGR to RGB unless it is RGB, without dilated layers that the level lacks, and its
            discriminator if the checkpoint has one of that width.

    Returns:
        What was loaded and what was not, one line per level.

    Raises:
        RunFolderError: there is no such run or checkpoint.
        RuleError: no level has the same side, or its weights have another shape.
    """
    if named := deepfillv2.split_source(source):
        lines = _load_deepfillv2(model, *named)
    else:
        lines = _load_run(model, source)
    for average, network in zip(model.averaged_sub_generators, model.sub_generators):
        average.set_weights(network.get_weights())
    return "\n".join([f"Initial weights from {source}:", *(f"  {line}" for line in lines)])


def start_from_below(model: PyramidGenerator, level: int) -> None:
    """Copies the level below's weights into a level and makes its coarse network return 0.

    With a coarse result of 0, the sum of equation 3 is the upsampled result of the level below.
    SinGAN also starts each scale from the weights of the previous one.

    Args:
        model: built, with fusion "image".
        level: at least 1.
    """
    upper = model.sub_generators[level]
    _copy(model.sub_generators[level - 1], upper)
    assert upper.coarse is not None  # By the config's rules.
    last = upper.coarse.decoder.conv17
    for variable in (last.kernel, last.bias):
        variable.assign(tf.zeros_like(variable))
    model.discriminators[level].set_weights(model.discriminators[level - 1].get_weights())


def _copy(source: SubGenerator, target: SubGenerator) -> None:
    """Copies the weights of all layers that both networks have; ValueError if a shape differs."""
    theirs, ours = map(deepfillv2.generator_variables, (source, target))
    for name in theirs.keys() & ours.keys():
        ours[name].assign(theirs[name])


def _unshared_layers(theirs: Iterable[str], ours: Iterable[str]) -> str:
    """Report of the layers that only one of two sub-generators has, by their variables' names."""
    their_layers, our_layers = ({name.split("/")[1] for name in part} for part in (theirs, ours))
    report = ""
    if left_out := sorted(their_layers - our_layers):
        report += f"; left out: {', '.join(left_out)}"
    if missing := sorted(our_layers - their_layers):
        report += f"; missing in the source: {', '.join(missing)}"
    return report


def _load_run(model: PyramidGenerator, source: str) -> list[str]:
    checkpoint = weights_file.find(source)
    # Imported weights and weights files may come without a discriminator.
    judged = "discriminators" in checkpoints.parts_of(checkpoint)
    theirs, averaged = checkpoints.load_model(checkpoint, discriminators=judged)
    if not set(model.levels) & set(theirs.levels):
        raise RuleError(
            f"train.initial_weights must have a level of {list(model.levels)} px, "
            f"got {source} of {list(theirs.levels)}"
        )
    lines = []
    for level, side in enumerate(model.levels):
        name = f"level {level} ({side} px)"
        if side not in theirs.levels:
            lines.append(f"{name}: missing in the source; keeps its initial weights")
            continue
        number = theirs.levels.index(side)
        networks = (theirs.sub_generators[number], model.sub_generators[level])
        try:
            _copy(*networks)
            if judged:
                model.discriminators[level].set_weights(theirs.discriminators[number].get_weights())
        except ValueError as error:
            raise RuleError(
                f"train.initial_weights must have networks like ours, got {checkpoint}, whose "
                f"{name} does not fit: {error}"
            ) from error
        which = "moving average" if averaged else "weights"
        rest = _unshared_layers(*map(deepfillv2.generator_variables, networks))
        judge = "discriminator" if judged else _NO_DISCRIMINATOR
        lines.append(f"{name}: {which} of its sub-generator; {judge}{rest}")
    return lines


def _load_deepfillv2(model: PyramidGenerator, place: str, channel_order: str) -> list[str]:
    path = str(deepfillv2.find_checkpoint(place))
    names = dict(tf.train.list_variables(path))
    lines = []
    for level, side in enumerate(model.levels):
        generator, discriminator = model.sub_generators[level], model.discriminators[level]
        try:
            deepfillv2.assign_generator(generator, path, channel_order=channel_order)
        except ValueError as error:
            raise RuleError(
                f"train.initial_weights must fit level {level} ({side} px): {error}"
            ) from error
        theirs = [name for name in names if name.startswith("inpaint_net/")]
        rest = _unshared_layers(theirs, deepfillv2.generator_variables(generator))
        wanted = deepfillv2.discriminator_variables(discriminator)
        fits = all(names.get(name) == list(v.shape) for name, v in wanted.items())
        if fits:
            deepfillv2.assign_discriminator(discriminator, path, channel_order=channel_order)
        judge = "discriminator" if fits else _NO_DISCRIMINATOR
        lines.append(f"level {level} ({side} px): generator; {judge}{rest}")
    return lines
