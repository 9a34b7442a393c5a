from __future__ import annotations

from humwatch import errors
from humwatch.errors import HumwatchError


def family(error: type[HumwatchError]) -> list[type[HumwatchError]]:
    return [error, *(found for child in error.__subclasses__() for found in family(child))]


OURS = [error for error in family(HumwatchError) if error.__module__ == errors.__name__]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [error.__dict__.get("code") for error in OURS]
    assert None not in codes
    assert len(set(codes)) == len(codes)


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    tree = errors.__doc__ or ""
    for error in OURS:
        lines = [line for line in tree.splitlines() if error.__name__ in line.replace("─", " ").split()]
        assert len(lines) == 1, error
        depth = lines[0].index(error.__name__) // 4
        assert depth == len(error.__mro__) - len(HumwatchError.__mro__) + 1
