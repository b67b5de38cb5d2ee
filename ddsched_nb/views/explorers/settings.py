"""What an explorer may be set to: checked values, and complaints that name their field.

Decides how a refused value is told, so that it can stand beside its control. It must not know a
widget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ddsched_nb.errors import ConfigError

__all__ = ["ExplorerSettings", "SettingsRefused", "bounds", "choices"]


class SettingsRefused(ConfigError):
    """Settings of an explorer that cannot be.

    Args:
        settings: Name of the settings.
        complaints: What is wrong, by field; under "" what is wrong with several together.
    """

    def __init__(self, settings: str, complaints: Mapping[str, str]) -> None:
        self.complaints = dict(complaints)
        said = [f"{field} {words}" if field else words for field, words in complaints.items()]
        super().__init__(f"{settings}: {'; '.join(said)}")


class ExplorerSettings(BaseModel):
    """Frozen settings of an explorer; unknown keys and bad values are one `SettingsRefused`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsRefused(type(self).__name__, _complaints(type(self), error)) from None

    def changed(self, **values: Any) -> Self:
        """The same settings but for some.

        Raises:
            SettingsRefused: A value cannot be, or there is no such setting.
        """
        return type(self)(**{**self.model_dump(), **values})


def bounds(settings: type[ExplorerSettings], field: str) -> tuple[float, float]:
    """The least and the greatest value that a field takes, as it is declared."""
    marks = settings.model_fields[field].metadata
    low = next(mark.ge for mark in marks if hasattr(mark, "ge"))
    high = next(mark.le for mark in marks if hasattr(mark, "le"))
    return low, high


def choices(settings: type[ExplorerSettings], field: str) -> tuple[Any, ...]:
    """The values that a field with a closed list takes."""
    annotation: Any = settings.model_fields[field].annotation
    return tuple(annotation.__args__)


def _complaints(settings: type[ExplorerSettings], error: ValidationError) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in error.errors(include_url=False):
        field = str(one["loc"][0]) if one["loc"] else ""
        if one["type"] == "extra_forbidden":
            words = f"is no setting; there are {', '.join(settings.model_fields)}"
        else:
            words = f"is {one['input']!r}: {one['msg'].removeprefix('Value error, ')}"
        found.setdefault(field, words)
    return found
