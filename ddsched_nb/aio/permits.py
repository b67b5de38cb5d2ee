"""Permits in use, from coroutines and from plain threads.

A thread waits in the same queue as coroutines do: it posts its acquire to the loop that owns the
limiter. Where there is none, the limiter gets a loop in a daemon thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from ddsched_nb.clients.outcomes import classify
from ddsched_nb.clients.quotas import read_quotas
from ddsched_nb.core.model import SUCCESS, Outcome, OutcomeKind, Permit, PoolKey, Usage
from ddsched_nb.errors import ConfigError

CANCELLED = Outcome(OutcomeKind.LOCAL_CANCELLED)


class Holding:
    """A permit for a block: `async with` waits for it, `with` has one already.

    Gives it back once, with how the block ended. A class and not a generator, which would cost as
    much as all the rest of a hand-off.

    Args:
        pool: Where the call goes.
        wait: How it waits, as of `acquire`.
        acquire: Waits for a permit.
        give_back: Takes it with the outcome.

    Attributes:
        permit: The permit, inside the block.
        outcome: How the call ended; set it where an exception does not tell.
    """

    __slots__ = ("_acquire", "_give_back", "_pool", "_wait", "outcome", "permit")

    permit: Permit

    def __init__(
        self,
        pool: PoolKey,
        wait: dict[str, Any],
        acquire: Callable[..., Awaitable[Permit]],
        give_back: Callable[[Permit, Outcome], object],
    ) -> None:
        self._pool = pool
        self._wait = wait
        self._acquire = acquire
        self._give_back = give_back
        self.outcome: Outcome | None = None

    @classmethod
    def of(cls, permit: Permit, give_back: Callable[[Permit, Outcome], object]) -> Holding:
        """Holds a permit that was just granted."""
        made = cls(permit.pool, {}, _nobody_waits, give_back)
        made.permit = permit
        return made

    def answered(
        self, usage: Usage | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Reports an answer: what it used, and what its headers say of quotas per minute.

        Args:
            usage: Tokens, as the provider counted them.
            headers: Response headers, with case-insensitive lookup.
        """
        quotas = () if headers is None else read_quotas(headers)
        self.outcome = Outcome(OutcomeKind.SUCCESS, usage=usage, quotas=quotas)

    async def __aenter__(self) -> Holding:
        self.permit = await self._acquire(self._pool, **self._wait)
        self.outcome = None
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        how = SUCCESS if error is None else classify(error)
        self._give_back(self.permit, self.outcome or how)

    def __enter__(self) -> Holding:
        assert hasattr(self, "permit"), "a block that waits for its permit is `async with`"
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._give_back(self.permit, self.outcome or classify(error))


async def _nobody_waits() -> Permit:
    raise AssertionError("its permit is there already")


def wait_in_thread(
    loop: asyncio.AbstractEventLoop,
    acquire: Callable[[], Coroutine[Any, Any, Permit]],
    give_back: Callable[[Permit, Outcome], object],
) -> Permit:
    """Blocks this thread until the loop of another one has a permit for it.

    Args:
        loop: Who owns the limiter.
        acquire: Makes the coroutine that waits.
        give_back: Takes a permit that nobody waits for any more; called on the loop.

    Raises:
        ConfigError: A loop runs in this thread, which would stand still meanwhile.
        BaseException: What `acquire` raised, or what interrupted the wait; then nothing is held.
    """
    refuse_on_a_loop("acquire_blocking()", "await acquire()")
    got: concurrent.futures.Future[Permit] = concurrent.futures.Future()
    tasks: list[asyncio.Task[None]] = []

    async def wait() -> None:
        try:
            permit = await acquire()
        except BaseException as error:
            if got.set_running_or_notify_cancel():
                got.set_exception(error)
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        if got.set_running_or_notify_cancel():
            got.set_result(permit)
        else:
            give_back(permit, CANCELLED)

    def begin() -> None:
        tasks.append(loop.create_task(wait()))

    def end() -> None:
        for task in tasks:
            task.cancel()

    loop.call_soon_threadsafe(begin)
    try:
        return got.result()
    except BaseException:
        if got.cancel():
            loop.call_soon_threadsafe(end)
        elif got.exception() is None:
            loop.call_soon_threadsafe(give_back, got.result(), CANCELLED)
        raise


def refuse_on_a_loop(what: str, instead: str) -> None:
    """Refuses to block a thread whose event loop runs.

    Raises:
        ConfigError: One does.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigError(
        f"{what} would block the event loop that runs in this thread; write `{instead}`"
    )
