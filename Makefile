# The commands of this project; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench chaos pictures lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

demo: $(VENV)/.runtime ## a clinic, a provider and one message for each rule, on this machine; Ctrl-C ends it
	@$(BIN)/python -m imessage_hub.demo $(ARGS)

test: $(VENV)/.dev ## the whole suite, on SQLite; on PostgreSQL with DATABASE_URL set; ARGS goes to pytest
	@mkdir -p var
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev ## format, lint, types, import directions, migrations, deployment checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/python -m django makemigrations --check --dry-run --settings tests.settings
	$(BIN)/python -m django check --settings tests.settings
	.ci/check-deploy $(BIN)/python

bench: $(VENV)/.dev ## the hub against floors of the same run; ARGS="--quick accept deliver", ARGS=--help
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: $(VENV)/.dev ## 10,000 messages through a hub in trouble; ARGS=--short, --broken, --help
	@$(BIN)/python -m tests.chaos $(ARGS)

pictures: $(VENV)/.dev ## a picture of every page, from a demo of its own; wants Debian's chromium
	$(BIN)/python -m docs.make_pictures

lock: | $(VENV)/bin/python ## renew the locks after a change of requirements*.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[0-9.]*' requirements-dev.txt)"
	$(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header \
		requirements.txt -o requirements.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header \
		requirements-dev.txt -o requirements-dev.lock

clean: ## forget the virtual environment and everything the demo made
	rm -rf $(VENV) var staticfiles/* .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 …"; exit 1; }
	@echo "Making the virtual environment …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock | $(VENV)/bin/python
	@echo "Installing what it runs on …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock | $(VENV)/bin/python
	@echo "Installing what it is developed with …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip check
	@touch $@ $(VENV)/.runtime
