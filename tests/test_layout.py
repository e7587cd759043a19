"""Who may import whom, read from the syntax trees: one way down, no cycles, no tests, no flags."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ("pgi", "data", "experiments")
# From the bottom up; rooms of one line may know each other.
FLOORS = (
    (
        "pgi.errors",
        "pgi.arrays",
        "pgi.opencv",
        "pgi.pillow",
        "pgi.quiet",
        "pgi.atomic",
        "pgi.folders",
        "pgi.provenance",
        "pgi.weights",
    ),
    ("pgi.rules",),
    ("pgi.config", "pgi.layers"),
    (
        "pgi.images",
        "pgi.masks",
        "pgi.losses",
        "pgi.metrics",
        "pgi.sheets",
        "pgi.files.kinds",
        "pgi.training.decoding",
        "pgi.training.lists",
        "pgi.training.reading",
        "pgi.training.metrics_file",
        "pgi.training.interruption",
        "pgi.training.lock",
        "pgi.training.cluster",
        "pgi.training.workers",
        "pgi.training.description",
    ),
    ("pgi.models",),
    ("pgi.deepfillv2", "pgi.training.summary", "pgi.training.pipeline", "pgi.training.run_folder"),
    ("pgi.training.weights_file",),
    ("pgi.training.stages", "pgi.training.checkpoints", "pgi.evaluation.progress"),
    ("pgi.evaluation.mask_sets",),
    ("pgi.inference", "pgi.load"),
    ("pgi.training",),
    ("pgi.evaluation",),
    ("pgi.files",),
    ("pgi.export",),
    ("pgi.deepfillv2_import",),
    ("pgi.demo",),
    ("pgi.__main__",),
    ("experiments.program",),
    ("data",),
    ("experiments",),
)


# The checks, on source text


def statements(source: str, with_type_checking: bool) -> Iterator[ast.AST]:
    """Every node of the syntax tree, those below `if TYPE_CHECKING:` only if asked for."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        yield node
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if typing_only and not with_type_checking:
            assert isinstance(node, ast.If)
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def imported(source: str, with_type_checking: bool = True) -> set[str]:
    """Dotted names that the source imports at any depth: "x" and "x.y" for `from x import y`."""
    names: set[str] = set()
    for node in statements(source, with_type_checking):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not followed here; import from the root"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def floor(module: str) -> int | None:
    for height, rooms in enumerate(FLOORS):
        if any(module == room or module.startswith(f"{room}.") for room in rooms):
            return height
    return None


def imports_from_above(module: str, source: str) -> list[str]:
    """What a module imports that has no place in FLOORS, or one above the module's own."""
    # The one function of `pgi` imports only when it is called.
    own = floor("pgi.load" if module == "pgi" else module)
    assert own is not None, f"{module} has no place in FLOORS"
    heights = {name: floor(name) for name in imported(source) if name.split(".")[0] in PRODUCT}
    return sorted(name for name, height in heights.items() if height is None or height > own)


def cycle(sources: Mapping[str, str]) -> list[str]:
    """Modules that import each other in a circle, imports inside functions included, or none.

    What is imported under `TYPE_CHECKING` does not count: it is not imported when the program runs.
    """

    def module_of(name: str) -> str | None:
        while name and name not in sources:
            name = name.rpartition(".")[0]
        return name or None

    graph = {
        module: {module_of(name) for name in imported(source, with_type_checking=False)} - {None}
        for module, source in sources.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def imports_tests(source: str) -> bool:
    return any(name.split(".")[0] == "tests" for name in imported(source))


def uses_flags(source: str) -> bool:
    """Whether absl's or ml_collections' flags are imported, or reached as an attribute."""
    reached = {
        ast.unparse(node)
        for node in statements(source, with_type_checking=True)
        if isinstance(node, ast.Attribute)
    }
    flags = ("absl.flags", "ml_collections.config_flags")
    return any(f"{name}.".startswith(f"{x}.") for name in imported(source) | reached for x in flags)


# The product


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {
    module_name(path): path.read_text()
    for room in PRODUCT
    for path in sorted((ROOT / room).rglob("*.py"))
}


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_imports_nothing_from_above(module: str) -> None:
    assert imports_from_above(module, SOURCES[module]) == []


def test_every_room_of_the_floors_exists() -> None:
    rooms = {room for rooms in FLOORS for room in rooms} - {"pgi.load"}
    assert rooms <= set(SOURCES)


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert cycle(SOURCES) == []


def test_no_product_file_imports_tests() -> None:
    assert [module for module, source in SOURCES.items() if imports_tests(source)] == []


def test_the_library_knows_no_flags() -> None:
    library = [module for module in SOURCES if module.split(".")[0] == "pgi"]
    assert len(library) > 50
    assert [module for module in library if uses_flags(SOURCES[module])] == []


def test_pictures_are_opened_where_formats_and_sizes_are_checked() -> None:
    opening = ("Image.open(", "imread(", "imdecode(", "decode_image(")
    found = {module for module, source in SOURCES.items() if any(x in source for x in opening)}
    in_graph = {"pgi.export.image_codec", "pgi.export.served_model"}  # TensorFlow's, checked there.
    after_opening = {"pgi.files.deep_pictures"}  # OpenCV, on what `pgi.files.opening` has checked.
    checked = {"pgi.files.opening", "pgi.training.decoding"}
    assert found - in_graph - after_opening == checked
    assert "with opened(" in SOURCES["pgi.files.deep_pictures"]


# The checks themselves, on violations made up for them


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pgi.training.loop", ["pgi.training.loop"]),
        ("from pgi import demo, rules", ["pgi.demo"]),
        ("def f():\n    from data import prepared", ["data.prepared"]),
        ("if TYPE_CHECKING:\n    from pgi.export import onnx", ["pgi.export.onnx"]),
        ("import pgi.no_such_room", ["pgi.no_such_room"]),
        ("import numpy\nfrom pgi.layers import resize", []),
    ],
)
def test_an_import_from_above_is_seen(source: str, found: list[str]) -> None:
    assert imports_from_above("pgi.models.pyramid", source) == found


@pytest.mark.parametrize(
    "back",
    [
        "import pgi.a",
        "from pgi import a",
        "from pgi.a import f",
        "def f():\n    from pgi.a import g",
        "try:\n    import pgi.a\nexcept ImportError:\n    pass",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import pgi.a",
        "import pgi.b",
    ],
)
def test_a_circle_is_seen(back: str) -> None:
    sources = {"pgi": "", "pgi.a": "from pgi.b import x", "pgi.b": "import pgi.c", "pgi.c": ""}
    assert cycle(sources) == []
    assert set(cycle({**sources, "pgi.c": back})) <= {"pgi.a", "pgi.b", "pgi.c"}
    assert cycle({**sources, "pgi.c": back})


@pytest.mark.parametrize("condition", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_an_import_for_types_alone_makes_no_circle(condition: str) -> None:
    sources = {"pgi.a": "import pgi.b", "pgi.b": f"if {condition}:\n    import pgi.a"}
    assert cycle(sources) == []


@pytest.mark.parametrize(
    "source", ["import tests.reference", "from tests import x", "def f():\n    import tests"]
)
def test_an_import_of_tests_is_seen(source: str) -> None:
    assert imports_tests(source)
    assert not imports_tests(source.replace("tests", "pgi.tests"))


@pytest.mark.parametrize(
    "source",
    [
        "from absl import flags",
        "from absl import app, flags",
        "from absl import (\n    app,\n    flags as options,\n)",
        "import absl.flags",
        "from absl.flags import DEFINE_string",
        "import absl\nabsl.flags.DEFINE_string('run', None, '')",
        "import ml_collections.config_flags",
        "from ml_collections import config_flags",
        "from ml_collections.config_flags import config_flags",
        "import ml_collections\nml_collections.config_flags.DEFINE_config_file('config')",
        "def f():\n    from absl import flags",
    ],
)
def test_flags_are_seen(source: str) -> None:
    assert uses_flags(source)


@pytest.mark.parametrize(
    "source",
    ["from absl import logging", "import ml_collections", '"""absl.flags"""', "# import flags"],
)
def test_flags_that_are_only_mentioned_pass(source: str) -> None:
    assert not uses_flags(source)
