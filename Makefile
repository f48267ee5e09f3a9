# Each target sets itself up: the first one that is called makes .venv and installs into it, the others find it there.
# PYTHON is the interpreter that makes .venv (3.11 or newer): make PYTHON=python3.12 test
# TORCH is the build of PyTorch that the first call installs, such as cpu or cu132. By default it is that of the package
# index, which brings 3 GB of CUDA libraries on Linux: make demo TORCH=cpu

PYTHON ?= python3
TORCH ?=
PYTORCH := https://download.pytorch.org/whl
IMAGES ?= examples
WORDS ?= penguin, snowman, castle, shark, duck, bus, snake, ladder, sky, grass, water, sand
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: help demo examples test lint format wheel results screenshots benchmarks

help:
	@echo "make demo      open the page (OPTIONS=\"--preload --port 8000\"; all: OPTIONS=--help)"
	@echo "make demo TORCH=cpu  the same; the first call installs PyTorch without 3 GB of CUDA libraries"
	@echo "make examples  segment the example images into out/ (others: IMAGES=… WORDS=\"a, b\")"
	@echo "make test      run the tests in two processes (some: PYTEST=tests/cli)"
	@echo "make lint      check style and formatting"
	@echo "make format    put style and formatting right, as far as that can be done by itself"
	@echo "make wheel     build the package into dist/"
	@echo "make results   measure the model sticker-world and write docs/results.md"
	@echo "make benchmarks measure most speeds of docs/explanation/performance.md; 25 to 80 minutes"
	@echo "make screenshots take the images of the page in docs/images (needs chromium)"

demo: $(READY)
	$(PY) app.py $(OPTIONS)

examples: $(READY)
	$(PY) -m ovseg_demo segment $(IMAGES) --classes "$(WORDS)" --output out

test: $(READY)
	$(PY) -m pytest -n 2 --dist worksteal $(PYTEST)

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(READY)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

wheel: $(READY)
	$(PY) -m hatchling build -t wheel

results: $(READY)
	$(PY) -m ovseg_demo.evaluation.results

benchmarks: $(READY)
	sh benchmarks/cpu.sh

screenshots: $(READY)
	$(PY) scripts/screenshots.py
	$(PY) scripts/walk.py

$(READY): requirements.txt requirements-dev.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one: make PYTHON=python3.12")'
	$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(if $(TORCH),$(PY) -m pip install --no-deps -c constraints.txt --index-url $(PYTORCH)/$(TORCH) torch torchvision)
	$(PY) -m pip install -r requirements-dev.txt -c constraints.txt
	@touch $@
