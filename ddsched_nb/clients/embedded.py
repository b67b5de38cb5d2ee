"""An OpenAI-compatible endpoint inside the package: real HTTP, on loopback only.

Decides where the service listens and on which loop: a thread of its own (`with`, `start`), or the
running loop (`async with`, `serve_forever`). Must not know what is answered.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import ipaddress
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from aiohttp import web

from ddsched_nb.clients.load import EndpointStatistics
from ddsched_nb.clients.profile import DEFAULT_PROFILES, EndpointProfile
from ddsched_nb.clients.service import EndpointService
from ddsched_nb.errors import ConfigError

__all__ = ["EmbeddedEndpoint", "checked_host", "checked_port"]

_BACKLOG = 1024
_SHUTDOWN_TIMEOUT_S = 0.01  # 0 would mean: wait for ever
_START_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 10.0

T = TypeVar("T")


class EmbeddedEndpoint:
    """A small endpoint for people without a key, and the real part in tests.

    It refuses above each model's capacity with 429 and Retry-After, takes its time as the profile
    says, and answers with text that is a function of the prompt. `with EmbeddedEndpoint() as
    endpoint:` runs it in a thread of its own; in a notebook, `endpoint.start()`.

    Args:
        profiles: The models it serves; by default a roomy one and a narrow one.
        host: A loopback address: the endpoint asks nobody for a key.
        port: 0 takes any free port.

    Raises:
        ConfigError: Two profiles name one model, there is none, or the address is not loopback.
    """

    def __init__(
        self,
        profiles: Sequence[EndpointProfile] = DEFAULT_PROFILES,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.profiles = _checked_profiles(profiles)
        self._host = checked_host(host)
        self._port = checked_port(port)
        self._bound_port: int | None = None
        self._service = EndpointService(self.profiles)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: web.ServerRunner | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Future[None] | None = None
        self._last_statistics = self._service.statistics(0.0)

    def __repr__(self) -> str:
        # Without the port, which differs from run to run: notebooks compare what they show.
        models = ", ".join(f"{p.model} (capacity {p.capacity})" for p in self.profiles)
        return f"<EmbeddedEndpoint {'running' if self.running else 'stopped'}: {models}>"

    @property
    def running(self) -> bool:
        """Whether it accepts requests."""
        return self._bound_port is not None

    @property
    def base_url(self) -> str:
        """Where the API lives: what a client takes as `base_url`.

        Raises:
            ConfigError: The endpoint is not running.
        """
        return f"{self._address()}/v1"

    def start(self) -> Self:
        """Starts it in a daemon thread; it accepts requests when this returns.

        Raises:
            ConfigError: The port is taken.
        """
        if self._thread is not None:
            return self
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        thread = threading.Thread(
            target=self._run_thread, args=(ready,), name="ddsched-nb-endpoint", daemon=True
        )
        thread.start()
        try:
            ready.result(_START_TIMEOUT_S)
        except ConfigError:
            thread.join()
            raise
        self._thread = thread
        return self

    def stop(self) -> None:
        """Stops it; requests in flight are cut off. Does nothing where it is not started."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._ask_to_stop)
        thread.join()

    def stats(self) -> EndpointStatistics:
        """What it went through since start or reset; after the end, as it was then."""
        return self._on_loop(self._statistics) if self.running else self._last_statistics

    def reset(self) -> None:
        """Forgets all counts; scripted steps start again with the next request."""
        if self.running:
            self._on_loop(self._service.reset)
        else:
            self._service.reset()
            self._last_statistics = self._service.statistics(0.0)

    async def serve_forever(self, ready: Callable[[], None] | None = None) -> None:
        """Serves on the running loop until cancelled.

        Args:
            ready: Called once it accepts requests.

        Raises:
            ConfigError: The port is taken.
        """
        async with self:
            if ready is not None:
                ready()
            assert self._stop is not None
            await self._stop

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _open(self) -> None:
        if self.running:
            raise ConfigError("the endpoint is already running; stop it first, or make another")
        # handler_cancellation: a caller that hangs up gives its slot back at once.
        server = web.Server(self._service.handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_TIMEOUT_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, backlog=_BACKLOG).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(
                f"cannot listen on {self._host} port {self._port} ({error.strerror}); "
                "choose another port, or 0 for any free one"
            ) from error
        self._runner, self._loop = runner, asyncio.get_running_loop()
        self._stop = self._loop.create_future()
        self._bound_port = runner.addresses[0][1]

    async def _close(self) -> None:
        runner, self._runner = self._runner, None
        if runner is None:
            return
        self._last_statistics = self._statistics()
        self._bound_port = None
        await runner.cleanup()

    def _run_thread(self, ready: concurrent.futures.Future[None]) -> None:
        # Not asyncio.run: nest-asyncio replaces it by one that wants a loop of the thread.
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self.serve_forever(ready=lambda: ready.set_result(None)))
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)
        finally:
            loop.close()

    def _ask_to_stop(self) -> None:
        if self._stop is not None and not self._stop.done():
            self._stop.set_result(None)

    def _statistics(self) -> EndpointStatistics:
        assert self._loop is not None
        return self._service.statistics(self._loop.time())

    def _on_loop(self, function: Callable[[], T]) -> T:
        """Calls where nothing else touches the service meanwhile."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):
            if asyncio.get_running_loop() is self._loop:
                return function()
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._loop.call_soon_threadsafe(lambda: answer.set_result(function()))
        return answer.result(_ANSWER_TIMEOUT_S)

    def _address(self) -> str:
        if self._bound_port is None:
            raise ConfigError(
                "the endpoint is not running; call start(), or use it in a `with` block"
            )
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._bound_port}"


def _checked_profiles(profiles: Sequence[EndpointProfile]) -> tuple[EndpointProfile, ...]:
    names = [profile.model for profile in profiles]
    if not names:
        raise ConfigError("profiles is empty; give at least one EndpointProfile")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"profiles name model {name!r} twice; give each its own id")
    return tuple(profiles)


def checked_host(host: str) -> str:
    """A loopback address.

    Raises:
        ConfigError: It is none.
    """
    if host == "localhost":
        return "127.0.0.1"
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return host
    raise ConfigError(
        f"host={host!r} is not a loopback address; the endpoint asks nobody for a key, so it "
        "listens on 127.0.0.1 or ::1 only"
    )


def checked_port(port: object) -> int:
    """The number of a port.

    Raises:
        ConfigError: It is none.
    """
    if not (isinstance(port, int) and 0 <= port <= 65_535):
        raise ConfigError(f"port={port!r} must be a whole number in 0..65535; 0 is any free port")
    return port
