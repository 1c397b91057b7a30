"""Includes and imports point one way, and files stay small: csrc <- src <- python (scorecard 23)."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = CHECKOUT / "python" / "fastroute"

# C++: for each area of src/, the areas whose headers it may include. Each may include csrc/.
SRC = {
    "runtime": set(),
    "text": {"runtime"},
    "elo": set(),
    "encoder": {"runtime", "text"},
    "routing": {"elo", "encoder", "runtime", "text"},
    "bindings": {"elo", "encoder", "routing", "runtime", "text"},
}
# Kernels are C with templates: nothing here has inline code that a linker could share between instruction sets.
CSRC_HEADERS = {"immintrin.h", "math.h", "stddef.h", "stdint.h", "string.h"}

# Python: for each part of the package, what it may import when it is loaded. "fastroute" is the package itself.
AT_LOADING = {
    "_core": set(),
    "errors": set(),
    "messages": {"errors"},
    "model_names": {"errors"},
    "builtin": set(),
    "artifact": {"errors"},
    "policies": {"errors"},
    "info": {"_core", "builtin", "errors"},
    "onnx": {"_core", "artifact", "errors"},
    "endpoints": {"errors"},
    "encoders": {"_core", "artifact", "builtin", "endpoints", "errors", "onnx"},
    "routers": {"_core", "artifact", "builtin", "encoders", "endpoints", "errors", "onnx", "policies"},
    "loading": {"artifact", "builtin", "errors"},
    "scoring": {"errors", "loading"},
    "batch": {"_core", "artifact", "errors", "messages", "policies"},
    "integrations": {"errors"},
    "tables": {"errors"},
    "training": {"_core", "artifact", "encoders", "errors", "exporting", "onnx", "tables"},
    "exporting": {"artifact", "builtin", "errors", "onnx", "policies", "routers"},
    # exporting for its reader of folders, onnx for its reader of files, training for battles, ratings and tiers
    "importing": {
        "artifact",
        "builtin",
        "encoders",
        "errors",
        "exporting",
        "onnx",
        "policies",
        "routers",
        "tables",
        "training",
    },
    "augmentation": {"artifact", "batch", "endpoints", "errors"},
    "calibration": {"batch", "errors", "policies", "routers", "tables"},  # routers for the bounds of a cascade
    "contamination": {"artifact", "batch", "encoders", "errors"},
    "leaderboard": {"errors", "tables", "training"},  # training for its tables of battles
    "evaluation": {"builtin", "errors", "routers", "tables"},
    # evaluation for the prices of answers
    "overhead": {"_core", "errors", "evaluation"},
    "reporting": {"artifact", "batch", "errors", "messages", "policies"},
    "client": {"endpoints", "errors", "loading", "messages", "model_names", "policies"},
    "compat": {"client", "errors", "model_names"},
    "serving": {"endpoints", "errors", "loading", "messages", "model_names", "policies"},
    "cli": {"errors"},
    "fastroute": {"errors", "info", "loading", "policies", "scoring"},
    "__main__": {"cli"},
}
# What it may import besides, once a function is called or for its types.
LATER = {
    "fastroute": {"client"},
    "client": {"routers"},  # for a type
    "compat": {"routers"},  # for a type
    "info": {"fastroute"},
    "loading": {"encoders", "routers"},
    "scoring": {"batch", "policies"},
    "batch": {"fastroute"},  # for its version
    # what travels to workers is the name of a router, which each loads, and batch for a type; chats are read, and
    # scored in place where the encoder is static
    "integrations": {"batch", "builtin", "encoders", "fastroute", "loading", "messages", "policies", "routers"},
    "routers": {"calibration", "loading", "training"},  # a cascade is calibrated, and holds routers of any kind
    "evaluation": {"training"},
    "reporting": {"evaluation"},  # for the paper's prices
    "exporting": {"fastroute"},  # for its version
    "importing": {"fastroute"},  # for its version
    "overhead": {"builtin", "encoders", "routers"},
    # for figures on held-out prompts, and for the router that a fine-tuned encoder is made into
    "training": {"evaluation", "routers"},
    "serving": {"encoders", "routers"},  # to see which routers run in the core
    "cli": {
        "artifact",
        "augmentation",
        "batch",
        "builtin",
        "calibration",
        "contamination",
        "encoders",
        "evaluation",
        "exporting",
        "fastroute",
        "importing",
        "leaderboard",
        "loading",
        "overhead",
        "reporting",
        "routers",
        "serving",
        "tables",
        "training",
    },
}

SOURCES = sorted(
    path
    for folder in ("csrc", "src", "python", "tests", "benchmarks")
    for path in (CHECKOUT / folder).rglob("*")
    if path.suffix in (".py", ".pyi", ".h", ".cpp")
)
GENERATED = {CHECKOUT / "src" / "text" / "unicode_tables.cpp"}
HARD_CAP = 800  # lines


def named(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def includes(path: Path) -> list[tuple[str, str]]:
    """Kind of bracket and name of each include."""
    return re.findall(r'^\s*#\s*include\s*([<"])([^">]+)', path.read_text(), re.MULTILINE)


CSRC_FILES = sorted((CHECKOUT / "csrc").iterdir())
SRC_FILES = sorted(path for path in (CHECKOUT / "src").rglob("*") if path.suffix in (".h", ".cpp"))


@pytest.mark.parametrize("path", CSRC_FILES, ids=named)
def test_kernels_include_no_library_and_nothing_above(path: Path) -> None:
    own = {file.name for file in CSRC_FILES}
    assert [(kind, name) for kind, name in includes(path) if name not in (own if kind == '"' else CSRC_HEADERS)] == []


@pytest.mark.parametrize("path", SRC_FILES, ids=named)
def test_engine_includes_point_down(path: Path) -> None:
    area = path.parent.name
    kernels = {file.name for file in CSRC_FILES}
    for kind, name in includes(path):
        if kind == '"':
            assert name in kernels or name.split("/")[0] in {area} | SRC[area], name
            assert name in kernels or (CHECKOUT / "src" / name).is_file(), name


@pytest.mark.parametrize("path", CSRC_FILES + SRC_FILES, ids=named)
def test_only_the_bindings_know_of_python(path: Path) -> None:
    if path.parent.name != "bindings":
        assert [name for _, name in includes(path) if re.search(r"pybind11|Python\.h|numpy", name)] == []


def test_every_area_of_the_engine_is_listed() -> None:
    assert {path.name for path in (CHECKOUT / "src").iterdir() if path.is_dir()} == set(SRC)


def test_builds_for_any_processor() -> None:
    build = (CHECKOUT / "CMakeLists.txt").read_text() + "".join(path.read_text() for path in CSRC_FILES + SRC_FILES)
    for banned in (
        "-march=",
        "-mtune=native",
        "-ffast-math",
        "-Ofast",
        "target_clones",
        "-fopenmp",
        "find_package(OpenMP",
    ):
        assert banned not in build
    assert "-ffp-contract=off" in build


def part_of(module: str) -> str:
    """Part of the package that a dotted name is in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


PARTS = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
PARTS = PARTS - {"__init__"} | {"_core", "fastroute"}


def imported(node: ast.AST) -> list[str]:
    """Dotted names that an import statement loads."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        assert node.module is not None
        if node.module == "fastroute":  # a part of the package, or a name that it exports
            return [f"fastroute.{a.name}" if a.name in PARTS else "fastroute" for a in node.names]
        return [node.module]
    return []


def loaded_with(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from loaded_with(node)


# Loops that are nothing without the extra; those who need them import them late.
COMPILED_BY_NUMBA = {"training/mf_loops.py", "evaluation/bootstrap.py"}
# Classes that are nothing without their bases; the functions that make their objects import them late.
BUILT_ON = {
    "integrations/langchain_model.py": {"langchain_core", "pydantic"},
    "integrations/llama_index_selector.py": {"llama_index"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def own_part(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "fastroute" if parts == ("__init__",) else parts[0]


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_point_down(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    part = own_part(path)
    assert part in AT_LOADING, f"list the new part {part!r} in this file"

    def reached(nodes: Iterator[ast.AST]) -> set[str]:
        names = (name for node in nodes for name in imported(node))
        return {part_of(name) for name in names if name.split(".")[0] == "fastroute"} - {part}

    assert reached(loaded_with(tree)) <= AT_LOADING[part]
    assert reached(ast.walk(tree)) <= AT_LOADING[part] | LATER.get(part, set())


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_extras_are_imported_where_they_are_needed(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    roots = {name.split(".")[0] for node in loaded_with(tree) for name in imported(node)}
    name = path.relative_to(PACKAGE).as_posix()
    own = {"numba"} if name in COMPILED_BY_NUMBA else BUILT_ON.get(name, set())
    assert roots - sys.stdlib_module_names <= {"fastroute", "numpy"} | own


def test_the_graph_of_parts_has_no_cycle() -> None:
    below: dict[str, set[str]] = {}

    def all_below(part: str, above: tuple[str, ...]) -> set[str]:
        assert part not in above, f"{' -> '.join([*above, part])}"
        if part not in below:
            direct = AT_LOADING[part]
            below[part] = direct.union(*(all_below(other, (*above, part)) for other in direct))
        return below[part]

    for part in AT_LOADING:
        all_below(part, ())


def test_files_are_small() -> None:
    lines = {named(path): path.read_text(encoding="utf-8").count("\n") for path in SOURCES if path not in GENERATED}
    assert len(lines) > 100
    assert {name: count for name, count in lines.items() if count > HARD_CAP} == {}


def test_files_are_named_for_what_they_hold() -> None:
    nothing = {"util", "utils", "common", "misc", "helper", "helpers"}
    assert [named(path) for path in SOURCES if nothing & set(re.split(r"[_/.]", named(path)))] == []
