"""Settings: defaults, ranges, unknown keys, and what became of the old ones."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

import ddsched_nb as dd
from ddsched_nb.config import (
    THROTTLE_FIELDS,
    BorrowConfig,
    RequestAdmissionConfig,
    RetryConfig,
    RunConfig,
)
from ddsched_nb.errors import ConfigError


def test_defaults_are_the_references_where_it_has_them() -> None:
    admission = RunConfig().request_admission
    assert admission.multiplicative_decrease_factor == 0.75
    assert admission.additive_increase_step == 1
    assert admission.successes_until_increase == 25
    assert admission.cooldown_s == 2.0
    assert admission.startup_ramp_s == 0.0


def test_settings_cannot_be_changed_behind_a_runs_back() -> None:
    with pytest.raises(ValidationError):
        RunConfig().buffer_size = 3  # type: ignore[misc]


def test_an_unknown_field_is_refused_with_what_was_meant() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown field 'bufer_size'; did you mean 'buffer_size'"
    ):
        RunConfig(bufer_size=3)
    with pytest.raises(ConfigError, match=r"unknown field 'zzz'; fields: buffer_size, "):
        RunConfig(zzz=1)


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        (RunConfig, {"buffer_size": 0}),
        (RunConfig, {"max_concurrent_row_groups": 0}),
        (RunConfig, {"max_in_flight_tasks": 0}),
        (RunConfig, {"stall_timeout_s": 0}),
        (RunConfig, {"on_bug": "ignore"}),
        (RequestAdmissionConfig, {"multiplicative_decrease_factor": 1.0}),
        (RequestAdmissionConfig, {"cooldown_s": -1}),
        (RequestAdmissionConfig, {"cooldown_s": float("nan")}),
        (RequestAdmissionConfig, {"limit": "vegas"}),
        (RetryConfig, {"max_attempts": 0}),
        (RunConfig, {"task_policy": "fair"}),
        (BorrowConfig, {"ceiling": -1}),
        (BorrowConfig, {"repayment": "later"}),
    ],
)
def test_a_value_out_of_range_names_field_and_value(
    settings: type[RunConfig], fields: dict[str, object]
) -> None:
    ((field, value),) = fields.items()
    with pytest.raises(ConfigError) as caught:
        settings(**fields)
    assert f"{field} is {value!r}" in str(caught.value)


@pytest.mark.parametrize("value", [0, "wide", 2.5])
def test_row_groups_that_are_neither_adaptive_nor_a_number(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig(row_groups=value)
    assert str(caught.value) == (
        f"RunConfig: row_groups is {value!r}: give 'adaptive' or a whole number of at least 1"
    )


def test_a_bound_that_would_not_be_heeded_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"max_concurrent_row_groups is 8: it bounds"):
        RunConfig(row_groups=4, max_concurrent_row_groups=8)


def test_r06_throttle_is_answered_with_the_map_from_old_to_new() -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig(throttle={"reduce_factor": 0.5})
    for old, new in THROTTLE_FIELDS.items():
        assert f"{old} -> {new}" in str(caught.value)


def test_r06_every_new_name_in_the_map_exists() -> None:
    new = {name for old, name in THROTTLE_FIELDS.items() if old != "ceiling_overshoot"}
    assert new <= set(RequestAdmissionConfig.model_fields)


def test_r06_throttle_config_is_answered_where_it_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="reduce_factor -> multiplicative_decrease_factor"):
        _ = dd.ThrottleConfig
    with pytest.raises(ConfigError, match="success_window -> successes_until_increase"):
        from ddsched_nb.config import ThrottleConfig  # noqa: F401


def test_a_ceiling_below_zero_is_found_wherever_it_stands() -> None:
    with pytest.raises(
        ConfigError, match=r"ceilings\.local/column/a\.local is -1: .* or equal to 0"
    ):
        BorrowConfig(ceilings={"local/column/a": {"local": -1}})


def test_f08_a_way_to_borrow_that_nothing_would_follow_is_refused() -> None:
    with pytest.raises(ConfigError, match='strict_fair does not borrow; give task_policy="bounded'):
        RunConfig(borrow=BorrowConfig(ceiling=2))
    assert RunConfig(task_policy="bounded_borrow", borrow=BorrowConfig(ceiling=2)).borrow
