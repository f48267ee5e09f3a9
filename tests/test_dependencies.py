"""What is imported is declared, what is declared is explained, and what is pinned may be installed."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OPTIONAL = {"detectron2", "mcp", "spaces"}  # imported where they are, and nowhere needed


def read_requirements(name: str) -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


PROGRAM = read_requirements("requirements.txt")
ALL = PROGRAM + read_requirements("requirements-dev.txt")
PINS = {canonicalize_name(pin.name): pin for pin in read_requirements("constraints.txt")}


@pytest.mark.parametrize("requirement", ALL, ids=str)
def test_the_pinned_version_is_allowed(requirement):
    pinned = str(PINS[canonicalize_name(requirement.name)].specifier).removeprefix("==")
    assert requirement.specifier.contains(pinned)


@pytest.mark.parametrize("requirement", ALL, ids=lambda requirement: requirement.name)
def test_each_package_has_its_reason_and_licence(requirement):
    table = (ROOT / "docs" / "dependencies.md").read_text()
    assert re.search(
        rf"^\| {re.escape(requirement.name)} \| [^|]{{10,}} \| [^|]{{3,}} \|$", table, re.MULTILINE
    )


@pytest.mark.parametrize(
    ("folder", "requirements"),
    [("ovseg_demo", PROGRAM), ("tests", [*ALL, Requirement("packaging"), Requirement("pyyaml")])],
)
def test_whatever_is_imported_is_required(folder, requirements):
    """Pytest brings packaging along; PyYAML is needed only with detectron2, which brings it."""
    declared = {canonicalize_name(requirement.name) for requirement in requirements}
    imported = {module for file in (ROOT / folder).rglob("*.py") for module in top_level_imports(file)}
    foreign = imported - set(sys.stdlib_module_names) - OPTIONAL - {"ovseg_demo", "tests", "benchmarks"}
    distributions = packages_distributions()
    for module in foreign:
        names = {canonicalize_name(name) for name in distributions[module]}
        assert names & declared, f"{module} is imported but not required"


def top_level_imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found
