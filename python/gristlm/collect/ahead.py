"""Work done ahead on several threads, with its results in the order it was asked for."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Ticket = TypeVar("Ticket")
Result = TypeVar("Result")

_TASKS_PER_THREAD = 8
_TURN_BYTES = 1 << 20  # of one thread's turn; ours: more of it leaves the processor's caches


def in_order(
    tickets: Iterable[Ticket],
    work: Callable[[Ticket], Callable[[], Result]],
    weight: Callable[[Ticket], int],
    *,
    num_threads: int,
    max_weight: int,
) -> Iterator[tuple[Ticket, Callable[[], Result]]]:
    """Yields each ticket, in order, with a callable that returns its result (or raises what the work raised).

    Tickets are drawn ahead of the caller, at most eight for each thread and until the weights of those that wait reach
    `max_weight`; their work runs on `num_threads` threads, on one thread in turns with the caller's.

    Args:
        tickets: what is to be done; drawn on the caller's thread.
        work: the work of a ticket.
        weight: how much memory it holds, in bytes; 0 means that the work is nothing, and it is done by the caller.
        num_threads: at least 1.
        max_weight: in bytes.
    """
    if num_threads == 1:
        yield from _in_turns(tickets, work, weight, min(max_weight, _TURN_BYTES))
        return
    waiting: collections.deque[tuple[Ticket, Callable[[], Result], Future[Result] | None]] = collections.deque()
    held = 0
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="collect")
    try:
        for ticket in tickets:
            todo, size = work(ticket), weight(ticket)
            future = pool.submit(todo) if size else None
            waiting.append((ticket, future.result if future else todo, future))
            held += size
            while waiting and (
                waiting[0][2] is None
                or waiting[0][2].done()
                or held > max_weight
                or len(waiting) > _TASKS_PER_THREAD * num_threads
            ):
                ticket, result, _ = waiting.popleft()
                held -= weight(ticket)
                yield ticket, result
        while waiting:
            ticket, result, _ = waiting.popleft()
            yield ticket, result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_turns(
    tickets: Iterable[Ticket],
    work: Callable[[Ticket], Callable[[], Result]],
    weight: Callable[[Ticket], int],
    max_weight: int,
) -> Iterator[tuple[Ticket, Callable[[], Result]]]:
    """Draws a few tickets, does their work, gives them out: code and tables of each stay in the processor's caches."""
    drawn: list[Ticket] = []
    held = 0
    for ticket in tickets:
        drawn.append(ticket)
        size = weight(ticket)
        held += size
        if size == 0 or held >= max_weight or len(drawn) >= _TASKS_PER_THREAD:
            yield from _worked(drawn, work)
            drawn, held = [], 0
    yield from _worked(drawn, work)


def _worked(
    tickets: Iterable[Ticket], work: Callable[[Ticket], Callable[[], Result]]
) -> Iterator[tuple[Ticket, Callable[[], Result]]]:
    done: list[tuple[Ticket, Result]] = []
    failure: Exception | None = None
    for ticket in tickets:
        try:
            done.append((ticket, work(ticket)()))
        except Exception as error:  # after those before it
            failure = error
            break
    for ticket, result in done:
        yield ticket, functools.partial(_same, result)
    if failure is not None:
        raise failure


def _same(result: Result) -> Result:
    return result
