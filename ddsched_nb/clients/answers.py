"""Reads what an endpoint answered, in each domain: a value, or the `ProviderError` that fits.

Decides what makes an answer usable. Must not know of sessions, requests or retries.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from ddsched_nb.clients.base import Completion, Embeddings, Image, Images
from ddsched_nb.clients.failures import FailureReader
from ddsched_nb.clients.quotas import read_quotas
from ddsched_nb.clients.wire import (
    ChatAnswer,
    EmbeddingAnswer,
    ImageAnswer,
    ImageEntry,
    ModelList,
    TokenCounts,
    read_text,
)
from ddsched_nb.core.model import Usage

__all__ = ["AnswerReader", "Response"]

T = TypeVar("T", ChatAnswer, EmbeddingAnswer, ImageAnswer)


class Response(msgspec.Struct, frozen=True):
    """A response, read to its end."""

    model: str
    status: int
    headers: Mapping[str, str]
    raw: bytes


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """Reads the answers of one provider.

    Attributes:
        failures: Words what cannot be used.
    """

    failures: FailureReader

    def chat(self, response: Response) -> Completion:
        """Reads a chat completion.

        Raises:
            ProviderError: It is none; so with the other kinds.
        """
        answer = self._decode(response, _chat, "not a chat completion")
        if not answer.choices:
            raise self._unusable(response, "no choice in it")
        choice = answer.choices[0]
        text = read_text(choice.message.content)
        model = answer.model or response.model
        return Completion(
            text, _usage(answer.usage), choice.finish_reason, model, read_quotas(response.headers)
        )

    def embeddings(self, response: Response, inputs: int) -> Embeddings:
        """Reads as many vectors as there were inputs, in their order."""
        answer = self._decode(response, _embeddings, "no embeddings")
        entries = sorted(answer.data, key=lambda entry: entry.index)
        if [entry.index for entry in entries] != list(range(inputs)):
            raise self._unusable(response, f"not one embedding for each of {inputs} inputs")
        vectors = tuple(tuple(entry.embedding) for entry in entries)
        model = answer.model or response.model
        return Embeddings(vectors, _usage(answer.usage), model, read_quotas(response.headers))

    def images(self, response: Response) -> Images:
        """Reads at least one image."""
        answer = self._decode(response, _images, "no images")
        if not answer.data:
            raise self._unusable(response, "no image in it")
        images = tuple(self._image(response, entry) for entry in answer.data)
        counts = answer.usage
        usage = Usage()
        if counts is not None:
            usage = Usage(counts.input_tokens or 0, counts.output_tokens or 0)
        return Images(images, usage, response.model, read_quotas(response.headers))

    def models(self, response: Response) -> tuple[str, ...]:
        """Reads the ids of a list of models."""
        self._check_status(response)
        try:
            return tuple(entry.id for entry in _models(response.raw).data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            failure = self._unusable(response, "no list of models")
        raise failure

    def _decode(self, response: Response, decode: msgspec.json.Decoder[T], what: str) -> T:
        self._check_status(response)
        try:
            answer = decode.decode(response.raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            failure = self._unusable(response, what)
        else:
            if not answer.error:
                return answer
            failure = self.failures.of_error_in_answer(
                response.model, response.status, answer.error, response.headers, response.raw
            )
        raise failure  # outside, since the decoder's error may hold the answer

    def _check_status(self, response: Response) -> None:
        model, status = response.model, response.status
        if status >= 300:
            raise self.failures.of_status(model, status, response.headers, response.raw)

    def _image(self, response: Response, entry: ImageEntry) -> Image:
        if entry.b64_json is None:
            if entry.url is None:
                raise self._unusable(response, "neither image nor address in it")
            return Image(url=entry.url)
        try:
            return Image(base64.b64decode(entry.b64_json, validate=True))
        except binascii.Error:
            failure = self._unusable(response, "an image that is not in base 64")
        raise failure

    def _unusable(self, response: Response, what: str) -> Exception:
        return self.failures.of_answer(
            response.model, response.status, what, response.headers, response.raw
        )


_chat = msgspec.json.Decoder(ChatAnswer)
_embeddings = msgspec.json.Decoder(EmbeddingAnswer)
_images = msgspec.json.Decoder(ImageAnswer)
_models = msgspec.json.Decoder(ModelList).decode


def _usage(counts: TokenCounts | None) -> Usage:
    if counts is None:
        return Usage()
    return Usage(counts.prompt_tokens or 0, counts.completion_tokens or 0)
