"""Scheduling metadata: three kinds, typed errors, documented defaults, merged aliases."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from ddsched_nb.core.metadata import (
    ModelCapacity,
    SchedulingMetadata,
    default_metadata,
    merge_aliases,
)
from ddsched_nb.core.model import FlowKey, ModelKey, PoolKey
from ddsched_nb.errors import ConfigError, MetadataError


def test_three_kinds() -> None:
    assert SchedulingMetadata.local("a").flow_key == FlowKey("local", ("a",))
    assert SchedulingMetadata.custom_model("a", 1).flow_key == FlowKey("custom_model", ("a", 1))
    model = SchedulingMetadata.model("p", "m", weight=2)
    assert (model.flow_key, model.weight) == (FlowKey("model", ("p", "m", "chat")), 2)


def test_f09_metadata_and_admission_name_one_canonical_pool() -> None:
    assert SchedulingMetadata.model("p", "m", "embedding").pool == PoolKey("p", "m", "embedding")
    assert SchedulingMetadata.local("a").pool is None
    with pytest.raises(MetadataError, match=r"domain is 'chat-completion'; give one of chat, "):
        SchedulingMetadata.model("p", "m", "chat-completion")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (("remote", ("a",)), "kind is 'remote'"),
        (("local", ()), r"identity is \(\)"),
        (("local", "abc"), "identity is 'abc'"),
        (("local", ("",)), "empty string"),
        (("local", ("  ",)), "empty string"),
        (("local", (object(),)), "holds a object"),
        (("local", (1.5,)), "holds a float"),
        (("local", ({"a"},)), "holds a set"),
        (("local", (str(object()),)), "changes from process to process"),
        (("model", ("p", "m")), "give \\(provider, model, domain\\)"),
    ],
)
def test_bad_metadata_says_what_is_wrong(fields: tuple[Any, ...], said: str) -> None:
    with pytest.raises(MetadataError, match=said) as caught:
        SchedulingMetadata(*fields)
    assert isinstance(caught.value, ConfigError)


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), True, "2", None])
def test_weight_must_be_a_number_above_0(weight: Any) -> None:
    with pytest.raises(MetadataError, match="weight is"):
        SchedulingMetadata.local("a", weight=weight)


def test_a_column_that_declares_nothing_has_a_local_flow_of_its_own() -> None:
    assert default_metadata("x") == SchedulingMetadata.local("column", "x", weight=1.0)


def test_aliases_of_one_model_are_merged_whatever_their_order() -> None:
    key, other = ModelKey("p", "m"), ModelKey("p", "n")
    named = [("fast", key, 8), ("slow", key, 4), ("else", other, 2)]
    expected = {
        key: ModelCapacity(key, 4, (("fast", 8), ("slow", 4))),
        other: ModelCapacity(other, 2, (("else", 2),)),
    }
    for order in permutations(named):
        assert merge_aliases(order) == expected
