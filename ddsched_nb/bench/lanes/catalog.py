"""The lanes: which pipelines they are, over how many rows, under which configuration.

A new lane is a function from a `Setup` to a `Work`, named in `LANES`. Must not run anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from ddsched_nb.aio.context import CallContext
from ddsched_nb.columns import Column
from ddsched_nb.config import RequestAdmissionConfig, RunConfig
from ddsched_nb.core.row import Row
from ddsched_nb.errors import ConfigError
from ddsched_nb.model_columns import ModelColumn
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.providers import Model, OpenAICompatible

__all__ = ["LANES", "SCALE", "Lane", "Setup", "Work", "chosen"]

SCALE = 1_024
"""From so many requests on the lanes of scale run too; the others never send more than a quarter
of it."""

_LONG = 4
_FAN = 3


class Setup(NamedTuple):
    """What is asked, and how much.

    Attributes:
        base_url: The endpoint, up to and with `/v1`.
        api_key: Its key, as `env:NAME`; None for none.
        model: Id of the model.
        small_model: Id of another, for the mix of both; None for none.
        requests: Requests that each lane sends, about.
        parallel: Requests in flight that most lanes allow themselves.
        max_tokens: What an answer may have; 0 says nothing of it to the endpoint.
    """

    base_url: str
    api_key: str | None
    model: str
    small_model: str | None = None
    requests: int = 96
    parallel: int = 16
    max_tokens: int = 16

    def provider(self, name: str, most: int | None = None) -> OpenAICompatible:
        """The endpoint under a name, with a cap over all its models."""
        return OpenAICompatible(
            name, base_url=self.base_url, api_key=self.api_key, max_parallel_requests=most
        )

    def asked(
        self, alias: str, cap: int, *, provider: str = "lane", id: str | None = None
    ) -> Model:
        """A model under an alias."""
        params = {"max_tokens": self.max_tokens} if self.max_tokens else {}
        return Model(
            alias,
            provider=provider,
            id=id or self.model,
            max_parallel_requests=cap,
            params=params,
        )


class Work(NamedTuple):
    """A pipeline, how it runs, and how many calls a row of it makes."""

    pipeline: Pipeline
    config: RunConfig
    calls_a_row: int


class Lane(NamedTuple):
    """A lane.

    Attributes:
        name: What it is called.
        about: What it tries, in a sentence.
        build: Makes it.
        when: Whether it belongs to a setup.
        scale: Whether it sends all requests that are asked for, and not a quarter of `SCALE`.
    """

    name: str
    about: str
    build: Callable[[Setup], Work]
    when: Callable[[Setup], bool]
    scale: bool = False

    def rows(self, setup: Setup, calls_a_row: int) -> int:
        """Rows that make about as many requests as are asked for."""
        wanted = setup.requests if self.scale else min(setup.requests, SCALE // 4)
        return max(1, math.ceil(wanted / calls_a_row))


def chosen(setup: Setup, only: Sequence[str] = ()) -> tuple[Lane, ...]:
    """The lanes of a setup.

    Args:
        setup: What is asked.
        only: Names of lanes; all that belong to the setup if there are none.

    Raises:
        ConfigError: There is no such lane, or it lacks what it needs.
    """
    known = {lane.name: lane for lane in LANES}
    for name in only:
        if name not in known:
            raise ConfigError(f"there is no lane {name!r}; there are {', '.join(known)}")
        if not known[name].when(setup):
            raise ConfigError(
                f"lane {name!r} needs "
                + (f"--requests {SCALE} or more" if known[name].scale else "--small-model")
            )
    return tuple(lane for lane in LANES if lane.when(setup) and (not only or lane.name in only))


Named = Literal["ceiling", "aimd", "fixed"]


def _config(limit: Named = "ceiling", *, share: bool = True) -> RunConfig:
    admission = RequestAdmissionConfig(limit=limit)
    return RunConfig(request_admission=admission, progress=False, share_limits=share)


def _asking(name: str, model: str = "model", needs: Sequence[str] = ("row_id",)) -> ModelColumn:
    inputs = " / ".join(f"{{{{ {need} }}}}" for need in needs)
    return ModelColumn(name, model=model, prompt=f"Write one short line ({name}) about: {inputs}")


def _row_ids() -> Column:
    return Column("row_id", generate=lambda rows: [f"number {n}" for n in rows])


def _one_model(
    setup: Setup, columns: Sequence[Column | ModelColumn], cap: int, config: RunConfig, calls: int
) -> Work:
    pipeline = Pipeline(
        columns=[_row_ids(), *columns],
        models=[setup.asked("model", cap)],
        providers=[setup.provider("lane")],
    )
    return Work(pipeline, config, calls)


def _max_parallel(setup: Setup) -> Work:
    return _one_model(setup, [_asking("line")], setup.parallel, _config("fixed"), 1)


def _aimd(setup: Setup) -> Work:
    return _one_model(setup, [_asking("line")], 4 * setup.parallel, _config("aimd"), 1)


async def _write_long(row: Row, context: CallContext) -> int:
    """A long text: some short ones, asked for one after the other."""
    for part in range(_LONG):
        await context.chat("model", f"Write part {part} of a text about {row['row_id']}.")
    return _LONG


def _short_long(setup: Setup) -> Work:
    long = Column("long", needs=["row_id"], models=["model"], generate=_write_long)
    return _one_model(setup, [_asking("short"), long], setup.parallel, _config(), 1 + _LONG)


def _fan_out(setup: Setup) -> Work:
    views = [_asking(f"view_{n}", needs=["source"]) for n in range(_FAN)]
    columns = [_asking("source"), *views]
    return _one_model(setup, columns, setup.parallel, _config(), 1 + _FAN)


def _fan_in(setup: Setup) -> Work:
    parts = [f"part_{n}" for n in range(_FAN)]
    columns = [*(_asking(part) for part in parts), _asking("whole", needs=parts)]
    return _one_model(setup, columns, setup.parallel, _config(), 1 + _FAN)


def _bottleneck(setup: Setup) -> Work:
    narrow = max(1, setup.parallel // 8)
    pipeline = Pipeline(
        columns=[
            _row_ids(),
            _asking("first", "wide_in"),
            _asking("middle", "narrow", ["first"]),
            _asking("last", "wide_out", ["middle"]),
        ],
        # One model behind three names of its endpoint: aliases of one provider share a cap.
        models=[
            setup.asked("wide_in", setup.parallel, provider="in"),
            setup.asked("narrow", narrow, provider="middle"),
            setup.asked("wide_out", setup.parallel, provider="out"),
        ],
        providers=[setup.provider(name) for name in ("in", "middle", "out")],
    )
    return Work(pipeline, _config(share=False), 3)


def _strong_small(setup: Setup) -> Work:
    checks = [_asking(f"check_{n}", "small", ["draft"]) for n in range(_FAN)]
    pipeline = Pipeline(
        columns=[_row_ids(), _asking("draft", "strong"), *checks],
        models=[
            setup.asked("strong", setup.parallel),
            setup.asked("small", setup.parallel, id=setup.small_model),
        ],
        providers=[setup.provider("lane")],
    )
    return Work(pipeline, _config(), 1 + _FAN)


def _always(setup: Setup) -> bool:
    return True


def _many(setup: Setup) -> bool:
    return setup.requests >= SCALE


def _two(setup: Setup) -> bool:
    return setup.small_model is not None


LANES: tuple[Lane, ...] = (
    Lane(
        "max-parallel", "one column, and never more in flight than allowed", _max_parallel, _always
    ),
    Lane("aimd", "one column that allows itself four times as much, under AIMD", _aimd, _always),
    Lane("short-long", "a call a row beside four in a row, on one model", _short_long, _always),
    Lane("fan-out", "one call feeds three", _fan_out, _always),
    Lane("fan-in", "three calls feed one", _fan_in, _always),
    Lane("bottleneck", "a chain whose middle has an eighth of the slots", _bottleneck, _always),
    Lane("strong-small", "a draft by one model, three checks by another", _strong_small, _two),
    Lane("cap-scale", "max-parallel with all the requests", _max_parallel, _many, scale=True),
    Lane("aimd-scale", "aimd with all the requests", _aimd, _many, scale=True),
    Lane("fan-scale", "fan-out with all the requests", _fan_out, _many, scale=True),
)
