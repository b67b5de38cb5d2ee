"""The column graph: who needs whom, in which order, and what is wrong with it.

Pure and immutable. It knows names only: not what a column computes, nor any row.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from ddsched_nb.core.model import ColumnSpec
from ddsched_nb.dag import Node, svg_graph, text_graph
from ddsched_nb.errors import CycleError, DuplicateOutputError, UnknownColumnError
from ddsched_nb.reprs import brief, tell_whole

_NO_NOTES: Mapping[str, str] = MappingProxyType({})


class ColumnGraph:
    """The dependency graph of columns.

    Args:
        specs: The columns, in the order declared.
        inputs: Names that the input table provides.

    Raises:
        DuplicateOutputError: Two columns, or a column and the table, provide one name.
        UnknownColumnError: A column needs what nobody provides.
        CycleError: Columns need each other in a circle.
    """

    def __init__(self, specs: Sequence[ColumnSpec], inputs: Iterable[str] = ()) -> None:
        self.inputs = tuple(inputs)
        self._producers = _producers(specs, self.inputs)
        self.specs: Mapping[str, ColumnSpec] = {spec.name: spec for spec in specs}
        self._upstream = {spec.name: self._columns_needed(spec) for spec in specs}
        self.order = _ordered(self._upstream)
        self._downstream = {
            name: tuple(other for other in self.order if name in self._upstream[other])
            for name in self.order
        }

    def __repr__(self) -> str:
        return brief(f"<ColumnGraph: {' '.join(self.order)}>")

    def __str__(self) -> str:
        return text_graph(self.nodes())

    _repr_pretty_ = tell_whole

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x: auto">{svg_graph(self.nodes(), title="columns")}</div>'

    def nodes(self, notes: Mapping[str, str] = _NO_NOTES) -> list[Node]:
        """The graph as nodes of a picture: the input table's columns that are read, and all others.

        Args:
            notes: What to write under the names of columns.
        """
        read = {need for spec in self.specs.values() for need in spec.needs}
        # A column that does not write its own name may be called as an input is.
        given = {
            name: f"{name} (table)" if name in self.specs else name
            for name in self.inputs
            if name in read
        }
        found = [Node(shown, given=True) for shown in given.values()]
        for name in self.order:
            inputs = (given[need] for need in self.specs[name].needs if need in given)
            found.append(Node(name, (*inputs, *self._upstream[name]), notes.get(name, "")))
        return found

    def upstream(self, name: str) -> tuple[str, ...]:
        """The columns that a column needs directly; input columns do not count."""
        return self._upstream[name]

    def downstream(self, name: str) -> tuple[str, ...]:
        """The columns that need a column directly."""
        return self._downstream[name]

    def producer(self, output: str) -> str | None:
        """The column that writes an output; None if the input table provides it."""
        return self._producers[output]

    @property
    def roots(self) -> tuple[str, ...]:
        """The columns that need no other column."""
        return tuple(name for name in self.order if not self._upstream[name])

    @property
    def depth(self) -> int:
        """Number of columns on the longest chain."""
        depths: dict[str, int] = {}
        for name in self.order:
            depths[name] = 1 + max((depths[up] for up in self._upstream[name]), default=0)
        return max(depths.values(), default=0)

    def _columns_needed(self, spec: ColumnSpec) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for need in spec.needs:
            if need not in self._producers:
                raise UnknownColumnError(_unknown(spec.name, need, self._producers))
            producer = self._producers[need]
            if producer is not None:
                found[producer] = None
        return tuple(found | dict.fromkeys(spec.after))


def _producers(specs: Sequence[ColumnSpec], inputs: Sequence[str]) -> dict[str, str | None]:
    producers: dict[str, str | None] = dict.fromkeys(inputs)
    names: set[str] = set()
    for spec in specs:
        if spec.name in names:
            raise DuplicateOutputError(f"two columns are called {spec.name!r}; rename one")
        names.add(spec.name)
        for output in spec.outputs:
            if output in producers:
                other = producers[output]
                owner = f"column {other!r}" if other is not None else "the input table"
                raise DuplicateOutputError(
                    f"column {spec.name!r} writes {output!r}, which {owner} provides already; "
                    "rename one"
                )
            producers[output] = spec.name
    return producers


def _unknown(column: str, need: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(need, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    names = ", ".join(known) or "nothing"
    return (
        f"column {column!r} needs {need!r}, which no column and no input table provides{hint} "
        f"(known: {names})"
    )


def _ordered(upstream: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Topological order (Kahn), stable in declared order."""
    waiting = {name: len(needs) for name, needs in upstream.items()}
    feeds: dict[str, list[str]] = {name: [] for name in upstream}
    for name, needs in upstream.items():
        for need in needs:
            feeds[need].append(name)
    rank = {name: index for index, name in enumerate(upstream)}
    ready = [name for name, count in waiting.items() if not count]
    order: list[str] = []
    while ready:
        name = min(ready, key=rank.__getitem__)
        ready.remove(name)
        order.append(name)
        for fed in feeds[name]:
            waiting[fed] -= 1
            if not waiting[fed]:
                ready.append(fed)
    if len(order) < len(upstream):
        raise CycleError(_cycle(upstream, [name for name in upstream if name not in set(order)]))
    return tuple(order)


def _cycle(upstream: Mapping[str, tuple[str, ...]], stuck: Sequence[str]) -> str:
    path = [stuck[0]]
    while path[-1] not in path[:-1]:
        path.append(next(need for need in upstream[path[-1]] if need in stuck))
    circle = path[path.index(path[-1]) :]
    return f"columns need each other in a circle: {' -> '.join(circle)}; remove one of the needs"
