# Everything a developer does, by one word. `make` alone tells the words.
# Each target sets up what it needs first: a virtual environment in .venv, from the lock file.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests wait about as long as they compute. Each process has servers of its own, so more than twelve would crowd a machine.
TEST_WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(2 * (os.cpu_count() or 2), 12))')
# A week's distance: a bad release is usually noticed and withdrawn within days.
LOCK_DATE ?= $(shell $(PYTHON) -c 'import datetime as d; print(d.date.today() - d.timedelta(days=7))')
ARGS ?=

# Where packages come from is the user's to configure, by PIP_* or otherwise. Where they go is not.
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_DRY_RUN PIP_CONSTRAINT PIP_REQUIRE_HASHES PIP_NO_DEPS PIP_PYTHON

COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
	--exclude-newer $(LOCK_DATE) --no-emit-index-url --no-emit-find-links --no-header --no-annotate

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help up test prometheus chaos fuzz bench bench-quick check audit format venv lock clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/.ready ## Run the whole platform here until Ctrl-C; make up ARGS="--workers 2 --port 8080"
	@$(BIN)/sspp up $(ARGS)

test: $(VENV)/.ready ## Run all tests; make test ARGS="tests/unit -k money"
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal $(ARGS)

prometheus: ## Get Prometheus's programs into .tools, for the tests that need them (Debian, Ubuntu)
	@infrastructure/scripts/get_prometheus.sh

chaos: $(VENV)/.ready ## Break everything at random, prove nothing is lost; make chaos ARGS="--faults 50 --seed 7"
	@$(BIN)/python tests/chaos/run.py $(ARGS)

fuzz: $(VENV)/.ready ## Send bad input by the hundred thousand; make fuzz ARGS="--inputs 20000 --seed 7"
	@$(BIN)/python tests/fuzz/run.py $(ARGS)

bench: $(VENV)/.bench ## Measure, against the machine's limits and other queues; make bench ARGS="peers --chart DIR"
	@$(BIN)/python tests/bench/run.py $(ARGS)

bench-quick: $(VENV)/.ready ## Measure some ratios in two minutes; fails if one is far below its recorded baseline
	@$(BIN)/python -m pytest tests/bench/test_ratios.py -q --capture=no $(ARGS)

check: $(VENV)/.ready ## Lint, formatting, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

audit: $(VENV)/.ready ## Licences and known vulnerabilities of all dependencies; without network, the licences alone
	@$(BIN)/python infrastructure/scripts/audit.py $(ARGS)

format: $(VENV)/.ready ## Format the code and fix what can be fixed by itself
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

venv: $(VENV)/.ready ## Make or update the virtual environment, nothing else
	@:

lock: $(VENV)/.ready ## Write the lock files anew; make lock LOCK_DATE=2026-11-01 looks no further
	@$(COMPILE) --extra otel --output-file requirements.lock
	@$(COMPILE) --extra local --extra dev --extra otel --output-file requirements-dev.lock
	@$(COMPILE) --extra local --extra dev --extra otel --extra bench --output-file requirements-bench.lock

clean: ## Remove the virtual environment and caches; data in .sspp stays
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or newer," \
		"or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is" \
		"$$($(PYTHON) --version 2>&1), but Python 3.11 or newer is needed: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) lacks the venv module:" \
		"install it (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.requirements: requirements-dev.lock $(VENV)/.python
	@echo "installing what requirements-dev.lock names"
	@$(BIN)/python -m pip install --quiet --requirement requirements-dev.lock
	@touch $@

$(VENV)/.ready: pyproject.toml $(VENV)/.requirements
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.bench: requirements-bench.lock $(VENV)/.ready
	@echo "installing what requirements-bench.lock names"
	@$(BIN)/python -m pip install --quiet --requirement requirements-bench.lock
	@touch $@
