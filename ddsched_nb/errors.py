"""The error tree. Every error the package raises on purpose derives from `DdschedError`.

Messages name the field, the value and what to do. They never hold prompts, answers, row values or
keys: what a server said about a request travels in `ProviderError.detail`, which stays in memory.
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "AdmissionClosed",
    "ConfigError",
    "CycleError",
    "DdschedError",
    "DuplicateOutputError",
    "GeneratorBug",
    "GraphError",
    "MetadataError",
    "ProviderError",
    "QueueTimeout",
    "RecordError",
    "RowDropped",
    "RunCancelled",
    "RunError",
    "RunStalled",
    "UndeclaredNeedError",
    "UnknownColumnError",
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


class UndeclaredNeedError(DdschedError, KeyError):
    """A generator read a column that it did not declare in `needs`."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


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
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after
        self.detail = detail


class RowDropped(DdschedError):
    """Raised by a generator to drop its row with a reason."""


class RunError(DdschedError):
    """A run ended before all rows were finished. What was finished stays available."""


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


class RunStalled(RunError):
    """The endpoint refused for so long that going on makes no sense."""


class RunCancelled(RunError):
    """The run was cancelled by its user."""
