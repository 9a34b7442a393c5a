from tests.service_fixtures import (  # noqa: F401  pytest finds fixtures by their names here
    logging_as_before,
    shared_models,
    start_server,
    workshop,
)
