"""A thread that makes items ahead: their order, its end, and its errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mgral.core.read_ahead import NAME, ahead


def left() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


@pytest.mark.parametrize("depth", [1, 3, 200])
def test_the_items_in_their_order_and_no_thread_is_left(depth: int) -> None:
    assert list(ahead(range(100), depth)) == list(range(100))
    assert not left()


def test_it_is_ahead_by_no_more_than_its_depth() -> None:
    made: list[int] = []
    enough = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if number == 2:
                enough.set()
            yield number

    read = ahead(items(), 2)
    assert not made, "begun before anything is asked for"
    assert next(read) == 0
    assert enough.wait(60), "the thread does not go on while nothing is asked for"
    assert made == [0, 1, 2]
    read.close()
    assert made == [0, 1, 2] and not left()


def test_an_error_comes_in_the_place_of_its_item() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    read = ahead(items(), 5)
    assert next(read) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(read)
    assert not left()


def test_it_ends_where_its_taker_fails() -> None:
    def take() -> None:
        for item in ahead(range(1000), 2):
            assert item < 3

    with pytest.raises(AssertionError):
        take()
    assert not left()
