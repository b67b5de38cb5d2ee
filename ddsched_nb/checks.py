"""Checks of names that users give, with errors that say which field, which value and what to do."""

from __future__ import annotations

import difflib
import math
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


def optional_count(field: str, value: object) -> int | None:
    """A whole number of at least 1, or None.

    Raises:
        ConfigError: It is neither.
    """
    return None if value is None else count(field, value)


def optional_rate(field: str, value: object) -> float | None:
    """A finite number above 0, or None.

    Raises:
        ConfigError: It is neither.
    """
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0 < value < math.inf):  # type: ignore[operator]
        raise ConfigError(f"{field} is {value!r}; give a number above 0, or None")
    return float(value)  # type: ignore[arg-type]
