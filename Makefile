# Two commands do everything on a machine that has only python3 (3.11+) and make:
#   make benchmark   installs, starts the embedded stack, runs, judges, writes the report
#   make test        installs, checks, and runs all tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LONGEST := tests/test_readme.py tests/benchmarks/test_observability_benchmarks.py
# Compiled tests are kept: without them every pytest and every process it starts compiles them anew.
RUN = env -u PYTHONDONTWRITEBYTECODE PATH="$(CURDIR)/$(BIN):$$PATH"

.DEFAULT_GOAL := help
.PHONY: help benchmark stack test coverage check clean

help:            ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */  make \1\t/' | expand -t 20

benchmark: $(READY)  ## the main job: run all scenarios on the embedded stack and write the report
	@$(BIN)/harness benchmark $(ARGS)

stack: $(READY)  ## keep the embedded stack up, for locust -f scenarios
	@$(BIN)/harness stack $(ARGS)

test: $(READY) check  ## check, then run all tests (installs the system packages they need, where it may)
	@sh tests/system_packages.sh
ifdef ARGS
	@$(RUN) $(BIN)/python -m pytest $(ARGS)
else
# Tests that judge speed or time stalls have the machine to themselves; others that run the whole
# harness go two at a time, the longest first; the rest mostly wait for processes. To collect only
# the files with a mark saves half a minute.
	@$(RUN) $(BIN)/python -m pytest -m alone $$(grep -rl 'mark\.alone' --include='*.py' tests)
	@$(RUN) $(BIN)/python -m pytest -m "whole and not alone" -n 2 --dist loadfile --no-loadscope-reorder \
	  $(LONGEST) $$(grep -rl 'mark\.whole' --include='*.py' tests)
	@$(RUN) $(BIN)/python -m pytest -m "not whole and not alone" -n 3 --dist loadfile
endif

coverage: $(READY)  ## the share of lines and branches that the tests run
	@$(RUN) $(BIN)/python -m pytest -m "not whole and not alone" -n 3 --dist loadfile --cov --cov-report=term:skip-covered

check: $(READY)  ## ruff, mypy strict, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(RUN) $(BIN)/lint-imports --no-logo

clean:           ## remove everything that can be made again (runs in reports/ stay)
	rm -rf $(VENV) .stack .cache reports/.stack-* build *.egg-info .coverage .*_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv where there is one, else pip; both install exactly what requirements.lock pins.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "harness needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@if command -v uv >/dev/null 2>&1; then \
	  echo "installing with uv"; \
	  uv venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(VENV) && \
	  uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock && \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
	  echo "installing with pip"; \
	  $(PYTHON) -m venv $(VENV) || { \
	    [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && \
	    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null && \
	    $(PYTHON) -m venv $(VENV); } || \
	  { echo "Python cannot make virtual environments here; install python3-venv"; exit 1; } && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@touch $(READY)
