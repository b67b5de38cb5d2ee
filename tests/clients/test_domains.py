"""Embeddings, images and lists of models: client and embedded endpoint, over real HTTP."""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from typing import Any

import pytest

from ddsched_nb.clients.base import EmbeddingRequest, ImageRequest
from ddsched_nb.clients.embedded import EmbeddedEndpoint
from ddsched_nb.clients.pictures import draw, read_size
from ddsched_nb.clients.profile import EndpointProfile
from ddsched_nb.clients.vectors import embed
from ddsched_nb.core.model import Usage
from ddsched_nb.errors import ConfigError, ProviderError

CHAT = EndpointProfile(model="talks", latency=0.0)
EMBED = EndpointProfile(model="embeds", domain="embedding", latency=0.0, dimensions=32)
DRAW = EndpointProfile(model="draws", domain="image", latency=0.0)
PROFILES = [CHAT, EMBED, DRAW]


def cosine(a: Any, b: Any) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def embedding(*texts: str, **params: Any) -> EmbeddingRequest:
    return EmbeddingRequest("embeds", texts, params)


def png_of(data: bytes) -> tuple[int, int, bytes]:
    """Width, height and pixels of a PNG, with every checksum checked."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(
            name + body
        )
        chunks[name] = body
        at += 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    return width, height, zlib.decompress(chunks[b"IDAT"])


async def test_embeddings_come_in_the_order_of_the_texts(connect) -> None:
    async with EmbeddedEndpoint(PROFILES) as endpoint:
        client = connect(endpoint.base_url)
        answer = await client.embed(embedding("a red car", "the red car", "quantum physics"))
        red, also_red, physics = answer.vectors
        assert len(red) == 32
        assert all(math.isclose(cosine(v, v), 1, abs_tol=1e-6) for v in answer.vectors)
        assert cosine(red, also_red) > 0.5 > cosine(red, physics)
        assert answer.usage == Usage(3 + 3 + 4, 0)
        assert (await client.embed(embedding("a red car"))).vectors[0] == red
        assert len((await client.embed(embedding("x", dimensions=7))).vectors[0]) == 7


async def test_the_order_is_that_of_the_indices(answering, http) -> None:
    data = [{"index": 1, "embedding": [1]}, {"index": 0, "embedding": [0]}]
    client = await answering(http.response(200, json.dumps({"data": data}).encode()))
    assert (await client.embed(embedding("a", "b"))).vectors == ((0.0,), (1.0,))


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": [0]}],
        [{"index": 0, "embedding": [0]}, {"index": 0, "embedding": [1]}],
        [{"index": 0, "embedding": [0]}, {"index": 2, "embedding": [1]}],
    ],
)
async def test_not_one_vector_a_text_is_a_failure_to_try_again(answering, http, data) -> None:
    client = await answering(http.response(200, json.dumps({"data": data}).encode()))
    with pytest.raises(ProviderError, match="not one embedding for each of 2 inputs") as caught:
        await client.embed(embedding("CANARY", "b"))
    assert caught.value.retryable
    assert "CANARY" not in str(caught.value)


async def test_an_image_is_a_png_that_depends_on_its_prompt(connect) -> None:
    async with EmbeddedEndpoint(PROFILES) as endpoint:
        client = connect(endpoint.base_url)
        first = await client.image(ImageRequest("draws", "a car"))
        wide = await client.image(ImageRequest("draws", "a car", {"size": "9x4", "n": 2}))
        other = await client.image(ImageRequest("draws", "a boat"))
        assert png_of(first.images[0].data or b"")[:2] == (64, 64)
        width, height, pixels = png_of(wide.images[0].data or b"")
        assert (width, height, len(pixels)) == (9, 4, 4 * (1 + 9 * 3))
        assert wide.images[0] != wide.images[1]
        assert first.images != other.images
        assert first.usage == Usage(2, 0)


async def test_an_image_may_be_an_address(answering, http) -> None:
    body = json.dumps({"data": [{"url": "https://x/1.png"}], "usage": {"input_tokens": 3}})
    client = await answering(http.response(200, body.encode()))
    answer = await client.image(ImageRequest("m", "a car"))
    assert (answer.images[0].url, answer.images[0].data) == ("https://x/1.png", None)
    assert answer.usage == Usage(3, 0)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "no image in it"),
        ([{}], "neither image nor address"),
        ([{"b64_json": "CANARY!"}], "not in base 64"),
    ],
)
async def test_what_is_no_image_is_said(answering, http, data, said) -> None:
    client = await answering(http.response(200, json.dumps({"data": data}).encode()))
    with pytest.raises(ProviderError, match=said) as caught:
        await client.image(ImageRequest("m", "x"))
    assert "CANARY" not in str(caught.value)


async def test_models_are_listed(connect, answering, http) -> None:
    async with EmbeddedEndpoint(PROFILES) as endpoint:
        assert await connect(endpoint.base_url).models() == ("talks", "embeds", "draws")
    client = await answering(http.response(200, b"[]"))
    with pytest.raises(ProviderError, match="no list of models"):
        await client.models()


@pytest.mark.parametrize("domain", ["embed", "image", "models"])
async def test_a_failure_is_read_the_same_in_every_domain(answering, http, domain) -> None:
    client = await answering(http.response(429, b"{}", Retry_After="3"))
    call = {
        "embed": lambda: client.embed(embedding("x")),
        "image": lambda: client.image(ImageRequest("m", "x")),
        "models": lambda: client.models(),
    }[domain]
    with pytest.raises(ProviderError) as caught:
        await call()
    assert (caught.value.kind, caught.value.retry_after) == ("rate_limited", 3.0)


async def test_a_model_on_the_wrong_route_names_the_right_one(connect, ask) -> None:
    async with EmbeddedEndpoint(PROFILES) as endpoint:
        client = connect(endpoint.base_url)
        with pytest.raises(ProviderError, match="wrong_domain") as caught:
            await client.chat(ask("x", "embeds"))
        assert "/v1/embeddings" in caught.value.detail
        assert not caught.value.retryable


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (EmbeddingRequest("embeds", ()), "input must be 1 to 2048"),
        (EmbeddingRequest("embeds", ("x",) * 2049), "input must be 1 to 2048"),
        (EmbeddingRequest("embeds", ("x",), {"dimensions": 0}), "dimensions must be"),
        (ImageRequest("draws", "x", {"size": "0x5"}), "size must be"),
        (ImageRequest("draws", "x", {"size": "big"}), "size must be"),
        (ImageRequest("draws", "x", {"n": 9}), "n must be"),
    ],
)
async def test_what_is_not_served(connect, request_, said) -> None:
    async with EmbeddedEndpoint(PROFILES) as endpoint:
        client = connect(endpoint.base_url)
        send = client.embed if isinstance(request_, EmbeddingRequest) else client.image
        with pytest.raises(ProviderError) as caught:
            await send(request_)
        assert said in caught.value.detail


@pytest.mark.parametrize(
    "request_",
    [
        EmbeddingRequest("embeds", ("x",), {"input": "y"}),
        EmbeddingRequest("embeds", ("x",), {"extra_body": {"encoding_format": "base64"}}),
        ImageRequest("draws", "x", {"prompt": "y"}),
    ],
)
async def test_params_may_not_take_the_place_of_the_request(connect, request_) -> None:
    client = connect("http://127.0.0.1:9/v1")
    send = client.embed if isinstance(request_, EmbeddingRequest) else client.image
    with pytest.raises(ConfigError, match="a place of its own"):
        await send(request_)


def test_a_text_without_words_has_a_vector_too() -> None:
    for text in ("", "!?", "\ud800"):
        assert math.isclose(cosine(*[embed(text, dimensions=5)] * 2), 1, abs_tol=1e-6)
    assert embed("x", dimensions=1) in ([1.0], [-1.0])


def test_requests_and_answers_show_nothing_of_their_text() -> None:
    shown = repr(embedding("CANARY", user="CANARY")) + repr(ImageRequest("m", "CANARY"))
    assert "CANARY" not in shown


def test_pictures() -> None:
    assert read_size(None) == (64, 64)
    assert read_size("256x1") == (256, 1)
    assert read_size("257x1") is None
    assert png_of(draw("x", 1, 1))[:2] == (1, 1)
    assert base64.b64encode(draw("x", 3, 3)) == base64.b64encode(draw("x", 3, 3))
