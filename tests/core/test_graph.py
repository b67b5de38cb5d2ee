"""The column graph: order, neighbours, and errors that name the columns."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ddsched_nb.core.graph import ColumnGraph
from ddsched_nb.core.model import ColumnSpec
from ddsched_nb.errors import CycleError, DuplicateOutputError, GraphError, UnknownColumnError


def column(name: str, *needs: str, outputs: tuple[str, ...] = ()) -> ColumnSpec:
    return ColumnSpec(name, needs, outputs or (name,))


@st.composite
def acyclic(draw: st.DrawFn) -> list[ColumnSpec]:
    """Columns that need earlier ones, declared in any order."""
    size = draw(st.integers(1, 12))
    specs = []
    for i in range(size):
        needs = draw(st.lists(st.sampled_from(range(i)), unique=True)) if i else []
        specs.append(column(f"c{i}", *(f"c{n}" for n in needs)))
    return draw(st.permutations(specs))


@given(acyclic())
def test_every_column_comes_after_what_it_needs(specs: list[ColumnSpec]) -> None:
    graph = ColumnGraph(specs)
    place = {name: index for index, name in enumerate(graph.order)}
    assert sorted(place) == sorted(spec.name for spec in specs)
    for spec in specs:
        assert graph.upstream(spec.name) == spec.needs
        for need in spec.needs:
            assert place[need] < place[spec.name]
            assert spec.name in graph.downstream(need)


@given(acyclic())
def test_the_order_is_the_same_twice(specs: list[ColumnSpec]) -> None:
    assert ColumnGraph(specs).order == ColumnGraph(specs).order


def test_the_order_keeps_to_the_declaration_where_it_can() -> None:
    graph = ColumnGraph([column("z"), column("a"), column("m", "z")])
    assert graph.order == ("z", "a", "m")
    assert graph.roots == ("z", "a")
    assert graph.depth == 2


def test_inputs_are_provided_by_the_table() -> None:
    graph = ColumnGraph([column("a", "given")], inputs=["given"])
    assert graph.upstream("a") == ()
    assert graph.producer("given") is None
    assert graph.producer("a") == "a"


def test_a_second_output_leads_to_its_column() -> None:
    graph = ColumnGraph([column("a", outputs=("x", "y")), column("b", "y")])
    assert graph.upstream("b") == ("a",)


def test_a_circle_is_named() -> None:
    with pytest.raises(CycleError, match=r"a -> c -> b -> a") as caught:
        ColumnGraph([column("a", "c"), column("b", "a"), column("c", "b"), column("d", "a")])
    assert isinstance(caught.value, GraphError)


def test_a_column_that_needs_itself() -> None:
    with pytest.raises(CycleError, match=r"a -> a"):
        ColumnGraph([column("a", "a")])


def test_an_unknown_need_is_named_with_what_was_meant() -> None:
    with pytest.raises(UnknownColumnError, match=r"'b' needs 'topc'.*did you mean 'topic'"):
        ColumnGraph([column("b", "topc")], inputs=["topic"])


def test_two_columns_of_one_name() -> None:
    with pytest.raises(DuplicateOutputError, match=r"two columns are called 'a'"):
        ColumnGraph([column("a"), column("a")])


def test_one_output_of_two_columns() -> None:
    with pytest.raises(DuplicateOutputError, match=r"'b' writes 'x', which column 'a' provides"):
        ColumnGraph([column("a", outputs=("x",)), column("b", outputs=("x",))])


def test_an_output_that_the_table_has_already() -> None:
    with pytest.raises(DuplicateOutputError, match=r"'x', which the input table provides"):
        ColumnGraph([column("x")], inputs=["x"])
