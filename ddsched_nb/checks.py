"""Checks of names that users give, with errors that say which field, which value and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from ddsched_nb.errors import ConfigError


def name(field: str, value: object) -> str:
    """A name: a string that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{field} is {value!r}; give a name")
    return value


def names(field: str, values: Sequence[str]) -> tuple[str, ...]:
    """A list of names, each once."""
    if isinstance(values, str):
        raise ConfigError(f"{field} is the string {values!r}; give a list: [{values!r}]")
    return tuple(dict.fromkeys(name(field, value) for value in values))


def count(field: str, value: object) -> int:
    """A whole number, at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{field} is {value!r}; give a whole number >= 1")
    return value


def unique(what: str, given: Sequence[str]) -> list[str]:
    """Names of which none is given twice."""
    for one in given:
        if given.count(one) > 1:
            raise ConfigError(f"{what} {one!r} is given twice; rename one")
    return list(given)


def known(field: str, given: str, declared: Sequence[str]) -> None:
    """Checks that a name refers to something declared."""
    if given not in declared:
        close = difflib.get_close_matches(given, declared, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(
            f"{field} is {given!r}, which is not declared{hint} "
            f"(declared: {', '.join(declared) or 'none'})"
        )
