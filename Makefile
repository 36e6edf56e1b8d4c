# Everything here sets up what it needs: a fresh machine has Rust, Python 3 with venv, make and gcc.

SHELL := /bin/bash
.DEFAULT_GOAL := help

TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
# Static: the same file runs in every image, FROM scratch included.
export RUSTFLAGS := -C target-feature=+crt-static $(RUSTFLAGS)
CARGO_FLAGS := --release --locked --target $(TARGET)
BINARY := target/$(TARGET)/release/kale-agent
VENV := target/venv
PYTHON := $(VENV)/bin/python
SKIPS := $(CURDIR)/target/skipped.txt
STORE ?= target/demo/store
BENCH_VENV := target/bench-venv
SCALE ?= 1
ROUNDS ?= 5
WORKLOADS ?=
PEERS ?=
STAGES ?=

.PHONY: help build bench bench-stages demo demo-containers test tests-built lint deny images clean-demo

help: ## Show what there is to make.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

build: ## Build the static binary, target/kale-agent.
	cargo build $(CARGO_FLAGS) -p kale-agent
	@ln -sf $(TARGET)/release/kale-agent target/kale-agent

$(VENV)/.installed: images/flights/requirements.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# What only tests need: an S3 server, and what validates injected manifests.
$(VENV)/.tests: tests/requirements.txt tests/python/requirements.txt $(VENV)/.installed
	$(PYTHON) -m pip install --quiet --disable-pip-version-check \
	  --requirement tests/requirements.txt --requirement tests/python/requirements.txt
	@touch $@

demo: build $(VENV)/.installed ## Run a real pipeline on this machine: flights from New York, 16 steps.
	$(PYTHON) images/flights/run.py --agent $(BINARY) --store $(STORE) --work target/demo/work

demo-containers: build images ## The same with one container a step, where a Docker engine answers.
	python3 images/flights/run.py --agent $(BINARY) --store $(STORE)-containers --work target/demo/work-containers \
	  --containers kale-flights:demo

# Beside the build: the last crate of either leaves a core idle.
tests-built:
	cargo test --no-run --locked --target $(TARGET) --workspace

# All parts run, also behind one that fails: what was skipped is counted in any case.
# The binary under test is the release; the tests themselves are not optimised: they would take longer to build than to run.
test: ## Run every test, and count what was skipped and why.
	@$(MAKE) --no-print-directory -j3 build tests-built $(VENV)/.tests
	@rm -f $(SKIPS) && touch $(SKIPS)
	@export KALE_AGENT_BIN=$(CURDIR)/$(BINARY) KALE_TEST_SKIPS=$(SKIPS); failed=; \
	cargo test --locked --target $(TARGET) --workspace --no-fail-fast || failed+=" cargo-test"; \
	python_tests() { \
	  "$$@" -v > target/python-tests.txt 2>&1 || { cat target/python-tests.txt; failed+=" $$1"; }; \
	  grep "skipped '" target/python-tests.txt >> $(SKIPS) || true; tail -n 4 target/python-tests.txt; }; \
	python_tests $(PYTHON) -m unittest discover -s tests/python; \
	python_tests python3 -m unittest discover -s tests/python/client -t tests/python; \
	echo "skipped: $$(wc -l < $(SKIPS))"; cat $(SKIPS); \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

$(BENCH_VENV)/.installed: tests/bench/requirements.txt
	python3 -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

bench: build $(BENCH_VENV)/.installed ## Measure beside cp and other programs; SCALE, ROUNDS, WORKLOADS, PEERS, INSTALL, PUBLISH.
	cargo build $(CARGO_FLAGS) -p kale-tests --bin least
	PYTHONPATH=tests $(BENCH_VENV)/bin/python -m bench --agent $(BINARY) --scale $(SCALE) --rounds $(ROUNDS) \
	  --workloads '$(WORKLOADS)' --peers '$(PEERS)' $(if $(INSTALL),--install) $(if $(PUBLISH),--publish)

bench-stages: ## Measure the stages of the data path, each alone: where a change made it slower; STAGES=cut for some.
	cargo bench --locked --target $(TARGET) -p kale-agent --bench stages -- $(STAGES)

lint: ## Check format and lints; warnings are errors.
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings

deny: ## Check licences, bans and sources of dependencies; needs cargo-deny.
	cargo deny check licenses bans sources

images: build $(VENV)/.installed ## Build all images without any registry: the agent's, one with a shell, the demo's, an example.
	docker build --quiet --tag kale-agent:scratch --file images/scratch/Dockerfile target/$(TARGET)/release
	images/debug/image.sh kale-agent:debug $(BINARY)
	images/flights/image.sh kale-flights:demo $(PYTHON)
	docker build --quiet --tag kale-example:demo --build-arg BASE=kale-flights:demo images/example

clean-demo: ## Remove the demo's store and work folder.
	rm -rf target/demo
