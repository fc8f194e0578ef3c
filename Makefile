# `make` alone prints the commands. Everything runs in .venv, made on first use from the hash-pinned lock file.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PLUGINS := $(patsubst %/plugin.toml,%,$(wildcard plugins/*/plugin.toml))

.DEFAULT_GOAL := help
.PHONY: help install demo up test docs author-loop attacks attacks-aarch64 chaos bench check lock proto

help: ## print the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

install: $(STAMP) ## make the environment (.venv)

$(STAMP): requirements.lock pyproject.toml sdk/pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e sdk -e .
	@touch $@

demo: $(STAMP) ## one sale's whole journey, 2,000 times, on the embedded platform
	@$(BIN)/outlet demo

up: $(STAMP) ## the platform, staying up (gateway on OUTLET_PORT, default 8080)
	@$(BIN)/outlet up

test: $(STAMP) ## the whole suite; JOBS=2 in two processes
	@$(BIN)/python -m pytest $(if $(JOBS),-n $(JOBS))

docs: $(STAMP) ## the documentation's site, into build/site; a link that leads nowhere fails it
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

author-loop: $(STAMP) ## from nothing to an own plugin live on a real sale, in five commands
	@$(BIN)/python -m tests.author

attacks: $(STAMP) ## attack the sandbox with real plugins, bare and behind the walls; ONLY="re fork" picks by name
	@$(BIN)/python -m tests.attacks $(ONLY)

attacks-aarch64: $(STAMP) ## the same on an emulated aarch64 machine (wants Debian with qemu-system-arm, cpio); slow
	@$(BIN)/python -m tests.attacks.aarch64 $(ONLY)

chaos: $(STAMP) ## break everything while sales flow, and count what is lost and doubled; SMALL=1 takes two minutes, SEED=7 repeats
	@$(BIN)/python -m tests.chaos $(if $(SMALL),--small) $(if $(SEED),--seed $(SEED))

bench: $(STAMP) ## measure against peers; SMALL=1 is done in two minutes, ONLY="no-op idle" measures some parts, OUT=folder
	@$(BIN)/python -m bench $(if $(SMALL),--small) $(if $(ONLY),--only $(ONLY)) $(if $(OUT),--out $(OUT))

check: $(STAMP) ## ruff, mypy --strict, import contracts, generated code, the documentation's links
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@for plugin in $(PLUGINS); do (cd $$plugin && ../../$(BIN)/mypy) || exit 1; done
	@PYTHONPATH=$(subst $() ,:,$(PLUGINS)) $(BIN)/lint-imports --config pyproject.toml --no-logo
	@$(BIN)/python -m proto.generate --check
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

proto: $(STAMP) ## regenerate the Python of proto/
	@$(BIN)/python -m proto.generate

lock: ## pin the newest compatible packages (needs uv)
	uv pip compile --quiet pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-emit-index-url --no-annotate --no-emit-package outlet --custom-compile-command "make lock" -o requirements.lock
