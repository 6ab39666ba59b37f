# Everything runs in .venv, which is made from requirements.lock when it is missing or out of date.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow bench lint format types layers check wheel clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "QWorkbench needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing the pinned environment into .venv; the first time takes some minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## quantum and classical models compared on real data, with a report (QUICK=1: the short form)
	$(BIN)/qworkbench demo $(if $(QUICK),--quick)

test: $(READY) ## the tests; ARGS="tests/circuits -x" goes to pytest
	$(BIN)/python -m pytest -n 2 $(ARGS)

test-slow: $(READY) ## the tests marked slow (pytest's 5, no such test, is fine)
	$(BIN)/python -m pytest -n 2 -m "slow and not hardware" $(ARGS) || [ $$? -eq 5 ]

bench: $(READY) ## speed beside PennyLane (and more peers with the extra bench) into docs/performance.md (QUICK=1: minutes)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

lint: $(READY) ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## mend style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY) ## mypy
	$(BIN)/mypy

layers: $(READY) ## who may import whom
	$(BIN)/lint-imports

check: lint types layers ## lint, types and layers

wheel: $(READY) ## what a wheel holds
	$(BIN)/python -m pytest tests/test_packaging.py

clean: ## remove .venv, builds and caches; run directories stay
	rm -rf .venv build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
