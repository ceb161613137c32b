"""Checkpoints in the background: one at a time, a full disk does not stop training, other errors do."""

import logging
import threading

import pytest

from gristlm.errors import StorageError
from gristlm.training.background import Writer
from gristlm.training.spikes import RECENT, Spikes


def full() -> None:
    raise StorageError(28, "No space left on device")


def test_one_at_a_time_and_none_after_the_end() -> None:
    running, most, done = [], [], []
    lock = threading.Lock()

    def work(number: int) -> None:
        with lock:
            running.append(number)
            most.append(len(running))
        threading.Event().wait(0.01)
        with lock:
            running.remove(number)
            done.append(number)

    with Writer() as writer:
        for number in range(5):
            writer.submit(lambda number=number: work(number))  # type: ignore[misc]
    assert done == [0, 1, 2, 3, 4]
    assert set(most) == {1}


def test_a_full_disk_is_said_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    done = []
    with caplog.at_level(logging.WARNING), Writer() as writer:
        writer.submit(full)
        writer.submit(lambda: done.append(1))
        assert writer.failures == 1
    assert done == [1]
    assert "No space left" in caplog.text
    assert "tries again" in caplog.text


def test_another_error_ends_the_run() -> None:
    with pytest.raises(ZeroDivisionError), Writer() as writer:
        writer.submit(lambda: 1 // 0)


def test_the_error_of_the_run_goes_before_that_of_its_checkpoint(caplog: pytest.LogCaptureFixture) -> None:
    def run() -> None:
        with Writer() as writer:
            writer.submit(lambda: 1 // 0)
            raise KeyError

    with caplog.at_level(logging.ERROR), pytest.raises(KeyError):
        run()
    assert "ZeroDivisionError" in caplog.text


def test_spikes_are_counted_and_not_remembered() -> None:
    spikes = Spikes(4.0)
    assert not any(spikes.found(3.0 + 0.01 * (i % 5)) for i in range(RECENT))
    assert spikes.found(9.0)
    assert not spikes.found(3.02)
    assert spikes.found(9.0), "a spike does not make the next one normal"
    again = Spikes(4.0, spikes.state()["recent"], spikes.skipped)  # type: ignore[arg-type]
    assert again.found(9.0)
    assert again.skipped == 3
    never = Spikes(None)
    assert not any(never.found(value) for value in (1.0, 1e9))
