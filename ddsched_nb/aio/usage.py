"""What calls used: calls, tokens and images, by column and model alias.

Counts every call that a provider answered, and so charges for: also answers that did not parse and
rows that were dropped later.
"""

from __future__ import annotations

from dataclasses import dataclass

from ddsched_nb.core.model import Usage


@dataclass(slots=True)
class CallUsage:
    """What one column used of one model.

    Attributes:
        calls: Calls answered.
        asked_again: Those of them that were made because an answer did not parse.
        prompt_tokens: Tokens sent, as the provider counted them.
        completion_tokens: Tokens written, as the provider counted them.
        images: Images made.
    """

    calls: int = 0
    asked_again: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    images: int = 0


class UsageLedger:
    """Sums by column and model alias."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str], CallUsage] = {}

    def add(self, column: str, alias: str, usage: Usage, *, images: int = 0) -> None:
        """Counts one answered call."""
        used = self._of(column, alias)
        used.calls += 1
        used.prompt_tokens += usage.prompt_tokens
        used.completion_tokens += usage.completion_tokens
        used.images += images

    def asked_again(self, column: str, alias: str) -> None:
        """Counts that an answered call was a repetition for an answer that did not parse."""
        self._of(column, alias).asked_again += 1

    def by_column(self) -> dict[tuple[str, str], CallUsage]:
        """The sums, by column and alias, in order of first use; a copy taken at once."""
        return dict(self._used)

    def _of(self, column: str, alias: str) -> CallUsage:
        return self._used.setdefault((column, alias), CallUsage())
