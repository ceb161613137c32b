# One command each: make demo | test | lint | bench | docs | wheel. Each sets up what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Parallel tests: as many workers as cores, torch on one thread in each.
WORKERS ?= auto
# Seeds of bench-rl.
SEEDS ?= 0 1 2

.PHONY: help setup core demo test test-browser lint format bench bench-tokenizer bench-rl bench-instructions docs wheel clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 27

setup: $(VENV)/.ready core ## make .venv with everything the demo and the tests need, and build the extension

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "gristlm needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	@command -v cargo >/dev/null || { echo "gristlm is built with Rust: install it (https://rustup.rs) and run make again"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --group dev --editable '.[all]'
	touch $@

core: $(VENV)/.ready ## rebuild the extension in place (incremental)
	@cargo build --locked --quiet --profile dev-release -p gristlm-python
	@cmp -s target/dev-release/lib_core.so python/gristlm/_core.abi3.so || { \
		cp target/dev-release/lib_core.so python/gristlm/.core.tmp.so && mv -f python/gristlm/.core.tmp.so python/gristlm/_core.abi3.so; }

demo: setup ## raw text to an aligned chat model on this CPU, under ten minutes; report in runs/demo/report.html
	$(BIN)/gristlm demo --output runs/demo

test: setup ## Rust and Python tests
	cargo test --locked --quiet --workspace --profile dev-release
	$(BIN)/python -m pytest -n $(WORKERS) --ignore tests/browser tests

test-browser: setup ## the pages in a real Chromium (Debian's; installed by root where it is missing); screenshots in target/screenshots
	$(BIN)/python -m pip install --quiet --group browser
	@command -v chromium >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || { \
		apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } || true
	$(BIN)/python -m pytest tests/browser

lint: setup ## formatting, clippy, ruff, mypy strict, the stub proven, the floors
	cargo fmt --all --check
	cargo clippy --locked --quiet --workspace --all-targets --profile dev-release -- -D warnings
	$(BIN)/ruff format --check python tests bench
	$(BIN)/ruff check python tests bench
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest gristlm._core
	$(BIN)/lint-imports

format: setup ## format Rust and Python
	cargo fmt --all
	$(BIN)/ruff format python tests bench
	$(BIN)/ruff check --fix-only python tests bench

bench: setup ## us and the installed peers, side by side in one process
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python -m pytest bench --benchmark-only -p no:xdist

bench-tokenizer: setup ## the tokenizer's table, written to bench/README.md
	$(BIN)/python -m pip install --quiet --group bench
	mkdir -p target
	{ printf '# The tokenizer beside its peers\n\nWritten by `make bench-tokenizer`: one thread, equal results asserted before anything is timed, the best of interleaved rounds.\nFine-tuning beside TRL: [finetune.md](finetune.md).\n\n```text\n' && \
	  $(BIN)/gristlm bench tokenizer && printf '```\n'; } > target/bench.md
	mv target/bench.md bench/README.md
	cat bench/README.md

bench-rl: setup ## the three recipes of reinforcement learning, beside their goals (about half an hour for SEEDS="0 1 2")
	$(BIN)/python bench/rl.py --seeds $(SEEDS) --output runs/bench-rl

bench-instructions: setup ## instructions counted beside the kept counts (needs valgrind)
	$(BIN)/python bench/instructions.py

docs: setup ## build the documentation into site/
	$(BIN)/python -m pip install --quiet --group docs
	$(BIN)/sphinx-build --quiet --fail-on-warning docs site

wheel: $(VENV)/.ready ## a portable manylinux2014 wheel, tested in a fresh environment with numpy alone
	$(BIN)/python -m pip install --quiet maturin ziglang
	rm -rf dist target/wheel-test
	PATH="$(CURDIR)/$(BIN):$$PATH" maturin build --release --zig --compatibility manylinux2014 --out dist
	$(PYTHON) -m venv target/wheel-test
	target/wheel-test/bin/python -m pip install --quiet numpy pytest
	target/wheel-test/bin/python -m pip install --quiet --no-deps dist/*.whl
	target/wheel-test/bin/python -m pytest tests/tokenize -m "not extras" -o addopts=--import-mode=importlib -p no:cacheprovider -W ignore::pytest.PytestConfigWarning -W ignore::pytest.PytestUnknownMarkWarning -q

clean: ## remove everything that make made
	rm -rf $(VENV) target dist site runs python/gristlm/_core.abi3.so
