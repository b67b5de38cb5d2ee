"""What a simulation leaves: a run record that also knows what it was a simulation of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ddsched_nb.aio.progress import RowError
from ddsched_nb.aio.statistics import RunStatistics
from ddsched_nb.analysis.bounds import Bounds
from ddsched_nb.clients.load import ModelStatistics
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.core.model import ModelKey
from ddsched_nb.record import RunRecord
from ddsched_nb.reprs import brief, facts_html
from ddsched_nb.summary import RunSummary

__all__ = ["SimulatedRecord", "SimulatedResult"]


@dataclass(frozen=True, slots=True)
class SimulatedResult:
    """How a simulated run ended. Times in virtual seconds.

    Attributes:
        name: What was simulated.
        seed: The seed of the simulation.
        summary: What the run did: rows, requests, tokens, money.
        statistics: How the run stood at its end.
        first_group_s: When the first row group was finished; None if none was.
        models: What each model went through, as its endpoint counted it.
        profiles: The profile of each model.
        bounds: What no schedule can beat, and what an oracle reaches; None if the run is too large
            to say, or was not recorded whole.
        errors: Why rows were dropped, as far as kept.
        error: What ended the run early, if something did.
        steps: Callbacks that the loop ran.
    """

    name: str
    seed: int
    summary: RunSummary
    statistics: RunStatistics = field(repr=False)
    first_group_s: float | None
    models: Mapping[ModelKey, ModelStatistics]
    profiles: Mapping[ModelKey, EndpointProfile]
    bounds: Bounds | None
    errors: tuple[RowError, ...] = field(repr=False)
    error: BaseException | None
    steps: int

    @property
    def makespan_s(self) -> float:
        """From start to end, in virtual seconds."""
        return self.summary.elapsed_s

    @property
    def tokens(self) -> int:
        """Tokens sent and written, over all columns."""
        return sum(c.prompt_tokens + c.completion_tokens for c in self.summary.columns)

    @property
    def refused(self) -> int:
        """Requests that were refused, over all models."""
        return sum(model.refused for model in self.models.values())

    @property
    def useful_utilization(self) -> float:
        """Seconds of service that led to an answer, over those that capacity existed for.

        Over all models, from start to end; a model nobody asked counts as well.
        """
        existed = sum(p.capacity_integral(self.makespan_s) for p in self.profiles.values())
        worked = sum(model.work_s for model in self.models.values())
        return worked / existed if existed else 0.0


class SimulatedRecord(RunRecord):
    """The record of a simulated run. All that a record of a real run can do, and `result`."""

    result: SimulatedResult

    def __repr__(self) -> str:
        if not hasattr(self, "result"):
            return super().__repr__()
        said, did = self.result, self.result.summary
        text = (
            f"<{said.name}, seed {said.seed}: {did.state}, {did.finished} of {did.rows} rows in "
            f"{said.makespan_s:.2f} s"
        )
        if did.dropped:
            text += f", {did.dropped} dropped"
        if said.bounds is not None:
            text += f"; {said.bounds.describe(said.makespan_s)}"
        if said.models:
            text += f"; {said.refused} refused"
        return brief(text + ">")

    def _repr_html_(self) -> str:
        if not hasattr(self, "result"):
            return super()._repr_html_()
        said, did = self.result, self.result.summary
        facts: list[tuple[str, object]] = [
            ("rows", f"{did.finished} of {did.rows} finished, {did.dropped} dropped"),
            ("virtual seconds", f"{said.makespan_s:.2f}"),
        ]
        if said.bounds is not None:
            facts.append(("lower bound, s", f"{said.bounds.lower_s:.2f}"))
            facts.append(("oracle, s", f"{said.bounds.oracle_s:.2f}"))
        facts.append(("requests refused", said.refused))
        facts.append(("useful utilization", f"{said.useful_utilization:.3f}"))
        facts.append(("events", f"{len(self):,}{', truncated' if self.truncated else ''}"))
        return facts_html(f"{said.name}, seed {said.seed}: {did.state}", facts)
