# Everything a person or CI runs here. `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test check lint types imports e2e e2e-cluster chaos bench protos docs lock sbom image isolation clean

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP) ## make the environment in .venv

$(STAMP): pyproject.toml constraints.txt requirements.lock
	@scripts/install $(PYTHON)
	@touch $@

demo: $(STAMP) ## set up, start real servers, show a feed that answers to a save; Ctrl-C stops it all
	@$(BIN)/corkboard demo $(ARGS)

test: $(STAMP) ## unit and contract tests, and a short run of the whole on real servers (≤ 10 min)
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile -m "not slow" $(ARGS)
	$(BIN)/python -m pytest -q e2e -m "not slow" $(ARGS)

check: $(STAMP) lint types imports ## everything that needs no running: format, lint, types, imports, shape, protos
	$(BIN)/python -m pytest -q tests

lint:
	$(BIN)/ruff check .

types:
	$(BIN)/mypy chassis protos services sequences modeling definitions corkboard e2e

imports:
	$(BIN)/lint-imports --no-cache

e2e: $(STAMP) ## every journey and failure over real Kafka, Valkey and gRPC, and the long unit tests (about 30 min)
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile -m slow $(ARGS)
	$(BIN)/python -m pytest -q e2e $(ARGS)

e2e-cluster: $(STAMP) ## what needs a real Kubernetes; CORKBOARD_KUBECONFIG names it
	$(BIN)/python -m pytest -q e2e/cluster $(ARGS)

chaos: $(STAMP) ## every chaos scenario once, with a control; reports in chaos-runs/ (about 60 min; ARGS=--seed 7)
	$(BIN)/python -m corkboard chaos run all $(ARGS)

bench: $(STAMP) ## latency, throughput and memory of the whole house; writes bench/results/
	$(BIN)/python -m bench $(ARGS)

protos: $(STAMP) ## regenerate the committed stubs
	PYTHON=$(BIN)/python scripts/protos

docs: $(STAMP) ## regenerate the tables in READMEs
	$(BIN)/python scripts/readme_tables.py

lock: ## write requirements.lock anew, with hashes (needs uv: pip install uv)
	scripts/lock

sbom: $(STAMP) ## the bill of materials of .venv as CycloneDX JSON in build/sbom.json
	scripts/sbom $(PYTHON)

IMAGE_TOOL ?= docker
image: ## build one service's image: make image SERVICE=ingest (ranker is the leaf; SERVICE=ranker TARGET=root the root)
	$(IMAGE_TOOL) build -f services/$(SERVICE)/Dockerfile $(TARGET:%=--target %) \
	  -t corkboard-$(SERVICE)$(TARGET:%=-%):$$(git rev-parse --short HEAD) .

isolation: ## each service in an environment with only its own extra (slow: seven environments)
	scripts/isolation $(PYTHON) $(SERVICES)

clean: ## remove what was built here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .corkboard
