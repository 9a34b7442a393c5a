from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from humwatch_service.garbage import YOUNG_OBJECTS, settle_garbage_collector


@pytest.fixture(autouse=True)
def collector_as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


class Ring:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.myself = self


def test_what_is_there_is_left_alone_and_new_objects_are_looked_at_seldom() -> None:
    gc.unfreeze()
    there = Ring()
    settle_garbage_collector()
    assert gc.get_threshold()[0] == YOUNG_OBJECTS
    assert gc.get_freeze_count() > 0
    assert not any(there is tracked for tracked in gc.get_objects())


def test_garbage_from_before_is_not_kept_for_good() -> None:
    seen = weakref.ref(Ring())
    settle_garbage_collector()
    assert seen() is None


def test_garbage_that_comes_later_is_still_found() -> None:
    settle_garbage_collector()
    seen = weakref.ref(Ring())
    assert seen() is not None
    gc.collect()
    assert seen() is None
