"""What a dispatch costs by itself: select, decide, acquire, commit and release, in the pure core.

Each subject fills its queue once and puts back, outside the measured time, what it took out; so
every repeat meets the same number of queued tasks. Nothing runs: a lease is released at once, or
when its turn comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from ddsched_nb.bench.cpu import Spent, cpu_s
from ddsched_nb.core.dispatch import Dispatch, Dispatcher
from ddsched_nb.core.model import LLM_WAIT, SUBMISSION, Flow, FlowKey, ReadyTask, Task
from ddsched_nb.core.resolver import task_id
from ddsched_nb.core.task_admission import TaskAdmission
from ddsched_nb.core.task_policies import TaskPolicy

__all__ = ["cycle", "filled", "first_refusal", "full_cycle", "nothing_eligible"]

MakePolicy = Callable[[], TaskPolicy]
_ROW_GROUP = 1_000


def flows_of(number: int) -> list[Flow]:
    """So many flows of model columns, all in want of the two resources that all share."""
    wants = ((SUBMISSION, 1), (LLM_WAIT, 1))
    keys = (FlowKey("model", ("local", f"m{i}")) for i in range(number))
    return [Flow(key, 1.0, wants) for key in keys]


def tasks_of(flows: Sequence[Flow], queued: int) -> list[ReadyTask]:
    """So many ready tasks, spread over the flows as rows are over columns."""
    found, columns = [], [f"c{at}" for at in range(len(flows))]
    for number in range(queued):
        row, at = divmod(number, len(flows))
        group = row // _ROW_GROUP
        task = Task(columns[at], group, row)
        found.append(ReadyTask(task, task_id(task), flows[at], None, group))
    return found


def filled(policy: MakePolicy, flows: int, queued: int, slots: int) -> Dispatcher:
    """A dispatcher with tasks queued in every flow, and nothing leased."""
    known = flows_of(flows)
    dispatcher = Dispatcher(TaskAdmission({SUBMISSION: slots, LLM_WAIT: slots}, policy()))
    for flow in known:
        dispatcher.admission.register(flow)
    for ready in tasks_of(known, queued):
        dispatcher.enqueue(ready)
    return dispatcher


def cycle(
    policy: MakePolicy, flows: int, queued: int, operations: int = 2_000
) -> Callable[[], Spent]:
    """Dispatches with slots to spare: each task is given its lease, and gives it back."""
    dispatcher = filled(policy, flows, queued, slots=max(32, flows))

    def run() -> Spent:
        taken: list[ReadyTask] = []
        since = cpu_s()
        for _ in range(operations):
            found = dispatcher.next()
            assert isinstance(found, Dispatch)
            dispatcher.release(found.lease)
            taken.append(found.ready)
        spent = cpu_s() - since
        _put_back(dispatcher, taken)
        return Spent(operations, spent)

    return run


def full_cycle(
    policy: MakePolicy, flows: int, queued: int, operations: int = 2_000, slots: int = 32
) -> Callable[[], Spent]:
    """Dispatches with all slots leased: the oldest lease ends, and the scheduler asks until nobody
    may run. So a cycle holds the denials too.
    """
    dispatcher = filled(policy, flows, queued, slots)
    held = deque(_ask(dispatcher))

    def run() -> Spent:
        taken: list[ReadyTask] = []
        since = cpu_s()
        for _ in range(operations):
            dispatcher.release(held.popleft().lease)
            for found in _ask(dispatcher):
                held.append(found)
                taken.append(found.ready)
        spent = cpu_s() - since
        assert len(taken) == operations, "every slot that is given back is taken again"
        _put_back(dispatcher, taken)
        return Spent(operations, spent)

    return run


def nothing_eligible(
    policy: MakePolicy, flows: int, queued: int, operations: int = 2_000
) -> Callable[[], Spent]:
    """Selections that find nothing: all slots are leased, and every flow was denied before."""
    dispatcher = filled(policy, flows, queued, slots=flows)
    _ask(dispatcher)

    def run() -> Spent:
        since = cpu_s()
        for _ in range(operations):
            assert dispatcher.next() is None
        return Spent(operations, cpu_s() - since)

    return run


def first_refusal(policy: MakePolicy, flows: int) -> Callable[[], Spent]:
    """The one selection that finds nothing and has to ask every flow, since none was denied yet."""

    def run() -> Spent:
        dispatcher = filled(policy, flows, 0, slots=flows)
        ready = tasks_of(flows_of(flows), 2 * flows)
        for each in ready[:flows]:
            dispatcher.enqueue(each)
        assert len(_ask(dispatcher)) == flows
        for each in ready[flows:]:
            dispatcher.enqueue(each)
        since = cpu_s()
        assert not _ask(dispatcher)
        return Spent(1, cpu_s() - since)

    return run


def _ask(dispatcher: Dispatcher) -> list[Dispatch]:
    """Asks until nobody may run, as the scheduler does in each turn."""
    found = []
    while (step := dispatcher.next()) is not None:
        if isinstance(step, Dispatch):
            found.append(step)
    return found


def _put_back(dispatcher: Dispatcher, taken: Sequence[ReadyTask]) -> None:
    for ready in taken:
        dispatcher.enqueue(ready)
