# Two commands on a fresh machine: `make up` and `make test`. Only Python 3.11+ and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
SETUP := $(VENV)/.installed
SETUP_DEV := $(VENV)/.installed-dev

.PHONY: up test test-slow lint format validate benchmarks clean

up: $(SETUP) ## install, take the embedded leagues through the whole graph, serve the Dagster UI
	$(BIN)/hoops up

test: $(SETUP_DEV) ## everything that is not marked slow
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(SETUP_DEV) ## chaos, soak, flood and other long suites
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

lint: $(SETUP_DEV) ## style, types, and which module may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(SETUP_DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

validate: $(SETUP)
	$(BIN)/dagster definitions validate -w workspace.yaml

benchmarks: $(SETUP_DEV) ## prints figures and ratios; takes many minutes
	$(BIN)/python benchmarks/loading.py
	$(BIN)/python benchmarks/backfill.py

clean:
	rm -rf $(VENV) .hoops

$(VENV)/bin/uv: Makefile
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(SETUP): setup.cfg constraints.txt $(VENV)/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e .
	@touch $@

$(SETUP_DEV): setup.cfg constraints.txt $(VENV)/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@ $(SETUP)
