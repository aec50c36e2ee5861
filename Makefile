# Two commands: `make demo` audits a real model on real data, `make test` checks everything.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test lint generate benchmark clean

$(BIN)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

# The stubs of TensorRT depend on TensorRT itself, which type checking can do without.
$(BIN)/.dev: pyproject.toml .ci/fix_stubs.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'tensorrt-stubs==10.13.*'
	$(BIN)/python .ci/fix_stubs.py $(VENV)/stubs
	touch $@ $(BIN)/.demo

demo: $(BIN)/.demo
	$(BIN)/calaudit demo

lint: $(BIN)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What is made from the dataclasses of a report: its JSON Schema, its tables in docs/.
generate: $(BIN)/.dev
	$(BIN)/python docs/generate.py

# PYTEST: more options, as .ci/run gives them. A file's tests stay in one process, and share its
# fixtures; files start in the order of tests/conftest.py. Tests start hundreds of processes: with
# PYTHONDONTWRITEBYTECODE set, each would compile the package anew. There is a process for each core,
# and matrix products spread over all cores would only wait for one another.
test: lint
	$(BIN)/python -m compileall -q -j 0 calaudit
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(PYTEST)

# What calaudit costs beside its peers, in one table, within ten minutes. TABLE: more options, as
# `--into docs/benchmarks.md`.
benchmark: $(BIN)/.dev
	$(BIN)/python benchmarks/table.py $(TABLE)

clean:
	rm -rf $(VENV) calaudit-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
