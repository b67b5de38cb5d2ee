"""Waiting for a run from plain code: in a script, in a thread, and in a notebook cell.

The only module that touches nest-asyncio, and only when plain code waits on a loop that runs in its
own thread: there is no other way to block a cell and keep its loop going.
"""

from __future__ import annotations

import asyncio
import concurrent.futures

from ddsched_nb.errors import ConfigError


def wait_here(
    ended: concurrent.futures.Future[None],
    loop: asyncio.AbstractEventLoop | None,
    timeout: float | None,
) -> None:
    """Blocks until `ended`, and keeps `loop` going if it is this thread's own.

    Args:
        ended: Done when the run has ended.
        loop: The run's loop.
        timeout: Seconds to wait at the most; without end if None.

    Raises:
        TimeoutError: `ended` is not done within `timeout`.
        ConfigError: This thread's loop runs, and cannot be entered again.
    """
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        ended.result(timeout)
        return
    if running is not loop or ended.done():
        # Another thread's loop does the work: blocking here hurts nobody but this loop.
        ended.result(timeout)
        return
    _enter_again(running)
    running.run_until_complete(asyncio.wait_for(_follow(ended), timeout))


async def _follow(ended: concurrent.futures.Future[None]) -> None:
    # A short tick: a loop that is otherwise idle notices an interrupt late.
    while not ended.done():  # noqa: ASYNC110
        await asyncio.sleep(0.05)


def _enter_again(loop: asyncio.AbstractEventLoop) -> None:
    import nest_asyncio

    try:
        nest_asyncio.apply(loop)
    except (ValueError, AttributeError, RuntimeError) as error:
        raise ConfigError(
            f"run.wait() cannot block on a running {type(loop).__name__}; write `await run`"
        ) from error
