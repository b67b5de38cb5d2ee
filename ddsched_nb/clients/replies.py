"""What the embedded and the simulated endpoint answer, in each domain.

Decides what is written for a request; all of it is a function of profile and request. Must not know
of load, faults, time or HTTP.
"""

from __future__ import annotations

import base64

from ddsched_nb.clients.pictures import LARGEST, draw, read_size
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.clients.vectors import embed
from ddsched_nb.clients.wire import (
    AnswerMessage,
    ChatAnswer,
    ChatBody,
    Choice,
    EmbeddingAnswer,
    EmbeddingBody,
    EmbeddingEntry,
    ImageAnswer,
    ImageBody,
    ImageEntry,
    ImageTokenCounts,
    TokenCounts,
    read_text,
)
from ddsched_nb.clients.writer import count_tokens, write

__all__ = ["Body", "Reply", "complaint", "key_of", "reply", "tokens_of"]

Body = ChatBody | EmbeddingBody | ImageBody
Reply = ChatAnswer | EmbeddingAnswer | ImageAnswer

_MAX_INPUTS = 2_048
_MAX_IMAGES = 4
_MAX_DIMENSIONS = 4_096


def key_of(body: Body) -> str:
    """What decides about latency, faults and answer of a request."""
    if isinstance(body, ChatBody):
        return "\n".join(f"{m.role}: {read_text(m.content)}" for m in body.messages)
    return "\n".join(_inputs(body)) if isinstance(body, EmbeddingBody) else body.prompt


def complaint(body: Body) -> str:
    """What is wrong with a request; empty if it can be served."""
    if isinstance(body, ChatBody):
        return ""
    if isinstance(body, ImageBody):
        if read_size(body.size) is None:
            return f"size must be WIDTHxHEIGHT, each from 1 to {LARGEST}"
        fits = body.n is None or 1 <= body.n <= _MAX_IMAGES
        return "" if fits else f"n must be from 1 to {_MAX_IMAGES}"
    if not 1 <= len(_inputs(body)) <= _MAX_INPUTS:
        return f"input must be 1 to {_MAX_INPUTS} texts"
    fits = body.dimensions is None or 1 <= body.dimensions <= _MAX_DIMENSIONS
    return "" if fits else f"dimensions must be from 1 to {_MAX_DIMENSIONS}"


def reply(profile: EndpointProfile, body: Body, *, off_schema: bool = False) -> Reply:
    """The answer to a request; in prose whatever format was asked for if `off_schema`."""
    if isinstance(body, ChatBody):
        return _chat(profile, body, off_schema=off_schema)
    return _vectors(profile, body) if isinstance(body, EmbeddingBody) else _images(profile, body)


def tokens_of(answer: Reply) -> tuple[int, int]:
    """Tokens of the prompt and of the answer."""
    counts = answer.usage
    if counts is None:
        return 0, 0
    if isinstance(counts, ImageTokenCounts):
        return counts.input_tokens or 0, counts.output_tokens or 0
    return counts.prompt_tokens or 0, counts.completion_tokens or 0


def _chat(profile: EndpointProfile, body: ChatBody, *, off_schema: bool) -> ChatAnswer:
    asked = next((m for m in reversed(body.messages) if m.role == "user"), None)
    words = None if asked is None else read_text(asked.content)
    written = write(
        key_of(body),
        model=profile.model,
        seed=profile.seed,
        asked=f"about {profile.model}" if off_schema else words,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        response_format=None if off_schema else body.response_format,
    )
    prompt_tokens, completion_tokens = written.prompt_tokens, written.completion_tokens
    return ChatAnswer(
        choices=[Choice(AnswerMessage(written.text), written.finish_reason)],
        usage=TokenCounts(prompt_tokens, completion_tokens, prompt_tokens + completion_tokens),
        model=profile.model,
        id=f"chatcmpl-{written.number:016x}",
        object="chat.completion",
        created=0,  # a date would make two runs differ
    )


def _vectors(profile: EndpointProfile, body: EmbeddingBody) -> EmbeddingAnswer:
    dimensions, texts = body.dimensions or profile.dimensions, _inputs(body)
    tokens = sum(map(count_tokens, texts))
    entries = [
        EmbeddingEntry(embed(text, dimensions=dimensions, seed=profile.seed), index)
        for index, text in enumerate(texts)
    ]
    counts = TokenCounts(tokens, 0, tokens)
    return EmbeddingAnswer(entries, counts, profile.model, "list")


def _images(profile: EndpointProfile, body: ImageBody) -> ImageAnswer:
    width, height = read_size(body.size) or (64, 64)
    keys = [f"{profile.seed}|{profile.model}|{n}|{body.prompt}" for n in range(body.n or 1)]
    made = [base64.b64encode(draw(key, width, height)).decode() for key in keys]
    counts = ImageTokenCounts(count_tokens(body.prompt), 0)
    return ImageAnswer([ImageEntry(image) for image in made], counts, 0)


def _inputs(body: EmbeddingBody) -> list[str]:
    return [body.input] if isinstance(body.input, str) else body.input
