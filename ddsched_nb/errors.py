"""The error tree. Every error the package raises on purpose derives from `DdschedError`.

Messages name the field, the value and what to do. They never hold prompts, answers, row values or
keys: what a server said about a request travels in `ProviderError.detail`, which stays in memory.
"""

from __future__ import annotations

from typing import Any, Literal

__all__ = [
    "AccessDenied",
    "AdmissionClosed",
    "AnswerDidNotParse",
    "CallFailed",
    "ConfigError",
    "ContractError",
    "CycleError",
    "DdschedError",
    "DuplicateOutputError",
    "GeneratorBug",
    "GraphError",
    "HealthcheckFailed",
    "MetadataError",
    "OutputError",
    "ProviderError",
    "QueueTimeout",
    "RecordError",
    "RowDropped",
    "RunCancelled",
    "RunError",
    "RunStalled",
    "RunTimeout",
    "SimulationDeadlock",
    "StoreError",
    "StoreInUse",
    "StoreMismatch",
    "TaskCancelled",
    "TooManyFailures",
    "UndeclaredNeedError",
    "UnknownColumnError",
    "VirtualTimeError",
]


class DdschedError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(DdschedError, ValueError):
    """A setting, a pipeline or an argument cannot be used as given."""


class MetadataError(ConfigError):
    """Scheduling metadata is not usable: bad kind, empty or unstable identity, weight <= 0."""


class GraphError(ConfigError):
    """The columns do not form a usable dependency graph."""


class CycleError(GraphError):
    """Columns need each other in a circle."""


class UnknownColumnError(GraphError):
    """A column needs something that no column and no input table provides."""


class DuplicateOutputError(GraphError):
    """Two columns write the same output."""


class RecordError(DdschedError):
    """A run record cannot be read or written."""


class QueueTimeout(DdschedError, TimeoutError):
    """A request waited for admission past its deadline. The provider was not at fault."""


class AdmissionClosed(DdschedError):
    """A request waited for admission when its run ended. The provider was not asked."""


class TaskCancelled(DdschedError):
    """The task of a generator was cancelled, by itself or by what it called."""


class UndeclaredNeedError(DdschedError, KeyError):
    """A generator read a column that it did not declare in `needs`."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class OutputError(DdschedError, TypeError):
    """A generator returned something other than the outputs of its column."""


FailureKind = Literal["rate_limited", "provider_failure", "provider_timeout"]


class ProviderError(DdschedError):
    """A model call failed at, or on the way to, the provider.

    Attributes:
        kind: How admission reads it: `rate_limited`, `provider_failure` or `provider_timeout`.
        status: HTTP status, or None where no response came.
        retryable: Whether the same call may succeed later.
        retry_after: Seconds the server asked the caller to wait, if it did.
        detail: What the server said. May echo the prompt, so it is kept out of `str()`,
            events and logs; read it in a debugger or in `run.errors`.
        quotas: What the server said of its quotas per minute.
        spent: The quota (`requests` or `tokens`) that a refusal says is spent.
        unavailable: Whether nobody was there to serve anything.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: FailureKind = "provider_failure",
        status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        detail: str = "",
        quotas: tuple[Any, ...] = (),
        spent: Literal["requests", "tokens"] | None = None,
        unavailable: bool = False,
    ) -> None:
        super().__init__(message)
        self.quotas = quotas
        self.spent = spent
        self.unavailable = unavailable
        self.kind = kind
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after
        self.detail = detail


class RowDropped(DdschedError):
    """Raised by a generator to drop its row with a reason.

    A generator of a whole row group gives one in the place of a row's value instead.
    """


class AnswerDidNotParse(RowDropped):
    """No answer of a model could be parsed, however often it was asked."""


class CallFailed(RowDropped):
    """A call that served several rows failed for good; they are dropped, the others are not."""


class RunError(DdschedError):
    """A run ended before all rows were finished. What was finished stays available."""


class ContractError(RunError, ConfigError):
    """A limit or a task policy of one's own gave an answer that none may give."""


class GeneratorBug(RunError):
    """A generator raised something unexpected; the cause is chained.

    Attributes:
        column: The column whose generator raised.
        row: Number of the row, counted from 0; None for a whole-group generator.
    """

    def __init__(self, message: str, *, column: str, row: int | None) -> None:
        super().__init__(message)
        self.column = column
        self.row = row


class AccessDenied(RunError):
    """An endpoint refuses the key, or what it may use, and served nothing with it before."""


class RunStalled(RunError):
    """The endpoint refused for so long that going on makes no sense."""


class RunCancelled(RunError):
    """The run was cancelled by its user."""


class RunTimeout(RunError):
    """The run took longer than `run_timeout_s`."""


class TooManyFailures(RunError):
    """So large a share of a column's last cells failed that going on makes no sense."""


class HealthcheckFailed(RunError):
    """A model did not answer before the first row; nothing was run."""


class StoreError(RunError):
    """A store cannot be read or written: disk full, no permission, damaged."""


class StoreInUse(StoreError):
    """Another run writes to the store."""


class StoreMismatch(StoreError, ConfigError):
    """A store holds rows of a different pipeline or table; the message says what differs."""


class VirtualTimeError(DdschedError, RuntimeError):
    """Something that does not exist in virtual time was asked for: a socket, a thread, a clock."""


class SimulationDeadlock(VirtualTimeError):
    """A simulated run waits for what nobody will do. The message says who waits for what."""
