"""Print a constraints file for pip: every direct dependency at the lower bound that pyproject.toml declares.

    python -m release.lowest > lowest.txt
    pip install -c lowest.txt -e '.[all]'

`make test-lowest` does this and runs the tests, so that a bound which is too low is noticed here and not by a user.
Only what the product needs is held down; the development tools stay as new as pip finds them.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
# Extras that are no dependencies of the product, or only name other extras.
NOT_HELD = {"dev", "contract", "all"}


def direct_dependencies(project: dict) -> list[Requirement]:
    """The requirements of the base installation and of each extra of the product."""
    declared = list(project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        if extra not in NOT_HELD:
            declared += requirements
    return [Requirement(each) for each in declared]


def lower_bound(requirement: Requirement) -> str:
    """The version after `>=`; ValueError if the requirement does not have exactly one."""
    bounds = [each.version for each in requirement.specifier if each.operator == ">="]
    if len(bounds) != 1:
        raise ValueError(f"pyproject.toml: {requirement} needs exactly one lower bound, like {requirement.name}>=1.0")
    return bounds[0]


def constraints(project: dict) -> list[str]:
    """One line for each dependency, with its marker where it has one."""
    lines = []
    for requirement in direct_dependencies(project):
        marker = f"; {requirement.marker}" if requirement.marker else ""
        lines.append(f"{requirement.name}=={lower_bound(requirement)}{marker}")
    return sorted(lines)


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sys.stdout.write("\n".join(constraints(project)) + "\n")


if __name__ == "__main__":
    main()
