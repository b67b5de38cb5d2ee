"""One account at a provider on a running loop: request admission, its futures and its timer.

Every input (acquire, cancel, release, timer) ends in one turn: ask the core, hand permits over,
re-arm the timer. Releases that wake somebody share one: all that come in one step of the loop are
given back at once, and handed over in its next. It has no opinion about who is granted. Runs that
use the same account share it, since one quota is one quota: each is a client, told of its own
permits and of what changes for all.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
from typing import Protocol
from weakref import ref

from ddsched_nb.core.model import Outcome, OutcomeKind, Permit, PoolKey, ReleaseStatus
from ddsched_nb.core.pool_facts import Change, Turn
from ddsched_nb.core.request_admission import RequestAdmission
from ddsched_nb.errors import ConfigError, QueueTimeout

CANCELLED = Outcome(OutcomeKind.LOCAL_CANCELLED)
_RELEASED = ReleaseStatus.RELEASED


class Client(Protocol):
    """Who uses an account: told of what was decided, after it was done."""

    def granted(self, permit: Permit) -> None:
        """A permit went to one of its waiters."""
        ...

    def released(self, permit: Permit, outcome: Outcome, status: ReleaseStatus, now: float) -> None:
        """A permit of its own came back."""
        ...

    def changed(self, change: Change, now: float) -> None:
        """A limit moved, or a pool stopped or went on."""
        ...

    def joined(self, clients: int, now: float) -> None:
        """Others share the account from now on; there are so many clients."""
        ...


class Account:
    """Request admission of one account, for the clients of one loop.

    Args:
        admission: The pure core; a fresh one by default.
    """

    def __init__(self, admission: RequestAdmission | None = None) -> None:
        self.admission = admission or RequestAdmission()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._futures: dict[int, tuple[asyncio.Future[Permit], int]] = {}
        # Weak, so that a run that was never started leaves by itself.
        self._clients: dict[int, ref[Client]] = {}
        self._holders: dict[int, int] = {}
        self._caps: dict[PoolKey, dict[int, tuple[int, int]]] = {}
        self._ids = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        # The turn that the loop takes in its next step, and how many came back that wait for it.
        self._pending: asyncio.Handle | None = None
        self._freed = 0

    @property
    def clients(self) -> int:
        """How many use it."""
        return len(self._present())

    def running_loop(self) -> asyncio.AbstractEventLoop:
        """Its loop; that of the first use."""
        if self.loop is None:
            self.loop = asyncio.get_running_loop()
        return self.loop

    def now(self) -> float:
        """The time on its loop."""
        return self.running_loop().time()

    def join(self, client: Client) -> int:
        """Takes a client in; returns its id."""
        number = next(self._ids)
        self._clients[number] = ref(client)
        present = self._present()
        if len(present) > 1:
            now = self.now()
            for each in present:
                each.joined(len(present), now)
        return number

    def leave(self, client: int) -> None:
        """Lets a client go; caps that it asked for go with it."""
        self._clients.pop(client, None)
        for pool, caps in self._caps.items():
            if caps.pop(client, None) is not None and caps:
                self._apply_caps(pool)

    def ask_caps(self, client: int, pool: PoolKey, cap: int, aggregate_cap: int) -> None:
        """Notes what a client allows; the least of all clients' holds."""
        first = pool not in self._caps
        asked = {n: caps for n, caps in self._caps.get(pool, {}).items() if self._client(n)}
        self._caps[pool] = {**asked, client: (cap, aggregate_cap)}
        if not first:
            self._apply_caps(pool)

    def wait(self, client: int, waiter: int) -> asyncio.Future[Permit]:
        """The future of a waiter that was just enqueued."""
        future: asyncio.Future[Permit] = (self.loop or self.running_loop()).create_future()
        self._futures[waiter] = (future, client)
        return future

    def came(self, pool: PoolKey, now: float) -> None:
        """The turn for a waiter of a pool; none where it stands behind all whom one will serve."""
        if not self._freed or self.admission.waiters(pool) <= self._freed:
            self.turn(now)

    def abandon(self, waiter: int, future: asyncio.Future[Permit]) -> None:
        """The waiting coroutine cannot go on: no place and no permit may remain."""
        self._futures.pop(waiter, None)
        now = self.now()
        if future.done() and not future.cancelled() and future.exception() is None:
            self.release(future.result(), CANCELLED, now)
        elif self.admission.cancel(waiter, now) and self._pending is None:
            self.turn(now)

    def release(self, permit: Permit, outcome: Outcome, now: float) -> ReleaseStatus:
        """Gives a permit back with how its call ended; a bad release credits nothing."""
        try:
            return self._give_back(permit, outcome, now)
        finally:
            if not self.admission.may_wait(permit.pool):
                self._turn(now)
            else:
                self._freed += 1
                if self._pending is None:
                    self._pending = self.running_loop().call_soon(self._on_pending)

    def dismiss(self, client: int, error: Exception) -> None:
        """Ends the waiting of all of a client's waiters with an error."""
        now = self.now()
        for waiter, (future, owner) in list(self._futures.items()):
            if owner == client:
                del self._futures[waiter]
                self.admission.cancel(waiter, now)
                if not future.done():
                    future.set_exception(error)
        self.turn(now)

    def turn(self, now: float) -> None:
        """Asks the core, and does what it says; nothing where it would say nothing."""
        if not self.admission.settled(now, self._timer_at):
            self._turn(now)

    def _on_pending(self) -> None:
        self._pending = None
        self.turn(self.now())

    def _turn(self, now: float) -> None:
        self._freed = 0
        # A permit given back may go to a waiter that was cancelled too: a loop, not a recursion,
        # since as many as wait may be cancelled at once.
        while orphans := self._hand_over(self.admission.advance(now), now):
            for permit in orphans:
                self._give_back(permit, CANCELLED, now)

    def _give_back(self, permit: Permit, outcome: Outcome, now: float) -> ReleaseStatus:
        status = _RELEASED  # also where a limit of one's own raises: the core has it back by then
        try:
            status = self.admission.release(permit, outcome, now)
        finally:
            if status is _RELEASED:
                client = self._client(self._holders.pop(permit.permit_id))
                if client is not None:
                    client.released(permit, outcome, status, now)
        return status

    def _hand_over(self, turn: Turn, now: float) -> list[Permit]:
        """Wakes whom a turn names, then tells of it; gives the permits that nobody waits for."""
        if not (turn.granted or turn.expired or turn.changes):
            self._arm(turn.next_deadline)
            return []
        orphans, owners = [], []
        futures, holders = self._futures, self._holders
        for waiter, permit in turn.granted:
            future, owner = futures.pop(waiter)
            holders[permit.permit_id] = owner
            owners.append(owner)
            if future.done():
                # Its coroutine was cancelled, and has not run since to take the waiter out.
                orphans.append(permit)
            else:
                future.set_result(permit)
        for waiter in turn.expired:
            future, _ = futures.pop(waiter)
            if not future.done():
                future.set_exception(
                    QueueTimeout("no permit within the timeout; the provider was not asked")
                )
        self._arm(turn.next_deadline)
        told, client = -1, None
        for owner, (_, permit) in zip(owners, turn.granted, strict=True):
            if owner != told:
                told, client = owner, self._client(owner)
            if client is not None:
                client.granted(permit)
        for change in turn.changes:
            for each in self._present():
                each.changed(change, now)
        return orphans

    def _client(self, number: int) -> Client | None:
        found = self._clients.get(number)
        return None if found is None else found()

    def _present(self) -> list[Client]:
        found = [each() for each in list(self._clients.values())]
        return [client for client in found if client is not None]

    def _apply_caps(self, pool: PoolKey) -> None:
        asked = self._caps[pool].values()
        cap, aggregate = min(cap for cap, _ in asked), min(total for _, total in asked)
        now = self.now()
        self.admission.set_caps(pool, now, cap=cap, aggregate_cap=aggregate)
        self.turn(now)

    def put_limit(self, pool: PoolKey, value: int) -> None:
        """Puts the limit of a pool at a value."""
        now = self.now()
        change = self.admission.set_limit(pool, value, now)
        # Told first: a record must say what was asked before it says what that granted.
        for each in self._present():
            each.changed(change, now)
        self.turn(now)

    def _arm(self, deadline: float) -> None:
        if deadline == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = deadline
        if deadline < math.inf:
            self._timer = self.running_loop().call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        # asyncio may fire a clock tick early; then the core would say "not yet" and we would spin.
        now = max(self._timer_at, self.now())
        self._timer, self._timer_at = None, math.inf
        self.turn(now)


_lock = threading.Lock()
_shared: dict[str, Account] = {}


def shared_account(key: str, named: str) -> Account:
    """The account that all runs of the running loop share.

    Args:
        key: What tells accounts apart: an address and the digest of a key.
        named: How it is called in messages.

    Raises:
        ConfigError: A run on another loop uses it now.
    """
    loop = asyncio.get_running_loop()
    if getattr(loop, "is_virtual", False):
        return Account()  # what happens in virtual time concerns nobody else
    with _lock:
        for known, account in list(_shared.items()):
            if not account.clients or (account.loop is not None and account.loop.is_closed()):
                del _shared[known]
        found = _shared.get(key)
        if found is None:
            found = _shared[key] = Account()
            found.loop = loop
        elif found.loop is not loop:
            raise ConfigError(
                f"account {named} is used by a run on another event loop of this process, and one "
                "quota is one quota: start both on one loop, or give "
                "RunConfig(share_limits=False) to let them compete"
            )
        return found
