# make test   environment, lint, types, tests; PROCESSES=8 on a larger machine
# make backends   tests on Keras' JAX and PyTorch backends, with DINOv2 and on Ray, in an environment of their own (large)
# make demo   the whole line on a rendered town; DATA=folder WEIGHTS=file PREPROCESSING=caffe|torch for your own
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUTPUT ?= demo
SEED ?= 0
PROCESSES ?= 2
# Whether TensorFlow uses oneDNN depends on the processor. Tests of numbers that TensorFlow computes run once more with
# the other choice, which rounds otherwise: none may hang on the last bit. Not those of retrieval and whitening, which are
# without TensorFlow (tests/test_imports.py), nor the rest of evaluation, whose own numbers are NumPy's: a repetition
# could show nothing.
OTHER_ONEDNN := $(BIN)/python -c "from tensorflow.python.util import _pywrap_util_port as port; \
	print(int(not port.IsMklEnabled()))" 2> /dev/null
NUMERIC := tests/layers tests/losses tests/evaluation/comparisons/test_database_maps.py \
	tests/export/fidelity/test_meter.py
SHELL := /bin/bash

.PHONY: env test backends lint types demo lock clean

env: $(VENV)/.installed

$(VENV)/.installed: requirements.lock setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/mypy

# A process that crashes ends the run: another in its place would begin the file again, and crash for ever.
RUN_TESTS = $(BIN)/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --max-worker-restart=0

test: lint types
	$(RUN_TESTS)
	TF_ENABLE_ONEDNN_OPTS=$$($(OTHER_ONEDNN)) $(RUN_TESTS) $(NUMERIC)

$(VENV)-backends/.installed: requirements.lock setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)-backends
	$(VENV)-backends/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(VENV)-backends/bin/pip install --quiet --disable-pip-version-check --no-build-isolation \
		--editable '.[cpu,serving,export,onnx,sfm,report,index,extract,ray,dev,dinov2,backends]'
	touch $@

backends: $(VENV)-backends/.installed
	$(VENV)-backends/bin/pytest -m 'backends or ray'

demo: env
	$(BIN)/python -m trainers.demo --output=$(OUTPUT) --seed=$(SEED) \
		$(if $(DATA),--data=$(DATA)) $(if $(WEIGHTS),--weights=$(WEIGHTS)) \
		$(if $(PREPROCESSING),--preprocessing=$(PREPROCESSING))

# Resolves setup.py's bounds anew, for all supported Pythons, with the SHA-256 of every file. Needs `pip install uv`.
lock:
	uv pip compile --quiet --universal --python-version 3.11 setup.py \
		--extra cpu --extra serving --extra client --extra export --extra onnx --extra sfm --extra report --extra index --extra extract --extra dev --no-header \
		--generate-hashes -o requirements.lock

clean:
	rm -rf $(VENV) $(VENV)-backends demo build dist *.egg-info
