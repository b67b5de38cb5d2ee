"""The context of a running task: the way a generator calls models.

A generator may make zero to many calls; each passes request admission on its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ddsched_nb.aio.executor import Answer, ModelExecutor
from ddsched_nb.aio.parsing import (
    PARSE_ATTEMPTS,
    Parse,
    Parser,
    correction,
    make_parser,
    what_failed,
)
from ddsched_nb.aio.seats import Seat
from ddsched_nb.aio.usage import UsageLedger
from ddsched_nb.clients.base import (
    ChatRequest,
    Completion,
    EmbeddingRequest,
    Embeddings,
    ImageRequest,
    Images,
    Message,
    ModelClient,
)
from ddsched_nb.core.model import Domain, PoolKey, ReadyTask
from ddsched_nb.errors import AnswerDidNotParse, ConfigError

A = TypeVar("A", bound=Answer)
_CHARACTERS_A_TOKEN = 4.0


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
        usage: Counts what they used.
        seat: What the task gives back while all its calls wait; nothing if None.
    """

    __slots__ = ("_executor", "_models", "_ready", "_seat", "_usage")

    def __init__(
        self,
        ready: ReadyTask,
        models: Mapping[str, ModelBinding],
        executor: ModelExecutor,
        usage: UsageLedger,
        seat: Seat | None = None,
    ) -> None:
        self._ready = ready
        self._seat = seat
        self._models = models
        self._executor = executor
        self._usage = usage

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
            ConfigError: The column did not declare the model, or it is not a chat model.
            ProviderError: The call failed and is not to be tried again here.
        """
        binding = self._binding(model, "chat")
        messages = _messages(prompt, binding.system if system is None else system)
        request = ChatRequest(binding.model_id, messages, {**binding.params, **params})
        tokens = sum(_tokens(message.get("content")) for message in messages)
        answer = await self._call(binding, lambda: binding.client.chat(request), tokens)
        self._usage.add(self._ready.task.column, model, answer.usage)
        return answer

    async def ask(
        self,
        model: str,
        prompt: str | Sequence[Message],
        *,
        parse: Parse,
        attempts: int = PARSE_ATTEMPTS,
        system: str | None = None,
        **params: Any,
    ) -> Any:
        """Asks a chat model for an answer that parses; asks again while it does not.

        The model is told what was wrong with its last answer. Each attempt is a call of its own,
        with its own permit.

        Args:
            model: Alias of a model that the column declared.
            prompt: The user's message, or a whole conversation.
            parse: A pydantic model, or a function of the text that raises ValueError.
            attempts: Answers to ask for at the most, at least 1.
            system: System message; the model's own if None.
            params: Parameters of the request, over the model's.

        Returns:
            What `parse` made: an instance of the pydantic model, or what the function returned.

        Raises:
            AnswerDidNotParse: None of the answers parsed. It drops the row unless it is caught.
            ConfigError: The column did not declare the model, or `parse` is neither.
            ProviderError: A call failed and is not to be tried again here.
        """
        parser = make_parser("parse", parse)
        return await self.ask_parsed(model, prompt, parser, attempts, system=system, params=params)

    async def ask_parsed(
        self,
        model: str,
        prompt: str | Sequence[Message],
        parser: Parser,
        attempts: int,
        *,
        system: str | None,
        params: Mapping[str, Any],
    ) -> Any:
        """As `ask`, with a parser that was made before."""
        binding = self._binding(model, "chat")
        messages = _messages(prompt, binding.system if system is None else system)
        for attempt in range(1, attempts + 1):
            answer = await self.chat(model, messages, **{**parser.params, **params})
            if attempt > 1:
                self._usage.asked_again(self._ready.task.column, model)
            try:
                return parser.read(answer.text)
            except ValueError as error:
                failed, cut = what_failed(error), answer.finish_reason == "length"
                told: tuple[Message, ...] = (
                    {"role": "assistant", "content": answer.text},
                    {"role": "user", "content": correction(error)},
                )
            messages = (*messages, *told)
        hint = "; the last was cut off at max_tokens" if cut else ""
        # Not chained: the error holds the answer.
        raise AnswerDidNotParse(f"no answer of {attempts} parsed (last: {failed}{hint})")

    async def embed(self, model: str, texts: Sequence[str], **params: Any) -> Embeddings:
        """Embeds texts, all in one request.

        Args:
            model: Alias of an embedding model that the column declared.
            texts: The texts, in order.
            params: Parameters of the request (`dimensions`, ...), over the model's.

        Raises:
            ConfigError: The column did not declare the model, or it is no embedding model.
            ProviderError: The call failed and is not to be tried again here.
        """
        binding = self._binding(model, "embedding")
        request = EmbeddingRequest(binding.model_id, tuple(texts), {**binding.params, **params})
        tokens = sum(map(_tokens, texts))
        answer = await self._call(binding, lambda: binding.client.embed(request), tokens)
        self._usage.add(self._ready.task.column, model, answer.usage)
        return answer

    async def image(self, model: str, prompt: str, **params: Any) -> Images:
        """Has images made.

        Args:
            model: Alias of an image model that the column declared.
            prompt: What they should show.
            params: Parameters of the request (`size`, `n`, ...), over the model's.

        Raises:
            ConfigError: The column did not declare the model, or it is no image model.
            ProviderError: The call failed and is not to be tried again here.
        """
        binding = self._binding(model, "image")
        request = ImageRequest(binding.model_id, prompt, {**binding.params, **params})
        answer = await self._call(binding, lambda: binding.client.image(request), _tokens(prompt))
        self._usage.add(self._ready.task.column, model, answer.usage, images=len(answer.images))
        return answer

    async def _call(
        self, binding: ModelBinding, send: Callable[[], Awaitable[A]], tokens: float
    ) -> A:
        return await self._executor.call(
            binding.pool,
            send,
            flow=self._ready.flow.key,
            weight=self._ready.flow.weight,
            tokens=tokens,
            task_id=self._ready.task_id,
            seat=self._seat,
        )

    def _binding(self, alias: str, domain: Domain) -> ModelBinding:
        binding = self._models.get(alias)
        if binding is None:
            declared = ", ".join(self._models) or "none"
            raise ConfigError(
                f"column {self._ready.task.column!r} calls model {alias!r}, which is not among "
                f"the models it declares ({declared}); add it to models=[...]"
            )
        if binding.pool.domain != domain:
            raise ConfigError(
                f"column {self._ready.task.column!r} uses model {alias!r} as {domain} model, which "
                f'is declared with domain="{binding.pool.domain}"; give Model(..., '
                f'domain="{domain}")'
            )
        return binding


def _tokens(text: object) -> float:
    """A guess at the tokens of a text; quotas are set right by what the provider counts."""
    return len(text) / _CHARACTERS_A_TOKEN + 1.0 if isinstance(text, str) else 0.0


def _messages(prompt: str | Sequence[Message], system: str | None) -> tuple[Message, ...]:
    if not isinstance(prompt, str):
        return tuple(prompt)
    user: Message = {"role": "user", "content": prompt}
    return (user,) if system is None else ({"role": "system", "content": system}, user)
