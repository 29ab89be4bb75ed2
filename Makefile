# The one way to run things: CI and the README call these targets.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: run setup test check bench format clean

run: .venv/.run
	$(BIN)/python main.py

setup: .venv/.dev

test: .venv/.dev tests/node/node_modules/.ready tests/sdk1/.venv/.ready
	$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_tree.py

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.dev
	$(BIN)/python -m bench

clean:
	rm -rf .venv tests/node/node_modules tests/sdk1/.venv

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "MCProxy needs Python 3.11 or newer"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.run: requirements.txt pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --require-hashes -r requirements.txt
	echo "$(CURDIR)/src" > "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')/mcproxy-checkout.pth"
	touch $@

.venv/.dev: requirements-dev.txt .venv/.run
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.txt
	touch $@

# Servers, clients and a conformance suite that nobody here wrote, as peers in the tests, and the
# SDK of the line before. What cannot be installed is tried again next time; its tests are skipped.
tests/node/node_modules/.ready: tests/node/package-lock.json
	npm ci --prefix tests/node --silent --no-audit --no-fund && touch $@ \
	|| echo "no npm, or no registry: tests with Node programs are skipped"

tests/sdk1/.venv/.ready: tests/sdk1/requirements.txt | .venv/bin/python
	$(BIN)/python -m venv --clear tests/sdk1/.venv
	tests/sdk1/.venv/bin/pip install --quiet --require-hashes -r $< && touch $@ \
	|| { rm -rf tests/sdk1/.venv; echo "no registry: tests with the SDK 1 are skipped"; }
