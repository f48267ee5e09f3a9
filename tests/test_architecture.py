"""The rules of which part of the package may import which, read from the import statements."""

import ast
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in [ROOT / "app.py", *sorted((ROOT / "ovseg_demo").rglob("*.py"))]
}
NOT_PRODUCT = ("ovseg_demo.training", "ovseg_demo.evaluation", "ovseg_demo.sticker_world")
COMMANDS = {
    ("ovseg_demo.cli.main", "ovseg_demo.training.command"),
    ("ovseg_demo.cli.main", "ovseg_demo.evaluation.command"),
}
"""Modules that the command line imports when their command is called."""


def belongs(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def targets(node: ast.AST, module: str) -> list[str]:
    """The modules of this project that an import statement loads; a package's ``from`` may name modules."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{module} has a relative import, which these rules do not read"
        inner = [f"{node.module}.{alias.name}" for alias in node.names]
        names = [name if name in MODULES else node.module for name in inner]
    else:
        names = []
    return [name for name in names if name in MODULES]


def imports(module: str) -> set[str]:
    """All modules of this project that a module names, in statements anywhere or in a string to import."""
    nodes = list(ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))))
    strings = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    found = {name for node in nodes for name in targets(node, module)} | (strings & set(MODULES))
    return found - {module, "app", "ovseg_demo"}


def imports_at_module_level(module: str) -> set[str]:
    """The modules that are imported with a module: by statements outside functions and type checks."""
    found: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(MODULES[module].read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _checks_types(node):
            continue
        found.update(targets(node, module))
        nodes.extend(ast.iter_child_nodes(node))
    return found - {module}


def _checks_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


ALL_IMPORTS = {module: imports(module) for module in MODULES}


@pytest.mark.parametrize("module", [name for name in MODULES if belongs(name, NOT_PRODUCT[2:])])
def test_sticker_world_imports_nothing_of_ours(module):
    assert {name for name in ALL_IMPORTS[module] if not belongs(name, NOT_PRODUCT[2:])} == set()


def test_the_product_imports_neither_training_nor_evaluation_nor_sticker_world():
    found = {
        (module, name)
        for module in MODULES
        if not belongs(module, NOT_PRODUCT)
        for name in ALL_IMPORTS[module]
        if belongs(name, NOT_PRODUCT)
    }
    assert found == COMMANDS


def test_modules_do_not_import_each_other_in_a_circle():
    graph = {module: imports_at_module_level(module) for module in MODULES}
    # A package's ``__init__`` runs first, so whoever imports a module imports its packages too.
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_rules_see_every_kind_of_import():
    """On statements whose targets are known."""
    known = defaultdict(set)
    for text in ("import ovseg_demo.errors", "from ovseg_demo.errors import OvsegError",
                 "from ovseg_demo import errors"):  # fmt: skip
        known[text].update(targets(ast.parse(text).body[0], "x"))
    assert set(map(frozenset, known.values())) == {frozenset({"ovseg_demo.errors"})}
