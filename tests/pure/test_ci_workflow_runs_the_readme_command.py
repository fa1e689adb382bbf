"""The workflow may only read, keeps no credentials, and runs the README's test command on each declared Python."""

import re
import tomllib
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "tests.yml"


def load():
    return YAML(typ="safe").load(WORKFLOW.read_text(encoding="utf-8"))


def commands(job):
    return [step["run"] for step in job["steps"] if "run" in step]


def test_the_workflow_may_only_read():
    workflow = load()
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())
    assert "pull_request_target" not in workflow["on"]
    assert "secrets" not in WORKFLOW.read_text(encoding="utf-8")


def test_actions_are_pinned_and_leave_no_credentials():
    for job in load()["jobs"].values():
        uses = [step for step in job["steps"] if "uses" in step]
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+(\.\d+)*", step["uses"]) for step in uses)
        checkouts = [step for step in uses if step["uses"].startswith("actions/checkout@")]
        assert [step["with"]["persist-credentials"] for step in checkouts] == [False]


def test_linux_runs_the_readme_command_on_each_declared_python():
    jobs = load()["jobs"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(re.search(rf"^{re.escape(command)}\b", readme, re.MULTILINE) for command in commands(jobs["linux"]))
    assert commands(jobs["linux"]) == ["make test"]
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]
    declared = {match[1] for each in classifiers if (match := re.search(r":: (3\.\d+)$", each))}
    assert declared <= set(jobs["linux"]["strategy"]["matrix"]["python"])


def test_targets_of_make_that_are_run_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    made = [line.split()[1] for job in load()["jobs"].values() for line in commands(job) if line.startswith("make ")]
    assert set(made) == {"test", "test-lowest"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in made)


def test_only_systems_that_are_not_supported_may_fail():
    jobs = load()["jobs"]
    assert {name for name, job in jobs.items() if job.get("continue-on-error")} == {"elsewhere"}
