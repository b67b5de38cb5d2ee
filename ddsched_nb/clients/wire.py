"""The JSON of OpenAI's interface, as typed structs: what is read and written, no more.

Decides field names and how tolerant reading is: unknown fields are ignored, and what some servers
leave out or send as null has a default. Must not know of HTTP or of what the fields are used for.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "AnswerMessage",
    "ChatAnswer",
    "ChatBody",
    "Choice",
    "EmbeddingAnswer",
    "EmbeddingBody",
    "EmbeddingEntry",
    "ErrorAnswer",
    "ErrorBody",
    "ImageAnswer",
    "ImageBody",
    "ImageEntry",
    "ImageTokenCounts",
    "ModelEntry",
    "ModelList",
    "Part",
    "TokenCounts",
    "WireMessage",
    "read_text",
]


class Part(msgspec.Struct, omit_defaults=True):
    """One part of a message that is a list of parts; only text is read."""

    type: str = "text"
    text: str | None = None


Content = str | list[Part] | None


class WireMessage(msgspec.Struct):
    """A message of a request."""

    role: str
    content: Content = None


class ChatBody(msgspec.Struct):
    """A request for a chat completion: the fields that the embedded endpoint heeds."""

    model: str
    messages: list[WireMessage]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    response_format: dict[str, Any] | None = None
    stream: bool | None = None


class EmbeddingBody(msgspec.Struct):
    """A request for embeddings: the fields that the embedded endpoint heeds."""

    model: str
    input: str | list[str]
    dimensions: int | None = None


class ImageBody(msgspec.Struct):
    """A request for images: the fields that the embedded endpoint heeds."""

    model: str
    prompt: str
    n: int | None = None
    size: str | None = None


class AnswerMessage(msgspec.Struct):
    """The message inside a choice."""

    content: Content = None
    role: str | None = "assistant"


class Choice(msgspec.Struct):
    """One of the answers to a request."""

    message: AnswerMessage
    finish_reason: str | None = None
    index: int = 0


class TokenCounts(msgspec.Struct):
    """What the provider counted."""

    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    total_tokens: int | None = 0


class ErrorBody(msgspec.Struct):
    """What an OpenAI-shaped error says."""

    message: str
    type: str
    code: str | None = None
    param: str | None = None


class ErrorAnswer(msgspec.Struct):
    """An OpenAI-shaped error."""

    error: ErrorBody


class ChatAnswer(msgspec.Struct, omit_defaults=True):
    """A chat completion. `error` is there because some gateways send errors with status 200."""

    choices: list[Choice] = []
    usage: TokenCounts | None = None
    model: str | None = None
    id: str | None = None
    object: str | None = None
    created: int | None = None
    error: Any = None


class EmbeddingEntry(msgspec.Struct):
    """One vector, and which of the inputs it is of."""

    embedding: list[float]
    index: int = 0
    object: str | None = "embedding"


class EmbeddingAnswer(msgspec.Struct, omit_defaults=True):
    """The answer to a request for embeddings."""

    data: list[EmbeddingEntry] = []
    usage: TokenCounts | None = None
    model: str | None = None
    object: str | None = None
    error: Any = None


class ImageEntry(msgspec.Struct, omit_defaults=True):
    """One image: itself in base 64, or where it is."""

    b64_json: str | None = None
    url: str | None = None


class ImageTokenCounts(msgspec.Struct):
    """What a provider of images counted; they name it otherwise than for text."""

    input_tokens: int | None = 0
    output_tokens: int | None = 0


class ImageAnswer(msgspec.Struct, omit_defaults=True):
    """The answer to a request for images."""

    data: list[ImageEntry] = []
    usage: ImageTokenCounts | None = None
    created: int | None = None
    error: Any = None


class ModelEntry(msgspec.Struct):
    """One model of `GET /v1/models`."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "ddsched-nb"


class ModelList(msgspec.Struct):
    """The answer to `GET /v1/models`."""

    data: list[ModelEntry]
    object: str = "list"


def read_text(content: Content) -> str:
    """Returns the text of a message, whichever way it was sent."""
    if isinstance(content, str):
        return content
    return "".join(part.text or "" for part in content) if content else ""
