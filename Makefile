# make demo    enhance the sample pictures with the bundled model (core install, no torch)
# make test    lint, types and tests            make test-slow    also the tests that take minutes
# make bench   speed and memory                 make benchmark    figures of all models, as a report in benchmark/
# make clean   remove what make made
#
# PYTHON=python3.12 chooses the interpreter; TORCH=torch chooses another build or version of torch for the tests
# (pip's own settings say from where, for instance PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu).
# make benchmark: DATA=DIR is the folder of LOL v1 with its splits.json, PHOTOGRAPHS=DIR the training pictures of BSDS500 (left
# out where it is missing), JOBS=N how many processes.

PYTHON ?= python3
TORCH ?= torch==2.13.0
WORKERS ?= 2
DATA ?= ../shared/data/lol_v1
PHOTOGRAPHS ?= $(DATA)/../clean
JOBS ?= 1

VENV := .venv
BIN := $(VENV)/bin
# One thread for each of the test workers: more only get in each other's way
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
SAMPLES := src/tapetum/assets/samples

.PHONY: demo check test test-slow bench benchmark clean

demo: $(VENV)/core.stamp
	$(BIN)/tapetum enhance $(SAMPLES) -o demo --compare --overwrite
	@echo "The results are in $(CURDIR)/demo: look at the pictures *-compare.jpg"

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python src

test: check
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

test-slow: check
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS)

bench: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/default_speed.py
	$(BIN)/python benchmarks/enhancer.py

# Predictions are kept, so that again is cheap; the tables go into the documentation
benchmark: $(VENV)/dev.stamp
	$(BIN)/tapetum benchmark benchmarks/benchmark.yaml data.0.folder=$(DATA) \
	  robustness$(if $(wildcard $(PHOTOGRAPHS)),.folder=$(PHOTOGRAPHS),=null) --jobs $(JOBS) -o benchmark
	$(BIN)/python scripts/insert_table.py benchmark/table.md docs/evaluation.md --brief README.md

$(VENV)/core.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/dev.stamp: pyproject.toml $(VENV)/core.stamp
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo benchmark build dist .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
