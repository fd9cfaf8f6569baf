# Short names for what people do most. The work is in ci/setup and in the imagefactory command.
# ARGS= passes more words on: make build-esorex ARGS=--help

SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

bin := .venv/bin
imagefactory := $(bin)/imagefactory

# Status 3 means that an engine is missing or doesn't answer: put that right, then try once more.
define with_engines
@$(1) || { status=$$?; [ $$status -eq 3 ] || exit $$status; \
	for part in engines $(2); do ci/setup $$part || exit; done; $(1); }
endef

.PHONY: help
help: ## show this help
	@sed -n 's/^\([a-z%-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | sed 's/%/NAME/' | \
		while IFS='	' read -r name what; do printf 'make %-14s %s\n' "$$name" "$$what"; done

.PHONY: setup
setup: ## make this machine ready: .venv, Docker Engine, buildx, mmdebstrap, Apptainer
	@ci/setup

# The first target on a fresh clone sets up; later ones go straight to their work.
# What needs no engine waits for none.
part := all
lint list check plan schema unit test-unit unit-pythons: part := python
.venv/.ready: pyproject.toml ci/requirements.txt ci/setup ci/lib/python.sh
	@ci/setup $(part)

build-%: .venv/.ready FORCE ## build and test one application's images, for Docker and for clusters
	$(call with_engines,$(imagefactory) build $* $(ARGS))

oci-%: .venv/.ready FORCE ## the same, for Docker alone
	$(call with_engines,$(imagefactory) build $* --format oci $(ARGS))

sif-%: .venv/.ready FORCE ## the same, for clusters (and Docker, of whose image the SIF file is made)
	$(call with_engines,$(imagefactory) build $* --format sif $(ARGS))

vm-%: .venv/.ready FORCE ## the same for clouds: a virtual machine that holds both, and what it is made of
	$(call with_engines,$(imagefactory) build $* --format vm $(ARGS),vm)

lock-%: .venv/.ready FORCE ## pin one application's inputs in its lock.yaml
	$(call with_engines,$(imagefactory) lock $* $(ARGS))

test-%: .venv/.ready FORCE ## test one application's images as they are
	$(call with_engines,$(imagefactory) test $* $(ARGS))

.PHONY: list
list: .venv/.ready ## list the applications
	@$(imagefactory) list $(ARGS)

.PHONY: check
check: .venv/.ready ## check every recipe
	@$(imagefactory) check $(ARGS)

.PHONY: plan
plan: .venv/.ready ## say what would be built, and why
	@$(imagefactory) plan $(ARGS)

.PHONY: unit test-unit
unit test-unit: .venv/.ready ## run the tests that need no engine; they take seconds
	@$(bin)/python -m pytest tests/unit $(ARGS)

.PHONY: unit-pythons
unit-pythons: .venv/.ready ## the same under every Python from 3.11 to 3.14 that this machine has
	@ci/unit-pythons $(ARGS)

# They wait for engines more than they compute. The tests of one file stay together.
workers := --numprocesses=4 --dist=loadfile --no-loadscope-reorder

.PHONY: test
test: setup test-tools ## run the factory's own tests; they use the real engines
	@$(bin)/python -m pytest tests/unit tests/engines tests/recipes -m 'not long' $(workers) $(ARGS)

.PHONY: test-tools
test-tools:
	@ci/setup tests

.PHONY: test-all
test-all: test ## the same with long tests, and build applications from package registries (hours, 40 GB)
	@$(bin)/python -m pytest tests/engines -m long $(workers) $(ARGS)
	@$(bin)/python -m pytest tests/applications $(ARGS)

.PHONY: test-cloud
test-cloud: setup test-tools ## try a project image in a real OpenStack cloud on this machine (root, 12 GB; ARGS=fsl-core)
	@$(bin)/python -m tests.cloud $(ARGS)

.PHONY: bench
bench: setup ## measure speed, as ratios of things measured side by side
	@$(bin)/python -m tests.bench $(ARGS)

.PHONY: lint
lint: .venv/.ready ## check style, types, imports, shell scripts and every image's Dockerfile
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy
	$(bin)/lint-imports
	ci/lint-shell
	@rm -rf build/.lint
	$(imagefactory) render --all --to build/.lint
	find build/.lint -name Dockerfile -print0 | sort -z | xargs -0 -r $(bin)/hadolint

.PHONY: schema
schema: .venv/.ready ## write the schemas in docs/schema, which editors read
	@mkdir -p docs/schema build
	@for kind in recipe part base lock fetched site report history; do \
		$(imagefactory) schema $$kind >build/schema.json && mv build/schema.json docs/schema/$$kind.json || exit; \
	done

# UV_CUSTOM_COMPILE_COMMAND keeps this machine's paths out of the file's heading.
.PHONY: requirements
requirements: .venv/.ready ## pin the newest Python packages in ci/requirements.txt
	@UV_CUSTOM_COMPILE_COMMAND='make requirements' $(bin)/uv pip compile --quiet --upgrade \
		--universal --generate-hashes --system-certs --no-emit-index-url --no-emit-find-links \
		--python-version 3.11 --extra dev --output-file ci/requirements.txt pyproject.toml
	@git --no-pager diff --stat -- ci/requirements.txt

.PHONY: clean
clean: ## remove what was built and all caches; .venv and the engine's images stay
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# Pattern rules can't be phony: this makes them always run.
.PHONY: FORCE
FORCE:
