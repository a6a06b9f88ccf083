# Each target makes what it needs: all it takes to begin with is python3 (3.11 or newer, with venv and pip) and make.
PYTHON ?= python3
ARGS ?=
UPGRADE ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
INSTALL := $(PIP) install -qq --disable-pip-version-check --require-hashes
LOCK := build/uv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header

# a stamp per lock: what is installed is what the lock says
DEMO := $(VENV)/demo.stamp
DEV := $(VENV)/dev.stamp

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test check lint docs bench chaos compat mutants lock image pin sbom clean

help: ## show this list
	@echo "make TARGET [ARGS=...]"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO) ## send a few thousand events through Redis and a worker to simulated providers
	@trap : INT; $(BIN)/python -m worker demo $(ARGS) || test $$? -eq 130 # Ctrl-C

test: $(DEV) ## run every test but the long ones of `make chaos` and `make compat`
	@$(BIN)/python -m pytest -m "not chaos and not compat" -n 2 --dist loadfile --ignore tests/e2e $(ARGS)
	@$(BIN)/python -m pytest -m "not chaos and not compat" tests/e2e $(ARGS)

check: lint ## format, lint, types and the unit tests
	@$(BIN)/python -m pytest --quiet tests/unit $(ARGS)

lint: $(DEV) ## format, lint and types alone
	@mkdir -p build
	@$(BIN)/ruff format --quiet --diff .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/basedpyright --warnings > build/types.log || { cat build/types.log; exit 1; }

docs: $(DEMO) ## write the tables of docs/settings.md, metrics.md and providers.md anew
	@$(BIN)/python -m worker.reference

bench: $(DEV) ## measure CPU per report and rates, beside stock Celery
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: $(DEV) ## kill, freeze and restart real processes, at length
	@$(BIN)/python -m pytest -m chaos $(ARGS)

compat: $(DEV) ## try the servers, versions, SDKs and languages beside those of `make test`
	@$(BIN)/python -m pytest -m compat $(ARGS)

mutants: $(DEV) ## switch off each protection, and see its test fail (ARGS: parts of names)
	@$(BIN)/python -m tests.mutants $(ARGS)

lock: build/uv/bin/uv ## write requirements/*.txt anew (UPGRADE=--upgrade: with newer versions)
	@$(LOCK) $(UPGRADE) --extra worker pyproject.toml -o requirements/worker.txt
	@$(LOCK) $(UPGRADE) --extra demo -c requirements/worker.txt pyproject.toml -o requirements/demo.txt
	@$(LOCK) $(UPGRADE) --extra demo --group dev -c requirements/worker.txt pyproject.toml -o requirements/dev.txt
	@$(LOCK) $(UPGRADE) --group build -c requirements/dev.txt -o requirements/build.txt
	@$(LOCK) $(UPGRADE) --group sbom -o requirements/sbom.txt

pin: ## pin the images in Dockerfile and compose files by the digests that their tags have today
	@$(PYTHON) -m deploy.pin

sbom: build/sbom/bin/cyclonedx-py ## write build/sbom.json, the Python packages of the image as CycloneDX, judged by its schema
	@build/sbom/bin/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible --validate \
		-o build/sbom.json requirements/worker.txt

image: ## build the worker's image
	@docker build --tag otpreport .

clean: ## remove everything that make made, .venv too
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEMO): requirements/demo.txt | $(BIN)/python
	@echo "installing requirements/demo.txt into $(VENV), once: about 20 seconds" >&2
	@$(INSTALL) -r $<
	@touch $@

$(DEV): requirements/dev.txt | $(BIN)/python
	@echo "installing requirements/dev.txt into $(VENV), once: about a minute" >&2
	@$(INSTALL) -r $<
	@touch $(DEMO) $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "otpreport needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

build/uv/bin/uv:
	@$(PYTHON) -m venv build/uv
	@build/uv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/uv.txt

build/sbom/bin/cyclonedx-py: requirements/sbom.txt
	@$(PYTHON) -m venv --clear build/sbom
	@build/sbom/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@
