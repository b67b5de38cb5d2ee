"""How a run goes: settings with their defaults, units and ranges. Unknown keys are refused."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from ddsched_nb.core.limits import OwnLimit
from ddsched_nb.core.own_policy import OwnTaskPolicy
from ddsched_nb.errors import ConfigError
from ddsched_nb.reprs import settings_html, settings_line

# Data Designer's ThrottleConfig, which its pull request 661 replaced, and what holds its place.
THROTTLE_FIELDS = {
    "reduce_factor": "multiplicative_decrease_factor",
    "additive_increase": "additive_increase_step",
    "success_window": "successes_until_increase",
    "cooldown_seconds": "cooldown_s",
    "rampup_seconds": "startup_ramp_s",
    "ceiling_overshoot": "nothing: the limit never exceeds the model's max_parallel_requests",
}

NamedLimit = Literal["ceiling", "latency", "aimd", "fixed"]
NamedPolicy = Literal["strict_fair", "bounded_borrow"]
Units = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """Frozen settings; unknown keys and bad values are one clear error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise ConfigError(_explain(type(self), error)) from None

    def __repr__(self) -> str:
        return settings_line(type(self).__name__, self._settings())

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return settings_html(type(self).__name__, self._settings())

    def _settings(self) -> list[tuple[str, object, object]]:
        fields = type(self).model_fields
        return [(name, getattr(self, name, None), field.default) for name, field in fields.items()]


class RequestAdmissionConfig(Settings):
    """How the limit of a model moves. Durations in seconds.

    Attributes:
        limit: `ceiling` stays at what was really served and probes for more; `latency` is for
            servers that refuse nothing and get slower; `aimd` is the reference's: a factor down, a
            step up; `fixed` keeps it at the cap; or a class or function that makes one of your own
            from a cap. The other fields but `cooldown_s` and `fair` are those of `aimd`.
        fair: Whether `ceiling` leaves room to others who use the same endpoint, from other
            processes or machines, and are fair too. Costs up to 4 % of a capacity that moves; and a
            quota a minute must be declared or told then, since refusals alone are others' too.
        multiplicative_decrease_factor: What a burst of refusals multiplies the limit by.
        additive_increase_step: What growth adds.
        successes_until_increase: Successes that make it grow.
        cooldown_s: Pause after a refusal that names no time itself.
        startup_ramp_s: Time in which the limit rises from 1 to the cap; 0 starts at the cap.
    """

    limit: NamedLimit | Callable[[int], OwnLimit] = "ceiling"
    fair: bool = False
    multiplicative_decrease_factor: Annotated[float, Field(gt=0, lt=1)] = 0.75
    additive_increase_step: Annotated[int, Field(ge=1)] = 1
    successes_until_increase: Annotated[int, Field(ge=1)] = 25
    cooldown_s: Seconds = 2.0
    startup_ramp_s: Seconds = 0.0

    @field_validator("limit", mode="before")
    @classmethod
    def _named_or_made(cls, given: Any) -> Any:
        return _named(given, NamedLimit, "a class or function that makes a limit from a cap")


class RetryConfig(Settings):
    """What happens to calls that fail. Refusals (429) use up none of these budgets.

    Attributes:
        max_attempts: Attempts of one call that may fail at the provider, the first included.
        initial_backoff_s: Delay after the first failure; doubles with each further one.
        max_backoff_s: The delay never exceeds it.
        max_deferrals: How often a cell whose call cannot go on is put aside and run again.
        deferral_delay_s: How long it is put aside; doubles with each time.
        budget: Retries that the whole run may spend, of calls and of cells put aside; without bound
            if None. Once it is spent, a failing call drops its row.
    """

    max_attempts: Annotated[int, Field(ge=1)] = 3
    initial_backoff_s: Seconds = 0.5
    max_backoff_s: Seconds = 30.0
    max_deferrals: Annotated[int, Field(ge=0)] = 2
    deferral_delay_s: Seconds = 2.0
    budget: Annotated[int, Field(ge=0)] | None = None


class BorrowConfig(Settings):
    """What a flow may borrow under `task_policy="bounded_borrow"`, and how it repays.

    A flow is a stream of tasks that shares fairness: a column without a model, or all columns of
    one model. The first event of a record, `scheduler_job_started`, names each column's flow.

    Attributes:
        repayment: `per_flow`, the reference's way: any task of the flow that ends repays first.
            `per_lease`: only the task that borrowed repays, so until it ends its flow takes
            nothing that another flow could run on, even below its share.
        ceiling: Units that a flow may hold borrowed of any one resource; without bound if None. A
            ceiling leaves slots free that nobody else wants.
        ceilings: The same for single flows, by label and resource; they go before `ceiling`.
    """

    repayment: Literal["per_flow", "per_lease"] = "per_flow"
    ceiling: Units | None = None
    ceilings: dict[str, dict[str, Units]] = {}


class RunConfig(Settings):
    """How a run goes.

    Attributes:
        buffer_size: Rows in a row group, which are finished and handed over together.
        row_groups: How many row groups are open at once: `adaptive` opens as many as keep the first
            models busy and fewer under pressure; a number keeps it.
        max_concurrent_row_groups: What `adaptive` never exceeds; without bound but that of rows
            (8,192, or three groups if that is more) if None.
        max_in_flight_tasks: Tasks running at once; derived from the models' caps if None.
        task_policy: What a column may take beyond its share of the slots. `strict_fair`: what is
            free, while nobody else could run. `bounded_borrow`: the same as a debt that is repaid
            first, with ceilings if wanted. Or a class or function that makes one of your own.
        request_pressure_advisory: Whether a task that would only wait for its model lets one go
            first whose model is open. It never keeps a task from running.
        slots_while_waiting: What tasks do with the slots that all share while their calls wait for
            a cooling or saturated model: `yield` them to others, or `hold` them, as the reference.
        borrow: How `bounded_borrow` borrows and repays; without ceilings if None.
        record: True keeps the events (all of them up to 50,000 tasks, else the last 100,000),
            False keeps none, a path keeps all and saves them there at the end.
        on_bug: What an unexpected exception in a generator does: fail the run, or drop the row.
        request_admission: How the models' limits move.
        retry: What happens to calls that fail.
        stall_timeout_s: A model that refuses everything for so long, in seconds, ends the run.
        run_timeout_s: The run ends after so long, in seconds; never if None.
        shutdown_error_rate: The run ends when so large a share of a column's last cells, in (0, 1],
            failed for good. Refusals (429) and rows that a generator drops on purpose never count.
        shutdown_error_window: Over how many cells of a column the share is taken.
        disable_early_shutdown: Whether to go on however many cells fail.
        progress: Whether to print a progress line; on a terminal only if None.
        share_limits: Whether runs of one event loop that use the same account of a provider (the
            same address and key) share its limits, since one quota is one quota.
    """

    buffer_size: Annotated[int, Field(ge=1)] = 256
    row_groups: Literal["adaptive"] | Annotated[int, Field(ge=1)] = "adaptive"
    max_concurrent_row_groups: Annotated[int, Field(ge=1)] | None = None
    max_in_flight_tasks: Annotated[int, Field(ge=1)] | None = None
    task_policy: NamedPolicy | Callable[[], OwnTaskPolicy] = "strict_fair"
    borrow: BorrowConfig | None = None
    request_pressure_advisory: bool = True
    slots_while_waiting: Literal["yield", "hold"] = "yield"
    record: bool | Path = True
    on_bug: Literal["raise", "drop"] = "raise"
    request_admission: RequestAdmissionConfig = RequestAdmissionConfig()
    retry: RetryConfig = RetryConfig()
    stall_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    run_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    shutdown_error_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    shutdown_error_window: Annotated[int, Field(ge=1)] = 20
    disable_early_shutdown: bool = False
    progress: bool | None = None
    share_limits: bool = True

    @field_validator("task_policy", mode="before")
    @classmethod
    def _named_or_made(cls, given: Any) -> Any:
        return _named(given, NamedPolicy, "a class or function that makes a policy")

    @field_validator("row_groups", mode="before")
    @classmethod
    def _adaptive_or_number(cls, given: Any) -> Any:
        # Said here, since a union answers once for each of its members.
        whole = isinstance(given, int) and not isinstance(given, bool)
        if given != "adaptive" and not (whole and given >= 1):
            raise ValueError("give 'adaptive' or a whole number of at least 1")
        return given

    @field_validator("max_concurrent_row_groups")
    @classmethod
    def _heeded(cls, most: int | None, info: ValidationInfo) -> int | None:
        if most is not None and info.data.get("row_groups", "adaptive") != "adaptive":
            raise ValueError(
                'it bounds row_groups="adaptive" only; leave it out where row_groups is a number'
            )
        return most

    @field_validator("borrow")
    @classmethod
    def _used(cls, borrow: BorrowConfig | None, info: ValidationInfo) -> BorrowConfig | None:
        # A setting that changes nothing would be taken for one that does.
        policy = info.data.get("task_policy", "bounded_borrow")
        if borrow is not None and policy != "bounded_borrow":
            whose = policy if isinstance(policy, str) else "a policy of your own"
            raise ValueError(f'{whose} does not borrow; give task_policy="bounded_borrow" too')
        return borrow


def called(choice: str | Callable[..., Any]) -> str:
    """What a limit or a policy is called, whether it was named or is made by a function."""
    if isinstance(choice, str):
        return choice
    given = getattr(choice, "name", None) or getattr(choice, "__name__", type(choice).__name__)
    return str(given)


def throttle_message() -> str:
    """What to say to users of the setting that the reference had before."""
    lines = [f"  {old} -> {new}" for old, new in THROTTLE_FIELDS.items()]
    return "\n".join(
        [
            "throttle and ThrottleConfig are gone; use "
            "RunConfig(request_admission=RequestAdmissionConfig(...)):",
            *lines,
        ]
    )


def _named(given: Any, names: Any, maker: str) -> Any:
    # Said here, since a union answers once for each of its members.
    known = get_args(names)
    if given not in known and (isinstance(given, str) or not callable(given)):
        raise ValueError(f"give one of {', '.join(map(repr, known))}, or {maker}")
    return given


def __getattr__(name: str) -> Any:
    if name == "ThrottleConfig":
        raise ConfigError(throttle_message())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _explain(settings: type[BaseModel], error: ValidationError) -> str:
    lines = [_explain_one(settings, dict(found)) for found in error.errors(include_url=False)]
    return f"{settings.__name__}: " + "; ".join(lines)


def _explain_one(settings: type[BaseModel], found: dict[str, Any]) -> str:
    field = ".".join(str(part) for part in found["loc"])
    if found["type"] != "extra_forbidden":
        said = found["msg"].removeprefix("Value error, ")
        return f"{field} is {found['input']!r}: {said}"
    if field == "throttle":
        return throttle_message()
    close = difflib.get_close_matches(field, settings.model_fields, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"fields: {', '.join(settings.model_fields)}"
    return f"unknown field {field!r}; {hint}"
