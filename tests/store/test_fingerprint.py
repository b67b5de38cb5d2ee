"""Two declarations: the same or not, and in what."""

from __future__ import annotations

from ddsched_nb.store.fingerprint import differences, digest_of

DIGEST, OTHER = "0f" * 16, "1e" * 16


def test_the_order_of_keys_does_not_matter() -> None:
    assert digest_of({"a": 1, "b": {"c": 2, "d": 3}}) == digest_of({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


def test_each_difference_is_one_line_that_names_its_place() -> None:
    stored = {"rows": 1000, "columns": {"a": {"prompt": DIGEST, "needs": []}, "b": {}}}
    given = {"rows": 2000, "columns": {"a": {"prompt": OTHER, "needs": ["x"]}, "c": {}}}
    assert differences(stored, given) == [
        "rows is 2000, was 1000",
        "columns.a.prompt differs",
        "columns.a.needs is ['x'], was []",
        "columns.b is gone",
        "columns.c is new",
    ]
    assert differences(stored, stored) == []


def test_digests_are_not_shown() -> None:
    assert differences({"p": DIGEST}, {"p": None}) == ["p differs"]
