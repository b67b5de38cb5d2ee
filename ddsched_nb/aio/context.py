"""The context of a running task: the way a generator calls models.

A generator may make zero to many calls; each passes request admission on its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ddsched_nb.aio.executor import ModelExecutor
from ddsched_nb.clients.base import ChatRequest, Completion, Message, ModelClient
from ddsched_nb.core.model import PoolKey, ReadyTask
from ddsched_nb.errors import ConfigError


class ModelBinding(NamedTuple):
    """An alias, bound: which client, which model id, which pool, which defaults."""

    client: ModelClient
    model_id: str
    pool: PoolKey
    system: str | None
    params: Mapping[str, Any]


class CallContext:
    """What a generator gets to call models with.

    Args:
        ready: The task it serves.
        models: The models its column declared, by alias.
        executor: Sends the calls.
    """

    __slots__ = ("_executor", "_models", "_ready")

    def __init__(
        self, ready: ReadyTask, models: Mapping[str, ModelBinding], executor: ModelExecutor
    ) -> None:
        self._ready = ready
        self._models = models
        self._executor = executor

    def __repr__(self) -> str:
        return f"<CallContext of {self._ready.task_id}>"

    @property
    def row(self) -> int | None:
        """Number of the row, counted from 0; None in a generator of whole groups."""
        return self._ready.task.row

    async def chat(
        self,
        model: str,
        prompt: str | Sequence[Message],
        *,
        system: str | None = None,
        **params: Any,
    ) -> Completion:
        """Asks a chat model.

        Args:
            model: Alias of a model that the column declared.
            prompt: The user's message, or a whole conversation.
            system: System message; the model's own if None.
            params: Parameters of the request (`temperature`, `max_tokens`, ...), over the model's.

        Raises:
            ConfigError: The column did not declare the model.
            ProviderError: The call failed and is not to be tried again here.
        """
        binding = self._binding(model)
        messages = _messages(prompt, binding.system if system is None else system)
        request = ChatRequest(binding.model_id, messages, {**binding.params, **params})
        return await self._executor.call(
            binding.pool,
            lambda: binding.client.chat(request),
            flow=self._ready.flow.key,
            weight=self._ready.flow.weight,
            task_id=self._ready.task_id,
        )

    def _binding(self, alias: str) -> ModelBinding:
        binding = self._models.get(alias)
        if binding is None:
            declared = ", ".join(self._models) or "none"
            raise ConfigError(
                f"column {self._ready.task.column!r} calls model {alias!r}, which is not among "
                f"the models it declares ({declared}); add it to models=[...]"
            )
        return binding


def _messages(prompt: str | Sequence[Message], system: str | None) -> tuple[Message, ...]:
    if not isinstance(prompt, str):
        return tuple(prompt)
    user: Message = {"role": "user", "content": prompt}
    return (user,) if system is None else ({"role": "system", "content": system}, user)
