"""How a check is put in words: what was wanted, what was there, and a sentence where it failed."""

from __future__ import annotations

from ddsched_nb.bench.suite.summary import Check, Severity

__all__ = ["Group", "shown"]


def shown(value: object) -> str:
    """A value as a check shows it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class Group:
    """Collects the checks of one kind.

    Args:
        name: The kind.
        severity: What it means if one fails.
    """

    def __init__(self, name: str, severity: Severity = "error") -> None:
        self.name = name
        self.severity = severity
        self.checks: list[Check] = []

    def check(
        self,
        id: str,
        title: str,
        passed: bool,
        observed: object,
        required: str,
        *,
        case: str = "",
        severity: Severity | None = None,
    ) -> None:
        """Adds a check; if it failed, the reason says what was there and what must be."""
        subject = f"{case}: {title}" if case else title
        seen = shown(observed)
        reason = "" if passed else f"{subject} is {seen}; it must be {required}"
        self.checks.append(
            Check(
                id=f"{self.name}.{id}",
                group=self.name,
                severity=severity or self.severity,
                title=title,
                case=case,
                passed=passed,
                observed=seen,
                required=required,
                reason=reason,
            )
        )

    def at_least(
        self,
        id: str,
        title: str,
        value: float,
        floor: float,
        *,
        case: str = "",
        unless: bool = False,
    ) -> None:
        """Adds a check that a value has reached a floor, or that it need not."""
        passed = value >= floor or unless
        self.check(id, title, passed, value, f"at least {floor:.6g}", case=case)

    def at_most(
        self,
        id: str,
        title: str,
        value: float,
        ceiling: float,
        *,
        case: str = "",
        severity: Severity | None = None,
    ) -> None:
        """Adds a check that a value keeps below a ceiling."""
        required = f"at most {ceiling:.6g}"
        self.check(id, title, value <= ceiling, value, required, case=case, severity=severity)
