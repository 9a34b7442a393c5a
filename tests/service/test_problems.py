from __future__ import annotations

import json
from collections.abc import Iterator

import humwatch.errors
import humwatch_service.errors
from humwatch.errors import HumwatchError
from humwatch_service.errors import Overloaded, Unauthorised
from humwatch_service.problems import STATUSES, problem_response

OWN = {humwatch.errors.__name__, humwatch_service.errors.__name__}


def family(kind: type[HumwatchError]) -> Iterator[type[HumwatchError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def test_every_error_has_a_code_of_its_own_and_a_status() -> None:
    kinds = [kind for kind in family(HumwatchError) if kind.__module__ in OWN]
    codes = [kind.code for kind in kinds]
    assert len(codes) == len(set(codes)) > 40
    assert set(codes) == set(STATUSES)


def test_every_error_is_in_the_tree_that_its_module_draws() -> None:
    for kind in family(HumwatchError):
        if kind.__module__ in OWN:
            module = humwatch.errors if kind.__module__ == humwatch.errors.__name__ else humwatch_service.errors
            assert kind.__name__ in (module.__doc__ or "")


def test_errors_of_the_caller_are_4xx() -> None:
    for kind in family(humwatch_service.errors.RequestError):
        assert 400 <= STATUSES[kind.code] < 500
    for kind in family(humwatch.errors.AudioError):
        assert 400 <= STATUSES[kind.code] < 500


def test_a_problem_says_what_rfc_9457_asks_for() -> None:
    response = problem_response(Overloaded("full", retry_after_s=7), "abc")
    assert response.media_type == "application/problem+json"
    assert response.headers["Retry-After"] == "7"
    assert json.loads(bytes(response.body)) == {
        "type": "urn:humwatch:problem:overloaded",
        "title": "All workers are busy and the waiting line is full",
        "status": 503,
        "detail": "full",
        "code": "overloaded",
        "request_id": "abc",
    }


def test_401_says_how_to_authenticate() -> None:
    assert problem_response(Unauthorised("no"), None).headers["WWW-Authenticate"].startswith("Bearer")
