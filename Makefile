# make demo    a real campaign through the Prefect flow, on this machine alone: no key, no money
# make up      Prefect's UI with the forms and the schedules, on this machine; make down stops it
# make test    all tests
# make torture every crash that we can think of, an hour at most (needs strace)
# make mutants change the code that decides about money, one thing at a time, and see whether a test notices
# make install only the environment, in .venv: what adloom needs to run, and nothing for developers
# make bench   adloom beside a script, the floor and the usual Prefect recipe, as ratios; some ten minutes; docs/performance.md
# make lint    style, types, import contract
# make bill    the bill of materials of what make install installs, in build (CycloneDX)
# make audit   the same, and its known faults: make audit ADVISORIES=all.zip
# make lock    resolve the dependencies anew (needs uv)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
EQUIPPED := .venv/.equipped
WHEELS := $(BIN)/python -m pip install --quiet --no-deps --only-binary :all: --require-hashes -r
COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --quiet
BILL := build/adloom.cdx.json
DEMO_ARCHIVE := .demo/archive
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Containers like to set this. The tests start some three hundred processes, which would compile adloom each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo up down test torture mutants bench lint bill audit lock

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "adloom needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(WHEELS) requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-index --no-build-isolation --editable .
	touch $@

$(EQUIPPED): $(INSTALLED) requirements-dev.lock
	$(WHEELS) requirements-dev.lock
	touch $@

demo: install
	$(BIN)/adloom run campaigns/spring-launch.yaml --sandbox --prefect --yes --archive $(DEMO_ARCHIVE)

up: install
	$(BIN)/python -m adloom.orchestration.local_stack up

down: install
	$(BIN)/python -m adloom.orchestration.local_stack down

test: $(EQUIPPED)
	$(BIN)/python -m pytest

torture: $(EQUIPPED)
	$(BIN)/python tests/torture/everything.py

mutants: $(EQUIPPED)
	$(BIN)/python tools/mutants.py

bench: install
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/compare.py --rounds 1 --only flow,mapped --beside mapped

lint: $(EQUIPPED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bill: $(EQUIPPED)
	mkdir -p $(dir $(BILL))
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible -o $(BILL)

audit: bill
	$(BIN)/python tools/known_faults.py $(BILL) $(ADVISORIES)

# The second lock holds what the first does not, and not what costs every process that imports Prefect a second: jsonschema
# reads a grammar of addresses if it finds it, and only for a format that nobody here uses.
SLOW := rfc3987-syntax lark
lock:
	$(COMPILE) --extra checkout --extra prefect --output-file requirements.lock
	$(COMPILE) --extra dev --extra prefect --extra c2pa --constraint requirements.lock --output-file requirements-dev.lock \
		$(SLOW:%=--no-emit-package %) $$(sed -n 's/^\([a-z0-9._-]*\).*==.*/--no-emit-package \1/p' requirements.lock)
