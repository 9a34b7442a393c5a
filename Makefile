# Everything from a machine with Python 3.11, make and a C compiler.
PYTHON ?= python3
PIP_FLAGS := --quiet --disable-pip-version-check

# Two environments: the service's holds no torch.
RUN := .venv
DEV := .venv-dev

.PHONY: help install install-dev run test test-quick check bench dashboards clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(RUN)/.installed ## set up the service's environment (no torch)

install-dev: $(DEV)/.installed ## set up the environment for training, tests and checks

$(RUN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(RUN)
	$(RUN)/bin/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable '.[service]'
	@touch $@

$(DEV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: install ## start the service on loopback with the shipped model, its examples played as a live stream
	@$(RUN)/bin/humwatch serve --demo

test: install-dev ## run all tests, with coverage
	@scripts/install-test-packages.sh
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m pytest --numprocesses $(shell nproc) --dist worksteal --cov --cov-report=term

test-quick: install-dev ## run the tests that start no programs and are no slow ones, in under two minutes
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m pytest --numprocesses $(shell nproc) --dist worksteal -m "not process and not slow"

check: install-dev ## lint, format, types, layers
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports

bench: install-dev ## measure predictors, training and the service on this machine, AGAINST=FOLDER in turn with another version
	$(DEV)/bin/humwatch-train bench --json runs/bench/bench.json --picture runs/bench/capacity.png
	$(DEV)/bin/humwatch capacity --score --beside scrape --beside page --beside commissioning \
		$(if $(AGAINST),--against $(AGAINST)) $(if $(AGAINST_MODELS),--against-models $(AGAINST_MODELS)) \
		--json > runs/bench/capacity.json

dashboards: install-dev ## write the dashboards' JSON anew from their code
	PYTHONPATH=docker/grafana $(DEV)/bin/python -m humwatch_dashboards docker/grafana/dashboards

clean: ## remove both environments and what tools left behind
	rm -rf $(RUN) $(DEV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
