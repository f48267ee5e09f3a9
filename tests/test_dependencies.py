"""What is imported is declared, what is declared is explained, and what is pinned may be installed."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
# An error names the remedy.
OPTIONAL = {"detectron2", "mcp", "pyarrow", "ray", "spaces", "tokenizers", "transformers"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {
    name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()
}


def lines_of(name: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def read_requirements(name: str) -> list[Requirement]:
    return [Requirement(line) for line in lines_of(name) if not line.startswith("-")]


PROGRAM = read_requirements("requirements.txt")
ALL = PROGRAM + read_requirements("requirements-dev.txt")
PINS = {canonicalize_name(pin.name): pin for pin in read_requirements("constraints.txt")}


def as_strings(requirements: list[Requirement]) -> set[str]:
    return {str(requirement) for requirement in requirements}


def test_a_space_needs_no_second_file():
    """A Space mounts requirements.txt alone while it is built; "-c constraints.txt" in it would fail."""
    assert [line for line in lines_of("requirements.txt") if line.startswith("-")] == []
    assert all(requirement.url is None for requirement in PROGRAM)


def test_pip_resolves_the_list_alone(tmp_path):
    """In an empty folder, without an index: what is installed satisfies all of it."""
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "-r", "requirements.txt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("already satisfied") >= len(PROGRAM)


def test_the_package_and_the_lists_of_requirements_agree():
    assert as_strings(PROGRAM) == {str(Requirement(line)) for line in PROJECT["dependencies"]}
    dev = {line for line in as_strings(EXTRAS["dev"]) if not line.startswith(PROJECT["name"])}
    brought_along = {line for name in ("geotiff", "siglip", "train") for line in as_strings(EXTRAS[name])}
    assert as_strings(read_requirements("requirements-dev.txt")) == dev | brought_along
    assert as_strings(read_requirements("requirements-mcp.txt")) == as_strings(EXTRAS["mcp"])


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - {"dev"}))
def test_each_extra_is_explained(extra):
    table = (ROOT / "docs" / "reference" / "dependencies.md").read_text(encoding="utf-8")
    assert f"| extra `{extra}`: " in table


def planned(*targets: str) -> str:
    return subprocess.run(
        ["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_installs_the_chosen_build_of_torch_first(tmp_path):
    before, _, after = planned("demo", f"VENV={tmp_path}", "TORCH=cpu").partition("torch torchvision\n")
    assert "--index-url https://download.pytorch.org/whl/cpu " in before
    assert "-r requirements-dev.txt -c constraints.txt" in after
    assert "download.pytorch.org" not in planned("demo", f"VENV={tmp_path}")


def test_the_tested_versions_are_given_on_the_command_line():
    for name in ("Makefile", "Dockerfile"):
        for command in re.findall(r"pip install.*-r .*", (ROOT / name).read_text(encoding="utf-8")):
            assert "-c constraints.txt" in command, name


@pytest.mark.parametrize("requirement", ALL, ids=str)
def test_the_pinned_version_is_allowed(requirement):
    pinned = str(PINS[canonicalize_name(requirement.name)].specifier).removeprefix("==")
    assert requirement.specifier.contains(pinned)


@pytest.mark.parametrize("requirement", ALL, ids=lambda requirement: requirement.name)
def test_each_package_has_its_reason_and_licence(requirement):
    table = (ROOT / "docs" / "reference" / "dependencies.md").read_text()
    assert re.search(
        rf"^\| {re.escape(requirement.name)} \| [^|]{{10,}} \| [^|]{{3,}} \|$", table, re.MULTILINE
    )


@pytest.mark.parametrize(
    ("folder", "requirements"),
    [
        ("ovseg_demo", [*PROGRAM, *EXTRAS["train"]]),
        ("tests", [*ALL, Requirement("packaging"), Requirement("pyyaml")]),
    ],
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
