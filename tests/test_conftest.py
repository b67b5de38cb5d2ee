"""The shared fixtures catch what they are there to catch."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

LEAKS = """
import asyncio

async def forever():
    await asyncio.Event().wait()

async def test_leaves_a_task():
    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    test_leaves_a_task.task = task

async def test_ends_its_task():
    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    task.cancel()

def test_without_a_loop():
    asyncio.run(asyncio.sleep(0))
"""


def test_a_task_left_behind_fails_its_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text())
    pytester.makepyfile(LEAKS)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    result = pytester.runpytest_subprocess("-p", "no:xdist")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of test_leaves_a_task*", "left pending: forever"]
    )
