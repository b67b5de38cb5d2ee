"""What every model client looks like from above, whatever its wire format.

Decides the shape of a call and of its answer. Must not know of HTTP, admission, retries or rows:
a client makes exactly one attempt and raises `ProviderError` when that attempt fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from ddsched_nb.core.model import Quota, Usage

__all__ = [
    "ChatRequest",
    "Completion",
    "EmbeddingRequest",
    "Embeddings",
    "Image",
    "ImageRequest",
    "Images",
    "Message",
    "ModelClient",
]

Message = dict[str, Any]
"""One chat message: `{"role": ..., "content": ...}` and whatever else the endpoint takes."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat call.

    Attributes:
        model: The id the endpoint knows the model by (not the pipeline's alias).
        messages: The conversation, oldest first. Kept out of the repr: it is user data.
        params: Further fields of the request body, such as `temperature` or `max_tokens`.
    """

    model: str
    messages: tuple[Message, ...] = field(repr=False)
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer to one chat call.

    Attributes:
        text: What the model wrote. Kept out of the repr: it is user data.
        usage: Tokens, as the endpoint counted them; zeros where it did not say.
        finish_reason: Why the model stopped (`stop`, `length`, ...), if it said so.
        model: The model id that answered.
        quotas: What the endpoint said of its quotas per minute.
    """

    text: str = field(repr=False)
    usage: Usage = field(default_factory=Usage)
    finish_reason: str | None = None
    model: str = ""
    quotas: tuple[Quota, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """One call that embeds several texts.

    Attributes:
        model: The id the endpoint knows the model by.
        inputs: The texts, in order. Kept out of the repr: they are user data.
        params: Further fields of the request body, such as `dimensions`.
    """

    model: str
    inputs: tuple[str, ...] = field(repr=False)
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The answer to one embedding call.

    Attributes:
        vectors: One vector a text, in the order of the texts. Kept out of the repr.
        usage: Tokens, as the endpoint counted them; zeros where it did not say.
        model: The model id that answered.
        quotas: What the endpoint said of its quotas per minute.
    """

    vectors: tuple[tuple[float, ...], ...] = field(repr=False)
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    quotas: tuple[Quota, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One call that has images made.

    Attributes:
        model: The id the endpoint knows the model by.
        prompt: What they should show. Kept out of the repr: it is user data.
        params: Further fields of the request body, such as `size` or `n`.
    """

    model: str
    prompt: str = field(repr=False)
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its bytes, or where the endpoint put it."""

    data: bytes | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Images:
    """The answer to one image call.

    Attributes:
        images: What was made. Kept out of the repr.
        usage: Tokens, as the endpoint counted them; zeros where it did not say.
        model: The model id that answered.
        quotas: What the endpoint said of its quotas per minute.
    """

    images: tuple[Image, ...] = field(repr=False)
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    quotas: tuple[Quota, ...] = field(default=(), repr=False)


@runtime_checkable
class ModelClient(Protocol):
    """One endpoint. A call is one outbound attempt: retries belong to the executor above."""

    async def chat(self, request: ChatRequest) -> Completion:
        """Makes one attempt.

        Raises:
            ProviderError: The attempt failed; says whether trying again can help.
        """
        ...

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Makes one attempt to embed texts; raises as `chat` does."""
        ...

    async def image(self, request: ImageRequest) -> Images:
        """Makes one attempt to have images made; raises as `chat` does."""
        ...

    async def models(self) -> tuple[str, ...]:
        """Ids of the models that the endpoint lists; raises as `chat` does."""
        ...

    async def close(self) -> None:
        """Gives connections back. May be called more than once, and before any call."""
        ...
