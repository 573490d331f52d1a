# `make help` lists what can be done here.

HOSTS ?= 1
# How much `make bench` does (tiny, small, full), and which benchmarks or mutants:
# `make bench ONLY="latency"`, `make mutants ONLY="weir_operator.scheduling"`.
SIZE ?= full
ONLY ?=
# How many tests run side by side in `make test`, and more arguments for pytest there:
# `make test PYTEST="-k registry -x"`, `make test WORKERS=0` (one after the other, in one process).
WORKERS ?= 4
PYTEST ?=

PYTHON := PYTHONPATH=hack .venv/bin/python
DEVCLUSTER := $(PYTHON) -m devcluster
LOCK := UV_CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/uv pip compile --quiet $(UPGRADE) \
	--python-version 3.11 --generate-hashes --no-emit-index-url

.DEFAULT_GOAL := help
.PHONY: help setup demo up down status test mutants bench lint generate plugin format lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  HOSTS=n         hosts that share this machine in demo and up (now $(HOSTS))"
	@echo "  WORKERS=n       tests that run side by side in test (now $(WORKERS)); PYTEST=\"-k x\" which"
	@echo "  SIZE=small      how much bench does (tiny, small, full); ONLY=\"latency control\" which"
	@echo "  WEIR_STATE_DIR  where an instance is kept (default .weir)"

setup: ## Install what is missing: Debian packages, .venv
	@hack/setup test

demo: ## Start Weir on this machine and run a first Task
	@hack/setup
	@$(DEVCLUSTER) demo --hosts $(HOSTS)

up: ## Start Weir on this machine, or resume what was interrupted
	@hack/setup
	@$(DEVCLUSTER) up --hosts $(HOSTS)

down: ## Stop all that demo and up started, and remove it
	@if [ -e "$${WEIR_STATE_DIR:-.weir}" ]; then hack/setup && $(DEVCLUSTER) down; \
	else echo "Nothing to stop: there is no $${WEIR_STATE_DIR:-.weir}."; fi

status: ## Show what runs, since when, and its last error
	@if [ -e "$${WEIR_STATE_DIR:-.weir}" ]; then hack/setup && $(DEVCLUSTER) status; \
	else echo "Nothing runs: there is no $${WEIR_STATE_DIR:-.weir}. \`make demo\` starts it."; fi

test: lint ## Run lint and all tests
	@$(DEVCLUSTER) binaries
	@.venv/bin/python -m pytest -n $(WORKERS) $(PYTEST)

mutants: setup ## Put faults into the pure modules: which does no test notice? (minutes)
	@$(PYTHON) -m mutants $(ONLY)

bench: ## Measure Weir against raw Docker and bare API calls
	@hack/setup
	@$(PYTHON) -m bench --size $(SIZE) $(ONLY)

lint: setup ## Check format, style, types, layers and generated files
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/python hack/generate_crds.py --check

generate: setup ## Write the CRDs in crds/yaml anew from the models
	@.venv/bin/python hack/generate_crds.py

plugin: setup ## Write the kubectl plugin as one file, dist/kubectl-weir
	@.venv/bin/python hack/plugin.py

format: setup ## Put all Python code into the project's format
	@.venv/bin/ruff format --quiet .
	@.venv/bin/ruff check --quiet --fix .

lock: setup ## Pin what pyproject.toml asks for (UPGRADE=--upgrade: the newest of all)
	@$(LOCK) --all-extras pyproject.toml --output-file requirements.lock
	@$(LOCK) --no-annotate hack/go.in --output-file hack/go.lock
