# The one way to run things: CI and the README call these targets.

# Bytecode is kept: the tests start thousands of interpreters.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

# Everything that every way of testing needs.
PARTS := $(VENV)/.dev tests/node/node_modules/.ready tests/sdk1/.venv/.ready

COMPILE := pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-strip-extras --custom-compile-command "make requirements"

.PHONY: run setup test test-deploy test-debug test-pythons test-pythons-some coverage check audit sbom fuzz bench bench-peers docs format requirements dist clean

# `make run PORT=8080`: another port than 12010.
run: $(VENV)/.run
	$(BIN)/mcproxy $(if $(PORT),--port $(PORT))

setup: $(VENV)/.dev

# Everything but the image in Podman, which has a target of its own.
test: $(PARTS)
	$(BIN)/python -m pytest -n auto --ignore=tests/deploy $(PYTEST_ARGS)

# The image, and what starts it: needs Podman, and builds the image first (some minutes).
test-deploy: $(PARTS)
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests/deploy

# With asyncio's debug mode in the tests and in every gateway that they start. One process a core: a loop
# that waits for the processor looks as if it were held up.
test-debug: $(PARTS)
	PYTHONASYNCIODEBUG=1 $(BIN)/python -m pytest -n $$(nproc) --ignore=tests/deploy $(PYTEST_ARGS)

# With every other Python that is there, each in an environment of its own.
test-pythons: $(VENV)/.dev
	@failed=; for python in $$(.ci/pythons $(BIN)/python); do \
		version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "== Python $$version"; \
		$(MAKE) test VENV=.venvs/$$version PYTHON=$$python || failed="$$failed $$version"; \
	done; test -z "$$failed" || { echo "failed with Python$$failed"; exit 1; }

# Of these, what the interpreter itself decides: modules and system calls of the jail, scripts, bytes, tasks.
OF_THE_PYTHON := tests/store tests/sandbox/jail $(wildcard tests/sandbox/test_script_*.py) \
	tests/sandbox/test_selftest.py tests/sandbox/test_shortage.py tests/wire tests/cancellation tests/test_shortage.py

test-pythons-some:
	$(MAKE) test-pythons PYTEST_ARGS="$(OF_THE_PYTHON) $(PYTEST_ARGS)"

# Branches of src/, what runs inside the sandbox included; of all tests, less than `fail_under` of
# pyproject.toml is a failure. It takes twice the processor time of `make test`. Inside the sandbox what
# follows a script is a call more, so where its stack ends is another line, and it writes to more pages.
coverage: $(PARTS)
	$(BIN)/python -m pytest -n auto --ignore=tests/deploy --timeout=400 \
		--deselect "tests/sandbox/test_script_errors.py::test_errors_say_what_where_and_what_to_do[recursion]" \
		--deselect tests/sandbox/test_executions.py::test_a_worker_writes_to_few_pages \
		--cov --cov-report=term:skip-covered $(if $(PYTEST_ARGS),--cov-fail-under=0) $(PYTEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_tree.py

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Known faults of what is installed; asks the advisories of the package registry.
audit: $(VENV)/.dev
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m tests.audit requirements.txt

# A CycloneDX bill of materials of what is installed, in sbom.json.
sbom: $(VENV)/.dev
	$(BIN)/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.txt --no-validate -o sbom.json

# Changed inputs for every parser of hostile bytes, SECS each, and a table.
fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzzing $(or $(SECS),60)

# What bench/RESULTS.md says, measured anew: some 15 minutes on an idle machine. PART="tokens start" measures
# these alone, QUICK=1 only tries them and keeps nothing, CRASHES=10000 soaks longer. MCPROXY_CATALOGUES names the
# folder of the catalogues, which are not part of this project.
bench: $(VENV)/.dev
	$(BIN)/python -m bench measure $(if $(QUICK),--quick) $(if $(CRASHES),--crashes $(CRASHES)) $(PART)

# The programs of others that are measured beside ours, pinned, in .venvs/peers.
bench-peers: .venvs/peers/.ready

# The documentation as a site, in site/; a broken link or a page that is in no menu is an error.
docs: .venvs/docs/.ready
	NO_MKDOCS_2_WARNING=1 .venvs/docs/bin/mkdocs build --strict --quiet

# What pyproject.toml asks for, pinned with hashes; pins that still fit stay. UPGRADE=1 takes the newest.
requirements: $(VENV)/.dev
	$(BIN)/uv $(COMPILE) $(if $(UPGRADE),--upgrade) pyproject.toml -o requirements.txt
	$(BIN)/uv $(COMPILE) $(if $(UPGRADE),--upgrade) --extra dev pyproject.toml -o requirements-dev.txt
	$(BIN)/uv $(COMPILE) $(if $(UPGRADE),--upgrade) deploy/requirements.in -o deploy/requirements.txt
	$(BIN)/uv $(COMPILE) $(if $(UPGRADE),--upgrade) --group docs -o requirements-docs.txt
	for peer in fastmcp mcp-proxy; do $(BIN)/uv $(COMPILE) bench/peers/$$peer.in -o bench/peers/$$peer.txt; done

# The source distribution and the wheel, in dist/; the version is the tag's.
dist: $(VENV)/.dev
	$(BIN)/uv build --quiet
	rm -f src/mcproxy/_version.py

clean:
	rm -rf dist site .venv .venvs tests/node/node_modules tests/sdk1/.venv

# A stamp, for a venv whose making was cut short has a python too; one that is whole is kept.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "MCProxy needs Python 3.11 or newer"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.run: requirements.txt pyproject.toml | $(VENV)/.made
	@echo "Installing into $(VENV), once; about a minute."
	@$(BIN)/pip install --quiet --require-hashes -r requirements.txt
	@printf '#!%s\nfrom mcproxy.cli import main\n\nmain()\n' "$(abspath $(BIN))/python" > $(BIN)/mcproxy
	@chmod +x $(BIN)/mcproxy
	@echo "$(CURDIR)/src" > "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')/mcproxy-checkout.pth"
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.txt
	touch $@

.venvs/peers/.ready: bench/peers/fastmcp.txt bench/peers/mcp-proxy.txt bench/peers/package-lock.json | $(VENV)/.dev
	for peer in fastmcp mcp-proxy; do $(PYTHON) -m venv --clear .venvs/peers/$$peer \
		&& .venvs/peers/$$peer/bin/pip install --quiet --require-hashes -r bench/peers/$$peer.txt || exit 1; done
	cp bench/peers/package.json bench/peers/package-lock.json bench/peers/.npmrc .venvs/peers
	npm ci --prefix .venvs/peers --silent --no-audit --no-fund
	touch $@

# Apart from the others: it is needed for nothing else.
.venvs/docs/.ready: requirements-docs.txt
	$(PYTHON) -m venv --clear .venvs/docs
	.venvs/docs/bin/pip install --quiet --require-hashes -r $<
	touch $@

# Servers, clients and a conformance suite that nobody here wrote, as peers in the tests, and the
# SDK of the line before. What cannot be installed is tried again next time; its tests are skipped.
tests/node/node_modules/.ready: tests/node/package-lock.json
	npm ci --prefix tests/node --silent --no-audit --no-fund && touch $@ \
	|| echo "no npm, or no registry: tests with Node programs are skipped"

tests/sdk1/.venv/.ready: tests/sdk1/requirements.txt | $(VENV)/.made
	$(BIN)/python -m venv --clear tests/sdk1/.venv
	tests/sdk1/.venv/bin/pip install --quiet --require-hashes -r $< && touch $@ \
	|| { rm -rf tests/sdk1/.venv; echo "no registry: tests with the SDK 1 are skipped"; }
