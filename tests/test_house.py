"""The rules of the house, kept by tests: floors, purity, clocks, sizes, no leftovers.

A rule is a function from the source text of one module to its violations. Each is run over the
whole package, and over planted sources to show that it catches what it is there to catch.
"""

from __future__ import annotations

import ast
import io
import statistics
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "ddsched_nb"
SOURCES = Path(__file__).parents[1] / PACKAGE

# A module imports lower floors, its own folder, and what stands before it on its own floor.
# Imports for annotations count: a name in an annotation is knowledge too.
FLOORS = (
    ("errors", "reprs", "dag"),
    ("core",),
    ("record", "table", "clients", "store"),
    ("aio", "analysis"),
    (
        "checks",
        "facts",
        "prompts",
        "config",
        "providers",
        "columns",
        "model_columns",
        "pipeline",
        "storing",
        "engine",
        "adjusting",
        "announcing",
        "capacity_plan",
        "idling",
        "standing",
        "waiting",
        "summary",
        "wording",
        "terminal",
        "run",
    ),
    ("workloads", "sim"),
    ("views",),
    ("bench", "integrations"),
    ("",),  # the package itself, which names what is public
    ("cli_bench", "cli_lanes", "cli_perfetto", "cli_simulation", "cli_suite", "cli"),
)
# The one exception: what a notebook shows of these is a view, imported when it is asked for.
MAY_SHOW = {(module, "_repr_mimebundle_") for module in ("run", "record", "analysis.compare")}

# All that a decision may use beside the package. A new name is added here on purpose.
PURE = {
    *("__future__", "abc", "bisect", "collections", "dataclasses", "difflib", "enum"),
    *("functools", "heapq", "itertools", "math", "operator", "re", "statistics", "types", "typing"),
}
PURE_EXTRA = dict.fromkeys(("core.event", "core.events", "core.request_events"), "msgspec")
IMPURE_CALLS = {"print", "open", "input", "exec", "eval", "hash", "id"}

# The module that takes clocks away has to know them.
CLOCK_GUARD = "sim.guards"
CLOCKS = {"now", "utcnow", "today"}
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
# Who alone may import what.
ONLY_IN = {
    "nest_asyncio": "waiting",
    "altair": "views",
    "anywidget": "views",
    "ipywidgets": "views",
    "vl_convert": "views",
}
# Optional or slow: imported by the function that needs them.
WHEN_CALLED = {"filelock", "pandas", "pyarrow", "nest_asyncio", "IPython"}

MODULE_LINES = 400
BODY_LINES = 60
MEDIAN_BODY_LINES = 8
LEFTOVERS = ("TODO", "FIXME", "XXX", "HACK")


class Import(NamedTuple):
    """An import of `name`, in `function` ("" at the top), for annotations only or not."""

    line: int
    name: str
    function: str
    typing_only: bool


def imports(source: str) -> Iterator[Import]:
    """Every import, wherever it stands. A relative one keeps its dots."""
    yield from _imports(ast.parse(source).body, "", False)


def _imports(nodes: Iterable[ast.AST], function: str, typing_only: bool) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in _imported(node):
                yield Import(node.lineno, name, function, typing_only)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imports(node.body, node.name, typing_only)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _imports(node.body, function, True)
            yield from _imports(node.orelse, function, typing_only)
        else:
            yield from _imports(ast.iter_child_nodes(node), function, typing_only)


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.module == PACKAGE:
        return [f"{PACKAGE}.{alias.name}" for alias in node.names]
    return ["." * node.level + (node.module or "")]


def _inside(imported: str) -> str | None:
    """The module's path inside the package, or None for another package."""
    head, _, rest = imported.partition(".")
    return rest if head == PACKAGE else None


def _top(name: str) -> str:
    return name.partition(".")[0]


def floors(source: str, module: str) -> Iterator[str]:
    order = {name: (at, i) for at, row in enumerate(FLOORS) for i, name in enumerate(row)}
    here = _top(module)
    if here not in order:
        yield f"1: {here!r} stands on no floor; give it its place in FLOORS"
        return
    for found in imports(source):
        if found.name.startswith("."):
            yield f"{found.line}: imports {found.name}; write the full name"
        inside = _inside(found.name)
        if inside is None or _top(inside) == here:
            continue
        shown = (module, found.function) in MAY_SHOW and _top(inside) == "views"
        if not shown and order.get(_top(inside), order[""]) > order[here]:
            yield f"{found.line}: imports {found.name}, which is not below {here}"


def purity(source: str, module: str) -> Iterator[str]:
    if _top(module) != "core":
        return
    for found in imports(source):
        top = _top(found.name)
        if top not in PURE and top != PACKAGE and top != PURE_EXTRA.get(module):
            yield f"{found.line}: core imports {found.name}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in IMPURE_CALLS and not _in_hash(node, source):
                yield f"{node.lineno}: core calls {node.func.id}()"
        elif isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.Global):
            yield f"{node.lineno}: core has {type(node).__name__}"


def _in_hash(call: ast.Call, source: str) -> bool:
    """Whether the call stands in a `__hash__`, where `hash` belongs."""
    return any(
        isinstance(node, ast.FunctionDef)
        and node.name == "__hash__"
        and node.lineno <= call.lineno <= (node.end_lineno or 0)
        for node in ast.walk(ast.parse(source))
    )


def no_clock_outside_the_loop(source: str, module: str) -> Iterator[str]:
    for found in imports(source):
        if _top(found.name) == "time" and module != CLOCK_GUARD:
            yield f"{found.line}: imports time; the only clock is the running loop's"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS:
            owner = ast.unparse(node.value).rpartition(".")[2]
            if owner in ("datetime", "date", "dt", "Timestamp"):
                yield f"{node.lineno}: reads {owner}.{node.attr}"


def no_unseeded_randomness(source: str, module: str) -> Iterator[str]:
    for found in imports(source):
        if _top(found.name) == "uuid":
            yield f"{found.line}: imports uuid; ids come from counters"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            yield f"{node.lineno}: imports from random; write random.Random(seed)"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "random":
            if node.attr != "Random":
                yield f"{node.lineno}: random.{node.attr} has no seed of its own"
        elif isinstance(node, ast.Call) and ast.unparse(node) == "random.Random()":
            yield f"{node.lineno}: random.Random() without a seed"


def no_pickle(source: str, module: str) -> Iterator[str]:
    for found in imports(source):
        if _top(found.name) in PICKLES:
            yield f"{found.line}: imports {found.name}; reading it back can run anything"


def imported_only_where_it_belongs(source: str, module: str) -> Iterator[str]:
    for found in imports(source):
        home = ONLY_IN.get(_top(found.name))
        if home is not None and home != _top(module):
            yield f"{found.line}: imports {found.name}, which only {home} may"


def imported_when_called(source: str, module: str) -> Iterator[str]:
    for found in imports(source):
        top_level = not found.function and not found.typing_only
        if top_level and _top(found.name) in WHEN_CALLED:
            yield f"{found.line}: imports {found.name} at once; import it where it is needed"


def module_size(source: str, module: str) -> Iterator[str]:
    lines = len(source.splitlines())
    if lines > MODULE_LINES:
        yield f"1: {lines} lines; {MODULE_LINES} is the ceiling"


def function_size(source: str, module: str) -> Iterator[str]:
    for line, name, lines in bodies(source):
        if lines > BODY_LINES:
            yield f"{line}: {name} has a body of {lines} lines; {BODY_LINES} is the ceiling"


def bodies(source: str) -> Iterator[tuple[int, str, int]]:
    """Line, name and body lines of each function; a docstring is not body."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            yield node.lineno, node.name, lines


def no_leftovers(source: str, module: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and any(word in token.string for word in LEFTOVERS):
            yield f"{token.start[0]}: {token.string.strip()}"
    yield from _stubs(ast.parse(source), may_be_empty=False)


def _stubs(node: ast.AST, *, may_be_empty: bool) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise) and "NotImplementedError" in ast.unparse(child):
            yield f"{child.lineno}: raises NotImplementedError"
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            marks = {ast.unparse(mark).rpartition(".")[2] for mark in child.decorator_list}
            excused = may_be_empty or marks & {"overload", "abstractmethod"}
            if not excused and ast.unparse(child.body[-1]) == "...":
                yield f"{child.lineno}: {child.name} has no body"
        protocol = isinstance(child, ast.ClassDef) and any(
            ast.unparse(base).partition("[")[0].endswith("Protocol") for base in child.bases
        )
        yield from _stubs(child, may_be_empty=protocol)


def module_opening(source: str, module: str) -> Iterator[str]:
    body = ast.parse(source).body
    if body and ast.get_docstring(ast.parse(source)) is None:
        yield "1: no docstring that says what the module decides"
    code = [node for node in body if not isinstance(node, ast.Expr)]
    if code and not (isinstance(code[0], ast.ImportFrom) and code[0].module == "__future__"):
        yield "1: does not begin with `from __future__ import annotations`"


Rule = Callable[[str, str], Iterator[str]]
RULES: tuple[Rule, ...] = (
    floors,
    purity,
    no_clock_outside_the_loop,
    no_unseeded_randomness,
    no_pickle,
    imported_only_where_it_belongs,
    imported_when_called,
    module_size,
    function_size,
    no_leftovers,
    module_opening,
)


def modules() -> Iterator[tuple[str, str, str]]:
    """File name, path inside the package, and source of each module."""
    for path in sorted(SOURCES.rglob("*.py")):
        parts = path.relative_to(SOURCES).with_suffix("").parts
        inside = parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts
        name = "" if inside == ("__init__",) else ".".join(inside)
        yield str(path.relative_to(SOURCES.parent)), name, path.read_text(encoding="utf-8")


def broken(rule: Rule) -> list[str]:
    return [f"{file}:{said}" for file, name, text in modules() for said in rule(text, name)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps(rule: Rule) -> None:
    assert not broken(rule), "\n".join(broken(rule))


def test_f34_no_clock_is_read_outside_the_loop() -> None:
    assert not broken(no_clock_outside_the_loop)


def test_the_median_body_is_short() -> None:
    sizes = [lines for _, _, text in modules() for _, _, lines in bodies(text)]
    assert statistics.median(sizes) <= MEDIAN_BODY_LINES


def test_nest_asyncio_is_imported_in_exactly_one_module() -> None:
    homes = {
        name
        for _, name, text in modules()
        for found in imports(text)
        if found.name.startswith("nest_asyncio")
    }
    assert homes == {"waiting"}


LONG_BODY = "def f():\n    'Docstring.'\n" + "    x = 1\n" * 61
PLANTED: tuple[tuple[Rule, str, str, str], ...] = (
    (floors, "core.graph", "from ddsched_nb.aio.bus import EventBus", "aio.bus"),
    (floors, "core.graph", "import ddsched_nb.run", "ddsched_nb.run"),
    (floors, "core.graph", "from ddsched_nb import views", "ddsched_nb.views"),
    (floors, "core.graph", "from ddsched_nb import Column", "ddsched_nb.Column"),
    (floors, "core.graph", "from ..aio import bus", "full name"),
    (floors, "core.graph", "def f():\n    from ddsched_nb.views import live", "views"),
    (floors, "core.graph", "if TYPE_CHECKING:\n    from ddsched_nb.run import Run", "run"),
    (floors, "reprs", "import ddsched_nb.core", "ddsched_nb.core"),
    (floors, "errors", "import ddsched_nb.reprs", "ddsched_nb.reprs"),
    (floors, "run", "def show():\n    from ddsched_nb.views import live", "views"),
    (floors, "run", "from ddsched_nb.views import live", "views"),
    (floors, "nowhere", "x = 1", "stands on no floor"),
    (purity, "core.graph", "import asyncio", "asyncio"),
    (purity, "core.graph", "from random import random", "random"),
    (purity, "core.graph", "def f():\n    import threading", "threading"),
    (purity, "core.graph", "import msgspec", "msgspec"),
    (purity, "core.graph", "import os.path", "os.path"),
    (purity, "core.graph", "print(1)", "print"),
    (purity, "core.graph", "x = hash('a')", "hash"),
    (purity, "core.graph", "async def f(): ...", "AsyncFunctionDef"),
    (no_clock_outside_the_loop, "aio.bus", "import time", "time"),
    (no_clock_outside_the_loop, "aio.bus", "from time import monotonic", "time"),
    (no_clock_outside_the_loop, "aio.bus", "x = datetime.datetime.now()", "datetime.now"),
    (no_clock_outside_the_loop, "aio.bus", "x = date.today()", "date.today"),
    (no_unseeded_randomness, "aio.bus", "x = random.random()", "random.random"),
    (no_unseeded_randomness, "aio.bus", "x = random.Random()", "without a seed"),
    (no_unseeded_randomness, "aio.bus", "from random import choice", "from random"),
    (no_unseeded_randomness, "aio.bus", "import uuid", "uuid"),
    (no_pickle, "record", "import pickle", "pickle"),
    (no_pickle, "record", "def f():\n    from marshal import loads", "marshal"),
    (imported_only_where_it_belongs, "run", "import nest_asyncio", "nest_asyncio"),
    (imported_only_where_it_belongs, "run", "import altair as alt", "altair"),
    (imported_only_where_it_belongs, "aio.bus", "from ipywidgets import HTML", "ipywidgets"),
    (imported_when_called, "table", "import pandas as pd", "pandas"),
    (imported_when_called, "table", "try:\n    import pyarrow.csv\nexcept E: ...", "pyarrow"),
    (module_size, "run", "x = 1\n" * 401, "401 lines"),
    (function_size, "run", LONG_BODY, "61 lines"),
    (no_leftovers, "run", "x = 1  # TODO: more", "TODO"),
    (no_leftovers, "run", "def f():\n    raise NotImplementedError('f')", "NotImplementedError"),
    (no_leftovers, "run", "def f(): ...", "f has no body"),
    (no_leftovers, "run", "class A(B):\n    def f(self):\n        'Doc.'\n        ...", "f has"),
    (module_opening, "run", "from __future__ import annotations", "docstring"),
    (module_opening, "run", "'Doc.'\nimport re", "__future__"),
)


@pytest.mark.parametrize(("rule", "module", "source", "said"), PLANTED)
def test_a_planted_violation_is_caught(rule: Rule, module: str, source: str, said: str) -> None:
    violations = list(rule(source, module))
    assert len(violations) == 1
    assert said in violations[0]


KEPT: tuple[tuple[Rule, str, str], ...] = (
    (floors, "core.graph", "from ddsched_nb.core.model import Task\nimport ddsched_nb.errors"),
    (floors, "run", "def _repr_mimebundle_(self):\n    from ddsched_nb.views import live"),
    (floors, "", "from ddsched_nb.run import start"),
    (floors, "cli", "from ddsched_nb import __version__"),
    (purity, "core.events", "import msgspec"),
    (purity, "core.graph", "class A:\n    def __hash__(self):\n        return hash(self.x)"),
    (purity, "aio.bus", "import asyncio"),
    (no_clock_outside_the_loop, "aio.bus", "x = loop.time() + self.now"),
    (no_unseeded_randomness, "clients.load", "x = random.Random(7).random()"),
    (imported_only_where_it_belongs, "waiting", "import nest_asyncio"),
    (imported_only_where_it_belongs, "views.charts", "import altair"),
    (imported_when_called, "table", "def f():\n    import pandas"),
    (imported_when_called, "table", "if TYPE_CHECKING:\n    import pandas"),
    (module_size, "run", "x = 1\n" * 400),
    (function_size, "run", LONG_BODY.removesuffix("    x = 1\n")),
    (no_leftovers, "run", "class A(Protocol[T]):\n    def f(self) -> int: ..."),
    (no_leftovers, "run", "@overload\ndef f(x: int) -> int: ...\nclass E(Exception): ..."),
    (no_leftovers, "cli", "try:\n    f()\nexcept NotImplementedError:\n    g()"),
    (module_opening, "", ""),
)


@pytest.mark.parametrize(("rule", "module", "source"), KEPT)
def test_what_keeps_the_rules_is_left_alone(rule: Rule, module: str, source: str) -> None:
    assert not list(rule(source, module))


def test_every_rule_is_shown_to_catch_something() -> None:
    assert {rule for rule, *_ in PLANTED} == set(RULES)
