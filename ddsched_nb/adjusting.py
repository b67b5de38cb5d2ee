"""What may be changed of a run while it goes on: checked here, applied on the run's own loop.

Each change is an event of the record. It must not know how a run is started, watched or shown.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ddsched_nb.core.weight import check_weight
from ddsched_nb.engine import Engine
from ddsched_nb.errors import ConfigError
from ddsched_nb.pipeline import Pipeline


class Adjustment(NamedTuple):
    """Changes of a run. What is not named stays as it is.

    Attributes:
        weights: Weights of flows, finite and above 0, each by a column of the flow.
    """

    weights: Mapping[str, float]

    def check(self, pipeline: Pipeline) -> None:
        """Refuses what cannot be applied.

        Raises:
            ConfigError: A column is unknown, or a value is out of range.
        """
        columns = [column.name for column in pipeline.columns]
        for name, weight in self.weights.items():
            _check_known("weights", "column", name, columns)
            check_weight(name, weight)

    def apply(self, engine: Engine) -> None:
        """Applies the changes; on the run's loop."""
        for column, weight in self.weights.items():
            engine.scheduler.set_weight(column, weight)


def _check_known(setting: str, kind: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"give one of: {', '.join(names)}"
        raise ConfigError(f"{setting} names {name!r}, which is no {kind}; {hint}")
