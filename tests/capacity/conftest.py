from tests.service_fixtures import (  # noqa: F401  pytest finds fixtures by their names here
    client,
    logging_as_before,
    make_server,
    models,
    server,
    serving,
    shared_models,
    start_server,
    workshop,
)
