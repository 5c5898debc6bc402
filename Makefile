# The two commands are `make app` and `make test`; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501
WORKERS ?= 2

.PHONY: help app test check fix test-all bench peers browser clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, got " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	touch $(VENV)/.app $@

app: $(VENV)/.app  ## Install and start the app on http://127.0.0.1:8501, on the embedded demo
	$(BIN)/python -m streamlit run app.py --server.port $(PORT)

test: $(VENV)/.dev browser  ## Install with development tools and a browser, then run all tests
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

check: $(VENV)/.dev  ## Lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports --no-cache

fix: $(VENV)/.dev  ## Format and apply safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test-all: $(VENV)/.dev browser  ## All tests, those that take minutes included
	$(BIN)/python -m pytest -q -m ""

bench: $(VENV)/.dev  ## Benchmarks as ratios to what cannot be avoided
	$(BIN)/python -m pytest tests/benchmarks -q --benchmark-only

peers: $(VENV)/.dev  ## Side by side with other tools, in an environment of their own (.venv-peers)
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --requirement tests/peers/requirements.txt
	.venv-peers/bin/pip install --quiet --no-deps torchvision==0.28.0 onnx onnxruntime
	BITLENS_PEERS_PYTHON=$(CURDIR)/.venv-peers/bin/python $(BIN)/python -m pytest tests/peers -q -s

browser: $(VENV)/.dev  ## Make sure that a browser for the tests is there
	$(BIN)/python tests/browser/find_browser.py --install

clean:  ## Remove the virtual environment and tool caches, not the results
	rm -rf $(VENV) .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
