"""Tells whether two declarations are the same, and where they differ.

A declaration is a tree of JSON values: names, numbers, and digests of whatever must not be on disk.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

__all__ = ["differences", "digest_of"]

_DIGEST = re.compile(r"[0-9a-f]{32,}")


def digest_of(facts: Mapping[str, Any]) -> str:
    """A SHA-256 over a declaration, whatever the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()


def differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """What differs between a stored declaration and a new one, a line each."""
    return list(_differences(stored, given, ""))


def _differences(stored: Mapping[str, Any], given: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in [*stored, *(name for name in given if name not in stored)]:
        where = f"{path}{name}"
        if name not in given:
            yield f"{where} is gone"
        elif name not in stored:
            yield f"{where} is new"
        else:
            yield from _difference(stored[name], given[name], where)


def _difference(old: Any, new: Any, where: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _differences(old, new, f"{where}.")
    elif old != new:
        shown = [_shown(value) for value in (old, new)]
        yield f"{where} differs" if None in shown else f"{where} is {shown[1]}, was {shown[0]}"


def _shown(value: Any) -> str | None:
    """A value in a message; None for a digest, which tells nobody anything."""
    if value is None or (isinstance(value, str) and _DIGEST.fullmatch(value)):
        return None
    return repr(value)
