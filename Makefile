# The repository's own commands. Each works from a fresh checkout: it needs python3 (3.11 or newer) with venv and pip.
SHELL := bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
PORT ?= 8080

.PHONY: help setup up test lint lock proto bench chaos soak mutants

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  \1\t/' | expand -t 12

setup: $(STAMP)  ## the environment in .venv, all extras included

$(STAMP): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@# Some systems ship python3 without ensurepip: virtualenv makes the environment then.
	$(PYTHON) -m venv .venv 2>/dev/null || { rm -rf .venv; $(PYTHON) -m pip install --quiet --target .venv.bootstrap virtualenv \
		&& PYTHONPATH=.venv.bootstrap $(PYTHON) -m virtualenv --quiet .venv && rm -rf .venv.bootstrap; }
	@# The locked file is whole, so nothing is resolved: pip would look at releases that came after the lock.
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip check --quiet
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

up: setup  ## a whole contest in one process on http://localhost:8080
	$(BIN)/aplauso up --port $(PORT)

test: setup  ## all tests, with the servers and the browser that they need
	./tests/run

lint: setup  ## style, types, layers, protos
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	./proto/check

bench: setup  ## every figure beside its limit; ROW=name for one group, QUICK=1 for a short pass
	$(BIN)/python -m bench $(if $(ROW),--row $(ROW)) $(if $(QUICK),--quick)

chaos: setup  ## rounds of faults under load, every vote checked; ROUNDS=n SEED=s
	PYTHONPATH=tests $(BIN)/python -m chaos $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

soak: setup  ## half an hour of votes at a steady pace: memory stays flat, no lag grows; MINUTES=30 RATE=2000 SEED=s
	PYTHONPATH=tests $(BIN)/python -m chaos.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(RATE),--rate $(RATE)) \
		$(if $(SEED),--seed $(SEED))

mutants: setup  ## one guarantee after the other taken out of a copy of the code: a test has to fail; ONLY=text for some
	$(BIN)/python -m tests.mutants $(if $(ONLY),--only "$(ONLY)")

proto: setup  ## the Python code of the .proto files
	./proto/generate

lock: setup  ## pins every dependency with its hash
	./requirements/lock
