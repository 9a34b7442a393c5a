from humwatch.errors import HumwatchError
from humwatch_training import errors


def test_every_training_error_is_in_the_tree_with_a_code_of_its_own():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not HumwatchError]
    assert all(issubclass(kind, errors.TrainingError) for kind in kinds)
    assert len({kind.code for kind in kinds}) == len(kinds) >= 9
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in kinds)
