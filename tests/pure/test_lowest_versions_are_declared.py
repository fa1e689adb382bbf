"""Each direct dependency has one lower bound, so that `make test-lowest` can hold it there."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from release import lowest

ROOT = Path(__file__).resolve().parents[2]


def declared_project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_constraints_name_each_direct_dependency_at_its_bound():
    project = declared_project()
    held = {Requirement(line).name: Requirement(line) for line in lowest.constraints(project)}
    groups = [project["dependencies"], *(project["optional-dependencies"][name] for name in ("server", "llamacpp"))]
    for requirement in (Requirement(each) for group in groups for each in group):
        bound = next(each.version for each in requirement.specifier if each.operator == ">=")
        assert str(held[requirement.name].specifier) == f"=={bound}"
        assert held[requirement.name].marker == requirement.marker


def test_development_tools_are_not_held():
    project = declared_project()
    held = {Requirement(line).name for line in lowest.constraints(project)}
    assert not held & {"pytest", "mypy", "ruff", "schemathesis", "lollms-suite"}


@pytest.mark.parametrize("requirement", ["rich", "rich<20", "rich==15", "rich>=13,>=14"])
def test_a_dependency_without_one_lower_bound_is_refused(requirement):
    with pytest.raises(ValueError, match="exactly one lower bound"):
        lowest.constraints({"dependencies": [requirement], "optional-dependencies": {}})
