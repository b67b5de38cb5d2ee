"""What the lanes come to: a line for each, and where they ran. Knows nothing of how they run."""

from __future__ import annotations

import msgspec

from ddsched_nb.bench.suite.summary import Provenance

__all__ = ["SCHEMA", "LaneResult", "LanesSummary"]

SCHEMA = "ddsched-lanes-v1"


class LaneResult(msgspec.Struct, frozen=True, kw_only=True):
    """One lane. Durations in seconds.

    Attributes:
        lane: Its name.
        about: What it tries.
        state: How the run ended.
        why: Why it did not finish, or why most of the dropped rows were dropped.
        rows: Rows asked for; those that were not `finished` are lost.
        requests: Attempts sent, of which `refused` got a 429 and `failed` failed otherwise.
        wall_s: From the start of the run to its end.
        bound_s: No schedule of these calls is faster; None where nobody knows the capacity.
        p50_s: The median of the latencies of answered requests; `p95_s` as it says.
        limits: The limit of each pool at the end, and the most that was in flight in it.
        record: The file of its record, beside this summary; None if none was kept.
    """

    lane: str
    about: str
    state: str
    why: str | None
    rows: int
    finished: int
    dropped: int
    requests: int
    refused: int
    failed: int
    tokens: int
    wall_s: float
    bound_s: float | None
    binding: str | None
    p50_s: float
    p95_s: float
    limits: dict[str, tuple[int, int]]
    record: str | None

    @property
    def lost(self) -> int:
        """Rows that were not finished."""
        return self.rows - self.finished

    @property
    def over_bound(self) -> float | None:
        """Wall time over the bound; None where that is not known."""
        return self.wall_s / self.bound_s if self.bound_s else None

    def line(self) -> str:
        """All of it in a line."""
        over = "bound unknown" if self.over_bound is None else f"{self.over_bound:.2f} x the bound"
        limits = ", ".join(str(limit) for limit, _ in self.limits.values())
        most = ", ".join(str(most) for _, most in self.limits.values())
        text = (
            f"{self.lane}: {self.wall_s:.2f} s, {over}; {self.requests:,} requests, "
            f"{self.refused:,} refused; {self.dropped:,} rows dropped; limit reached {limits} "
            f"(most in flight {most}); p50 {self.p50_s:.3f} s, p95 {self.p95_s:.3f} s"
        )
        return text if self.why is None else f"{text}; {self.state}: {self.why}"


class LanesSummary(msgspec.Struct, frozen=True, kw_only=True):
    """`summary.json`.

    Attributes:
        endpoint: Where it was, without user info and query; `embedded` for the one that comes with
            the package.
        models: The models asked.
    """

    schema: str = SCHEMA
    endpoint: str
    models: tuple[str, ...]
    lanes: tuple[LaneResult, ...]
    provenance: Provenance

    @property
    def lost(self) -> int:
        """Rows that were not finished, over all lanes."""
        return sum(lane.lost for lane in self.lanes)

    def encoded(self) -> bytes:
        """The summary as JSON, a line a field."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"
