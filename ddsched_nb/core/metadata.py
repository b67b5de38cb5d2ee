"""Scheduling metadata: what broad resource shape does a column have? Declared by its author.

Three kinds: `local` work calls no model; `model` is one call of one model a task; `custom_model` is
a generator of one's own that may call models. The identity names the flow: columns with equal kind
and identity share fairness.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, get_args

from ddsched_nb.core.model import DOMAINS, FlowKey, FlowKind, ModelKey, PoolKey
from ddsched_nb.errors import MetadataError
from ddsched_nb.reprs import facts_html

_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")
_KINDS: tuple[FlowKind, ...] = get_args(FlowKind)

Identity = tuple[str | int | bool, ...]


@dataclass(frozen=True, slots=True)
class SchedulingMetadata:
    """What the author of a column says of its scheduling.

    Args:
        kind: `local`, `model` or `custom_model`.
        identity: What names the flow: strings, integers and booleans only, so that it is the same
            in every process.
        weight: The flow's weight against others, above 0.

    Raises:
        MetadataError: A field cannot be used; the message names it.
    """

    kind: FlowKind
    identity: Identity
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:  # what a type checker rules out, a notebook does not
            raise MetadataError(f"kind is {self.kind!r}; give one of {', '.join(_KINDS)}")
        object.__setattr__(self, "identity", tuple(_checked(part) for part in self._parts()))
        if not _is_positive(self.weight):
            raise MetadataError(f"weight is {self.weight!r}; give a finite number above 0")
        if self.kind == "model":
            self._check_model()

    def _repr_html_(self) -> str:
        identity = " / ".join(map(str, self.identity))
        facts = [("kind", self.kind), ("identity", identity), ("weight", f"{self.weight:g}")]
        return facts_html("how a column is scheduled", facts)

    @classmethod
    def local(cls, *identity: str | int | bool, weight: float = 1.0) -> SchedulingMetadata:
        """For work that calls no model."""
        return cls("local", identity, weight)

    @classmethod
    def model(
        cls, provider: str, model: str, domain: str = "chat", *, weight: float = 1.0
    ) -> SchedulingMetadata:
        """For one call of one model a task; `domain` is one of `model.DOMAINS`."""
        return cls("model", (provider, model, domain), weight)

    @classmethod
    def custom_model(cls, *identity: str | int | bool, weight: float = 1.0) -> SchedulingMetadata:
        """For a generator of one's own that may call models."""
        return cls("custom_model", identity, weight)

    @property
    def flow_key(self) -> FlowKey:
        """The flow that this names."""
        return FlowKey(self.kind, self.identity)

    @property
    def pool(self) -> PoolKey | None:
        """The request pool that a `model` kind names; None for the other kinds."""
        if self.kind != "model":
            return None
        provider, model, domain = self.identity
        return next(PoolKey(str(provider), str(model), d) for d in DOMAINS if d == domain)

    def _parts(self) -> Identity:
        parts: object = self.identity
        if not isinstance(parts, tuple | list) or not parts:
            raise MetadataError(f"identity is {parts!r}; give a tuple of at least one part")
        return tuple(parts)

    def _check_model(self) -> None:
        if len(self.identity) != 3:
            raise MetadataError(
                f"identity of kind 'model' is {self.identity!r}; give (provider, model, domain)"
            )
        if self.identity[2] not in DOMAINS:
            raise MetadataError(f"domain is {self.identity[2]!r}; give one of {', '.join(DOMAINS)}")


def default_metadata(column: str) -> SchedulingMetadata:
    """What a column gets that declares nothing: a local flow of its own, with weight 1."""
    return SchedulingMetadata.local("column", column)


class ModelCapacity(NamedTuple):
    """The cap of one model, merged from its aliases.

    Attributes:
        key: Provider and model.
        cap: The least of the caps that its aliases name.
        aliases: Each alias with the cap it named, by name.
    """

    key: ModelKey
    cap: int
    aliases: tuple[tuple[str, int], ...]


def merge_aliases(named: Iterable[tuple[str, ModelKey, int]]) -> dict[ModelKey, ModelCapacity]:
    """Merges aliases of one provider/model, whatever their order: the least cap holds.

    Args:
        named: Alias, provider/model and cap of each.
    """
    found: dict[ModelKey, list[tuple[str, int]]] = {}
    for alias, key, cap in sorted(named):
        found.setdefault(key, []).append((alias, cap))
    return {
        key: ModelCapacity(key, min(cap for _, cap in aliases), tuple(aliases))
        for key, aliases in found.items()
    }


def _is_positive(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value > 0


def _checked(part: object) -> str | int | bool:
    if not isinstance(part, str | int | bool):
        raise MetadataError(
            f"identity holds a {type(part).__name__}; give strings, integers or booleans, which "
            "are the same in every process"
        )
    if isinstance(part, str) and not part.strip():
        raise MetadataError("identity holds an empty string; give a name")
    if isinstance(part, str) and _ADDRESS.search(part):
        raise MetadataError(
            f"identity holds {part!r}, an address that changes from process to process; give a name"
        )
    return part
