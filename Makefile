# make demo    a real campaign through the Prefect flow, on this machine alone: no key, no money
# make up      Prefect's UI with the forms and the schedules, on this machine; make down stops it
# make test    all tests
# make torture every crash that we can think of, an hour at most (needs strace)
# make install only the environment, in .venv
# make lint    style, types, import contract
# make lock    resolve the dependencies anew (needs uv)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
DEMO_ARCHIVE := .demo/archive
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: install demo up down test torture lint lock

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "adloom needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: install
	$(BIN)/adloom run campaigns/spring-launch.yaml --sandbox --prefect --yes --archive $(DEMO_ARCHIVE)

up: install
	$(BIN)/python -m adloom.flows.standing up

down: install
	$(BIN)/python -m adloom.flows.standing down

test: install
	$(BIN)/python -m pytest

torture: install
	$(BIN)/python tests/torture/everything.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --output-file requirements.lock
