"""Files that hold DeepFillv2's variables: TensorFlow 1 checkpoints and frozen graphs."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from pgi.arrays import FloatArray
from pgi.errors import RunFolderError
from pgi.rules import check
from pgi.training.run_folder import Checkpoint

# Order of the colours of a checkpoint that is named as PREFIX:PATH.
_CHANNEL_ORDERS = {"deepfillv2": "bgr", "deepfillv2_rgb": "rgb"}
# A generator's weights; group 1 is what all names begin with.
_GENERATOR = re.compile(r"((?:.*/)?)inpaint_net/.*(?:kernel|bias)")
# A frozen graph has other constants too, such as dilation rates.
_WEIGHTS = ("kernel", "bias", "u")


@dataclass(frozen=True)
class Variables:
    """Arrays by their names, read one by one.

    Attributes:
        origin: what they are read from, for messages.
        shapes: of each by name.
        read: returns an array by name.
        files: that they are read from.
    """

    origin: str
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], FloatArray]
    files: tuple[Path, ...] = ()

    @classmethod
    def of(cls, source: Source) -> Variables:
        """The variables of arrays or of a TensorFlow 1 checkpoint.

        Raises:
            RunFolderError: the checkpoint is damaged; `read` raises it too.
        """
        if isinstance(source, Variables):
            return source
        if isinstance(source, Mapping):
            shapes = {name: np.shape(array) for name, array in source.items()}
            return cls("variables", shapes, source.__getitem__)
        checkpoint = source if isinstance(source, Checkpoint) else Checkpoint(Path(source))
        with _naming(f"{checkpoint} is damaged"):
            reader = tf.train.load_checkpoint(str(checkpoint))
            found = reader.get_variable_to_shape_map()

        def read(name: str) -> FloatArray:
            with _naming(f"{checkpoint} is damaged"):
                return np.asarray(reader.get_tensor(name))

        shapes = {name: tuple(shape) for name, shape in found.items()}
        files = (x for x in checkpoint.files if x.suffix.startswith((".index", ".data-")))
        return cls(str(checkpoint), shapes, read, tuple(files))

    @classmethod
    def of_frozen_graph(cls, path: Path) -> Variables:
        """The variables that were frozen into constants of their names, of a binary GraphDef.

        Raises:
            RunFolderError: it is no frozen graph; `read` raises it too.
        """
        with _naming(f"{path} is not a frozen graph"):
            graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
        tensors = {
            node.name: node.attr["value"].tensor
            for node in graph.node
            if node.op == "Const" and node.name.rpartition("/")[2] in _WEIGHTS
        }
        if not tensors:
            raise RunFolderError(
                f"{path} is not a frozen graph: it has no constant that is named as a weight, such "
                "as inpaint_net/conv1/kernel; name a checkpoint, as snap-0 (of a SavedModel: "
                "variables/variables)"
            )

        def read(name: str) -> FloatArray:
            with _naming(f"{path} is damaged"):
                return np.asarray(tf.make_ndarray(tensors[name]))

        shapes = {
            name: tuple(size.size for size in tensor.tensor_shape.dim)
            for name, tensor in tensors.items()
        }
        return cls(str(path), shapes, read, (path,))

    def without_scope(self) -> Variables:
        """The same, without a scope around the generator, such as "model/" or "import/".

        Variables outside the scope keep their names. Of several generators it is the one with the
        most weights, or else the one with the shortest scope.
        """
        scopes = Counter(found[1] for x in self.shapes if (found := _GENERATOR.fullmatch(x)))
        scope = min(scopes, key=lambda x: (-scopes[x], len(x), x), default="")
        full = {name: name for name in self.shapes}
        full |= {name[len(scope) :]: name for name in self.shapes if name.startswith(scope)}
        if scope:
            full = {name: x for name, x in full.items() if not name.startswith(scope)}
        shapes = {name: self.shapes[x] for name, x in full.items()}
        return Variables(self.origin, shapes, lambda name: self.read(full[name]), self.files)


# DeepFillv2's name -> array, or a TensorFlow 1 checkpoint or its path.
Source = Variables | Mapping[str, FloatArray] | Checkpoint | str | Path


def split_source(source: str) -> tuple[str, str] | None:
    """Path and `channel_order` of a checkpoint's name; None if it does not name one.

    Args:
        source: "deepfillv2:PATH" for weights that were trained on BGR images, as DeepFillv2's own
            program trains them, or "deepfillv2_rgb:PATH".

    Raises:
        RuleError: there is no path behind the colon.
    """
    prefix, colon, path = source.partition(":")
    if not colon or prefix not in _CHANNEL_ORDERS:
        return None
    check(f"{prefix}:", "followed by a path", bool(path), source)
    return path, _CHANNEL_ORDERS[prefix]


def find_variables(path: str | Path) -> Variables:
    """The variables of a frozen graph, `*.pb`, or of a checkpoint, see `find_checkpoint`.

    A scope around the generator is removed from the names.

    Raises:
        RunFolderError: there is none, or it is damaged.
    """
    path = Path(path).expanduser()
    frozen = path.suffix == ".pb" and not path.is_dir()
    found = Variables.of_frozen_graph(path) if frozen else Variables.of(find_checkpoint(path))
    return found.without_scope()


def find_checkpoint(path: str | Path) -> Checkpoint:
    """The TensorFlow 1 checkpoint that a path names.

    Args:
        path: what the names of its files begin with, such as `release/snap-0`; one of its files; or
            a folder, for the newest by TensorFlow's own note or else the only one.

    Raises:
        RunFolderError: there is none, or a folder holds several and no note.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        newest = tf.train.latest_checkpoint(str(path))
        # A note from elsewhere may name any place.
        here = newest and os.path.samefile(Path(newest).parent, path)
        prefixes = [newest] if here else sorted(str(x)[:-6] for x in path.glob("*.index"))
        if len(prefixes) != 1:
            names = ", ".join(Path(x).name for x in prefixes) or "none"
            raise RunFolderError(
                f"{path} must hold one TensorFlow checkpoint (snap-0.index and snap-0.data-*), got "
                f"{names}; name one, as {path / 'snap-0'}"
            )
        return Checkpoint(Path(prefixes[0]))
    prefix = path.with_name(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name))
    if not prefix.with_name(f"{prefix.name}.index").is_file():
        raise RunFolderError(f"{prefix} is not a TensorFlow checkpoint: {prefix}.index is missing")
    return Checkpoint(prefix)


@contextlib.contextmanager
def _naming(problem: str) -> Iterator[None]:
    """Turns every exception into a RunFolderError: there is another for each kind of damage."""
    try:
        yield
    except Exception as error:
        raise RunFolderError(f"{problem}: {' '.join(str(error).split())}") from error
