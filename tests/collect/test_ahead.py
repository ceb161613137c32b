"""Work that is done ahead: in order, bounded, and its failures in their place, on one thread as on several."""

from collections.abc import Callable, Iterator

import pytest

from gristlm.collect.ahead import in_order


def work(ticket: int) -> Callable[[], int]:
    def done() -> int:
        if ticket == 21:
            raise ValueError(ticket)
        return ticket

    return done


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("weight", [0, 1, 300])
def test_results_come_in_order_and_a_failure_after_those_before_it(num_threads: int, weight: int) -> None:
    drawn: list[int] = []
    found: list[tuple[int, int]] = []

    def tickets() -> Iterator[int]:
        for ticket in range(40):
            drawn.append(ticket)
            yield ticket

    def read() -> None:
        ordered = in_order(tickets(), work, lambda _: weight, num_threads=num_threads, max_weight=1000)
        for ticket, result in ordered:
            assert len(drawn) - ticket <= (8 * num_threads + 1 if weight < 300 else 5)
            found.append((ticket, result()))

    with pytest.raises(ValueError, match="21"):
        read()
    assert found == [(ticket, ticket) for ticket in range(21)]
