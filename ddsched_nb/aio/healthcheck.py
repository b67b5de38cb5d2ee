"""The preflight: one small call of each model that asked for it, before the first row.

A wrong key, address or model id then fails at once and with one message, instead of row by row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ddsched_nb.aio.context import ModelBinding
from ddsched_nb.aio.executor import Answer, ModelExecutor
from ddsched_nb.clients.base import ChatRequest, EmbeddingRequest
from ddsched_nb.core.model import PoolKey, Quota, Usage
from ddsched_nb.errors import AccessDenied, HealthcheckFailed, ProviderError, RunStalled

_QUESTION = "Reply with OK."


class _Listed(NamedTuple):
    """What a look at the endpoint's list used: nothing."""

    usage: Usage = Usage()
    quotas: tuple[Quota, ...] = ()


async def check_models(
    bindings: Mapping[str, ModelBinding], aliases: Iterable[str], executor: ModelExecutor
) -> None:
    """Tries models side by side, each through its pool of domain `healthcheck`.

    Args:
        bindings: All models, by alias.
        aliases: Which of them to try.
        executor: Sends the calls; failed ones are tried again as the run's retries say.

    Raises:
        HealthcheckFailed: At least one of them did not answer; names each and says why.
    """
    aliases = tuple(aliases)
    ends = await asyncio.gather(*(_check(bindings[a], executor) for a in aliases))
    failures = [f"{a!r}: {said}" for a, said in zip(aliases, ends, strict=True) if said]
    if failures:
        raise HealthcheckFailed(
            f"nothing was run, since a healthcheck failed. Model {'; model '.join(failures)}"
        )


def healthcheck_pool(pool: PoolKey) -> PoolKey:
    """The pool that a model's healthcheck goes through."""
    return pool._replace(domain="healthcheck")


async def _check(binding: ModelBinding, executor: ModelExecutor) -> str:
    """Why a model is of no use; empty if it answers."""
    try:
        await executor.call(healthcheck_pool(binding.pool), lambda: _try(binding))
    except (AccessDenied, ProviderError, RunStalled) as error:
        return str(error)
    return ""


async def _try(binding: ModelBinding) -> Answer:
    client, model = binding.client, binding.model_id
    if binding.pool.domain == "embedding":
        return await client.embed(EmbeddingRequest(model, (_QUESTION,), {}))
    if binding.pool.domain == "image":
        return await _find(binding)  # an image would cost too much
    message = {"role": "user", "content": _QUESTION}
    # The model's own parameters, since some models refuse what others need.
    return await client.chat(ChatRequest(model, (message,), {"max_tokens": 16, **binding.params}))


async def _find(binding: ModelBinding) -> Answer:
    listed = await binding.client.models()
    if binding.model_id not in listed:
        raise ProviderError(
            f"{binding.pool.label}: the endpoint does not list this model; check its id",
            retryable=False,
        )
    return _Listed()
