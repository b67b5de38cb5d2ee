"""An event loop that does not keep the usual order, and the faults that happen on it.

What asyncio promises is kept: a timer never fires early, a callback runs once, whole. What it does
not promise is varied by a seed: the order of what is ready (uniformly, or by random priorities that
change at a few points, after Burckhardt et al., "A Randomized Scheduler with Probabilistic
Guarantees of Finding Bugs", 2010), and whether something ready has to wait a little.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast

from ddsched_nb.errors import ConfigError
from ddsched_nb.sim.loop import VirtualLoop

__all__ = ["FAULTS", "ChaosLoop", "InjectedFault", "parse_faults", "plan_faults"]

T = TypeVar("T")

Kind = Literal["cancel", "defer", "spawn", "subscriber", "pause", "store", "stop", "endpoint"]
FAULTS: Final[dict[Kind, str]] = {
    "defer": "what is ready at this step has to wait a little",
    "cancel": "a worker that runs at this step is cancelled, wherever it waits",
    "spawn": "the next worker cannot be spawned",
    "subscriber": "a subscriber raises on the next event",
    "pause": "the run is paused, and resumed a little later",
    "endpoint": "errors, hangs and broken connections at the endpoint",
    "store": "the next row group cannot be stored",
    "stop": "the run is cancelled",
}
_WEIGHTS: Final = (6, 4, 2, 2, 2, 2, 1, 1)
_CHANGE_POINTS = 3
LONGEST_DEFER_S = 0.5
"""How long a fault makes what is ready wait at the most."""
_FAULT = re.compile(r"([a-z]+)@(\d+)")


class InjectedFault(NamedTuple):
    """Something that goes wrong at a step of the loop."""

    kind: Kind
    at: int

    def __str__(self) -> str:
        return f"{self.kind}@{self.at}"


def parse_faults(text: str) -> tuple[InjectedFault, ...]:
    """Reads what a report printed: `cancel@120,defer@44`.

    Raises:
        ConfigError: It is not of this form, or names no fault there is.
    """
    found = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        match = _FAULT.fullmatch(word)
        if match is None or match[1] not in FAULTS:
            raise ConfigError(f"fault {word!r} is none; write KIND@STEP with {', '.join(FAULTS)}")
        found.append(InjectedFault(cast("Kind", match[1]), int(match[2])))
    return tuple(found)


def plan_faults(seed: int, steps: int) -> tuple[InjectedFault, ...]:
    """Which faults a seed brings to a run that takes about so many steps."""
    dice = random.Random(f"faults|{seed}")
    kinds = dice.choices(list(FAULTS), _WEIGHTS, k=dice.choice((0, 1, 2, 4, 8, 16)))
    return tuple(InjectedFault(kind, dice.randrange(max(1, steps))) for kind in kinds)


class ChaosLoop(VirtualLoop):
    """A virtual loop whose order depends on a seed, and on which faults happen.

    Args:
        seed: Decides the order; 0 keeps that of asyncio.
        faults: What goes wrong, and at which step.
        act: Does what a fault asks for, if the loop cannot do it itself.
        steps: About how many steps the run takes, for the change points.
    """

    def __init__(
        self,
        seed: int,
        faults: Iterable[InjectedFault] = (),
        act: Callable[[InjectedFault], None] | None = None,
        steps: int = 1_000,
    ) -> None:
        super().__init__(until_s=1e6)
        self._dice = random.Random(f"order|{seed}")
        self._order = "fifo" if seed == 0 else ("uniform", "priorities", "fifo")[seed % 3]
        self._due = sorted(faults, key=lambda fault: fault.at)[::-1]
        self._act = act
        # By address, together with what lives there, so that no address is used again.
        self._priorities: dict[int, tuple[object, float]] = {}
        self._changes = sorted(self._dice.randrange(max(1, steps)) for _ in range(_CHANGE_POINTS))
        self.unspawnable = 0
        """Tasks that are still to fail when they are made."""

    def create_task(self, coro: Any, *, name: str | None = None, **options: Any) -> Any:
        if self.unspawnable and getattr(coro, "__qualname__", "").endswith("Worker.run"):
            self.unspawnable -= 1
            raise RuntimeError("an injected fault: no task can be made")
        return super().create_task(coro, name=name, **options)

    def _turn(self) -> None:
        while self._posted:
            self._ready.append(self._posted.popleft())
        if not self._ready:
            self._advance()
        handle = self._take()
        if handle.cancelled():
            return
        self.steps += 1
        while self._due and self._due[-1].at <= self.steps:
            fault = self._due.pop()
            if fault.kind == "defer":
                self._put_off(handle, fault)
                return
            if self._act is not None:
                self._act(fault)
        if not handle.cancelled():
            handle._run()

    def _take(self) -> asyncio.Handle:
        ready = self._ready
        if self._order == "fifo" or len(ready) == 1:
            return ready.popleft()
        if self._order == "uniform":
            ready.rotate(-self._dice.randrange(len(ready)))
            return ready.popleft()
        place = max(range(len(ready)), key=lambda index: self._priority(ready[index]))
        if self._changes and self.steps >= self._changes[0]:
            self._changes.pop(0)
            owner = _owner(ready[place])
            self._priorities[id(owner)] = (owner, -self._dice.random())
        ready.rotate(-place)
        return ready.popleft()

    def _priority(self, handle: asyncio.Handle) -> float:
        owner = _owner(handle)
        found = self._priorities.get(id(owner))
        if found is None:
            found = self._priorities[id(owner)] = (owner, self._dice.random())
        return found[1]

    def _put_off(self, handle: asyncio.Handle, fault: InjectedFault) -> None:
        delay = random.Random(f"{fault}|{self._now}").choice((0.0, 1e-4, 0.01, LONGEST_DEFER_S))
        self._timers_set += 1
        again = asyncio.TimerHandle(self._now + delay, self._run_late, (handle,), self)
        heapq.heappush(self._timers, (self._now + delay, self._timers_set, again))

    def _run_late(self, handle: asyncio.Handle) -> None:
        if not handle.cancelled():
            handle._run()


def _owner(handle: asyncio.Handle) -> object:
    """The task that a callback steps; the callback itself for others."""
    callback = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    return owner if isinstance(owner, asyncio.Task) else handle


def pick(options: Sequence[T], fault: InjectedFault, seed: int) -> T | None:
    """One of the options, for this fault; None if there is none."""
    return random.Random(f"{fault}|{seed}").choice(options) if options else None
