"""Every public name is exported once, found where it is said to live, and documented."""

from __future__ import annotations

import ast
import inspect
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import ddsched_nb as dd
from ddsched_nb.errors import ConfigError

NAMES = tuple(dd.__all__)
TREE = ast.parse(Path(dd.__file__).read_text(encoding="utf-8"))


def stated_for_type_checkers() -> dict[str, str]:
    """Name and module of each import that stands under `if TYPE_CHECKING`."""
    blocks = [node for node in TREE.body if isinstance(node, ast.If)]
    found = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module for node in found for alias in node.names}


def public_members(thing: type) -> dict[str, object]:
    return {
        name: member
        for name, member in vars(thing).items()
        if not name.startswith("_") and (callable(member) or isinstance(member, property))
    }


def test_names_are_sorted_and_stand_once() -> None:
    assert sorted(set(NAMES)) == list(NAMES)


def test_type_checkers_are_told_the_same_names_in_the_same_places() -> None:
    said = {
        name: module.removeprefix("ddsched_nb").lstrip(".")
        for name, module in stated_for_type_checkers().items()
    }
    places = {name: path.rpartition(".")[0] for name, path in dd._MODULES.items()}
    assert said == {**dd._HOME, **places}
    assert set(said) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_lives_where_it_is_said_to(name: str) -> None:
    value = getattr(dd, name)
    if isinstance(value, ModuleType):
        assert value.__name__ == f"ddsched_nb.{dd._MODULES[name]}"
    else:
        assert value.__module__ == f"ddsched_nb.{dd._HOME[name]}"
        assert value.__name__ == name


def test_nothing_is_exported_under_two_names() -> None:
    assert len({id(getattr(dd, name)) for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_documented(name: str) -> None:
    value = getattr(dd, name)
    # Not `inspect.getdoc`, which would take the docstring of a base class for one of its own.
    document = value.__doc__ or ""
    assert document.strip()
    assert not document.startswith(f"{name}("), "a dataclass writes such a signature by itself"


@pytest.mark.parametrize("name", [n for n in NAMES if inspect.isclass(getattr(dd, n))])
def test_what_a_public_class_offers_is_documented(name: str) -> None:
    members = public_members(getattr(dd, name))
    assert [member for member, value in members.items() if not inspect.getdoc(value)] == []


def test_dir_lists_the_public_names() -> None:
    assert {*NAMES, "__version__"} <= set(dir(dd))


def test_the_version_is_that_of_the_installed_package() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert dd.__version__ == project["version"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'NoSuchName'"):
        dd.NoSuchName  # noqa: B018
    with pytest.raises(ImportError, match="NoSuchName"):
        exec("from ddsched_nb import NoSuchName")


def test_r06_a_removed_name_says_what_replaced_it() -> None:
    with pytest.raises(ConfigError, match="cooldown_seconds -> cooldown_s"):
        exec("from ddsched_nb import ThrottleConfig")
    assert "ThrottleConfig" not in dir(dd)
