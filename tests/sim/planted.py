"""Eleven bugs to plant, one line each, and how many seeds the fuzzer needs to find them.

    python tests/sim/planted.py            # all of them
    python tests/sim/planted.py double-release

Each runs in a process of its own in which one module is loaded with one line changed; nothing on
disk changes, and no other test imports this.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Bug(NamedTuple):
    """One line of a shipped module, and what takes its place."""

    name: str
    module: str
    old: str
    new: str
    targets: tuple[str, ...] = ("tight", "dropped-rows", "limiter")


BUGS = (
    Bug(
        "lost-wakeup",
        "core.request_admission",
        "        queue.open(pool.key)",
        "        pass",
    ),
    Bug(
        "double-release",
        "aio.executor",
        "                self._limiter.release(permit, outcome)",
        "                [self._limiter.release(permit, outcome) for _ in range(2)]",
    ),
    Bug(
        "missed-cooldown-wake",
        "core.request_admission",
        "                self._wake(pool, opens_at)",
        "                pass",
    ),
    Bug(
        "permit-to-an-expired-waiter",
        "core.request_admission",
        "            elif entry.expiry:",
        "            elif entry.expiry and not self._dirty:",
        ("limiter",),
    ),
    Bug(
        "leak-on-cancel-after-grant",
        "aio.account",
        "            self.release(future.result(), CANCELLED, now)",
        "            pass",
    ),
    Bug(
        "two-decreases-per-burst",
        "core.limits.aimd",
        "        if sample.limit > value or sample.sent_at < self._lowered_at:",
        "        if sample.sent_at < 0:",
    ),
    Bug(
        "stale-commit",
        "core.fair_queue",
        "        state.pop(ticket)",
        "        state.head()",
    ),
    Bug(
        "checkpoint-with-a-sibling-running",
        "core.frontier",
        "            states[slot] = TaskState.DOOMED",
        "            states[slot], group.pending = TaskState.DROPPED, group.pending - 1",
        ("dropped-rows",),
    ),
    Bug(
        "retry-past-the-lease",
        "aio.executor",
        "                return await self._attempt(permit, send, task_id, attempt, seat)",
        "                return await asyncio.shield("
        "self._attempt(permit, send, task_id, attempt, seat))",
    ),
    Bug(
        "slot-left-free",
        "core.dispatch",
        "            if self.admission.free(gate.resource) "
        "and (selection := self._queue.peek(gate))",
        "            if not gate and (selection := self._queue.peek(gate))",
        ("real-pipeline-overlap",),
    ),
    Bug(
        "lost-frontier-delta",
        "core.schedule",
        "        self._ready += delta.ready",
        "        self._ready += delta.ready[:1]",
    ),
)


def source_of(bug: Bug) -> str:
    """The module as it is shipped."""
    import ddsched_nb

    path = Path(ddsched_nb.__file__).parent.joinpath(*bug.module.split("."))
    return path.with_suffix(".py").read_text(encoding="utf-8")


class Planter(importlib.abc.MetaPathFinder):
    """Loads one module with one line changed."""

    def __init__(self, bug: Bug) -> None:
        self._bug = bug

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != f"ddsched_nb.{self._bug.module}":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = PatchedLoader(name, spec.origin, self._bug)
        return spec


class PatchedLoader(importlib.machinery.SourceFileLoader):
    """Compiles the changed source, and leaves the compiled files alone."""

    def __init__(self, name: str, path: str, bug: Bug) -> None:
        super().__init__(name, path)
        self._bug = bug

    def get_code(self, fullname: str) -> Any:
        source = Path(self.path).read_text(encoding="utf-8")
        return compile(source.replace(self._bug.old, self._bug.new), self.path, "exec")


def hunt(bug: Bug, seeds: int) -> int:
    """Plants a bug in this process; how many seeds it takes to find it, 0 if it is not found."""
    sys.meta_path.insert(0, Planter(bug))
    from ddsched_nb.sim.fuzz import fuzz

    spent = 0
    for start in range(0, seeds, 50):
        for target in bug.targets:
            report = fuzz(target, seeds=range(start, start + 50), rows=30)
            spent += report.runs
            if report.failure is not None:
                print(f"{bug.name}: found after {spent} runs\n  {report.failure}")
                return spent
            if spent >= seeds:
                return 0
    return 0


def hunt_apart(bug: Bug, seeds: int) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own; it fails if the bug is not found."""
    command = [sys.executable, __file__, bug.name, str(seeds)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    named = {bug.name: bug for bug in BUGS}
    if len(sys.argv) == 3:
        sys.exit(0 if hunt(named[sys.argv[1]], int(sys.argv[2])) else 1)
    for name in sys.argv[1:] or named:
        done = hunt_apart(named[name], 1_000)
        print(done.stdout.strip() or f"{name}: NOT FOUND in 1000 runs {done.stderr[-300:]}")
