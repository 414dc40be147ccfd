# Everything runs in a virtual environment of its own; a machine needs python3, pip and make, and for the tests of
# `shlo report` Chromium (apt-get install chromium).
#   make demo    the main job on a real model: optimize, shard, partition, prove
#   make test    the whole test suite
#   make check   lint, types, layering
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT := build/demo

.PHONY: demo test check clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV) || ($(PYTHON) -m pip install virtualenv && $(PYTHON) -m virtualenv $(VENV))
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,rich]'
	touch $@

demo: $(VENV)/installed
	mkdir -p $(OUT)
	$(BIN)/shlo opt examples/decoder/train_step.mlir -O --mlir-print-debuginfo -o $(OUT)/optimized.mlir
	$(BIN)/shlo verify examples/decoder/train_step.mlir $(OUT)/optimized.mlir
	$(BIN)/shlo shard $(OUT)/optimized.mlir --rules examples/decoder/megatron.toml -o $(OUT)/sharded.mlir
	$(BIN)/shlo partition $(OUT)/sharded.mlir -o $(OUT)/per_device.mlir
	$(BIN)/shlo verify examples/decoder/train_step.mlir $(OUT)/per_device.mlir

test: $(VENV)/installed
	$(BIN)/python -m pytest -n auto --dist worksteal

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build
