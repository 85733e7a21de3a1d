# IKOMA: every habit has a name here. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo up check test evaluate lint bench mutants faults installs bundle docs lock clean

venv := .venv/bin
PYTHON ?=
ARGS ?=
WORKERS ?= 4
export PYTHON
# Where this is set, each process of each run would translate all tests anew.
unexport PYTHONDONTWRITEBYTECODE

help: ## Show this list
	@[ -t 1 ] && bold=$$'\033[1m' name=$$'\033[36m' plain=$$'\033[0m' || bold= name= plain=; \
	printf '\n  %sIKOMA%s  deploy and run applications on your own server\n\n' "$$bold" "$$plain"; \
	awk -F ':.*## ' -v name="$$name" -v plain="$$plain" \
		'/^[a-z]+:.*## / { printf "  %smake %-8s%s %s\n", name, $$1, plain, $$2 }' $(MAKEFILE_LIST); \
	printf '\n'

setup: ## Make .venv, put ikoma on PATH and get a Docker Engine running (installs what is missing, when root)
	@scripts/setup engine command
	@printf '✓ Ready: ikoma doctor looks at this machine, ikoma up starts the server\n'

demo: ## Take a sample app with a database through the whole runbook, then clean up
	@scripts/setup engine images
	@$(venv)/python scripts/demo.py $(ARGS)

up: ## Start IKOMA here (its PostgreSQL included) and stay in the foreground
	@scripts/setup engine
	@exec $(venv)/ikoma up $(ARGS)

check: ## Lint, and the tests of parts alone that need no Docker, Compose or server (90 s)
	@scripts/setup dev
	@scripts/lint
	@$(venv)/python -m pytest -q --numprocesses 2 --dist worksteal -m "not engine" tests/unit $(ARGS)

test: ## Run all tests against a real Docker Engine and PostgreSQL (ARGS="-k name" for some)
	@[ "$$(id -u)" = 0 ] || { printf '✗ The tests need root: they run PostgreSQL as a user of its own and start containers.\n' >&2; exit 1; }
	@scripts/setup engine images dev browser wheels node
	@$(venv)/python scripts/images.py
	@$(venv)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 20 $(ARGS)

evaluate: ## Have a scripted assistant pursue fourteen goals over MCP, and print calls, dead ends and tokens
	@scripts/setup engine images dev
	@$(venv)/python scripts/images.py
	@$(venv)/python -m tests.mcp.evaluation $(ARGS)

lint: ## Check format, style, types and the direction of imports; prints all findings
	@scripts/setup dev
	@scripts/lint

bench: ## Measure IKOMA beside the alternative, and print the ratios
	@scripts/setup engine images dev
	@$(venv)/python scripts/images.py
	@$(venv)/python -m bench $(ARGS)

mutants: ## Take each rule of the policy and each step of the pipeline away, and see a test fail
	@scripts/setup engine dev
	@$(venv)/python scripts/mutants.py $(ARGS)

faults: ## Kill whatever touches data at 100 random moments, and look what is left (ARGS="--kills 20 --seed 7")
	@[ "$$(id -u)" = 0 ] || { printf '✗ The trial needs root: it runs PostgreSQL as a user of its own.\n' >&2; exit 1; }
	@scripts/setup engine images dev
	@$(venv)/python scripts/images.py
	@$(venv)/python -m tests.faults.kills $(ARGS)

installs: ## Kill install.sh at 20 random moments, upgrade to versions that are broken, try a Debian just made (needs debootstrap)
	@scripts/setup engine images dev wheels
	@IKOMA_INSTALL_KILLS=20 $(venv)/python -m pytest tests/install/test_*.py tests/install/upgrades.py tests/install/postgres_upgrade.py tests/install/compose_backups.py $(ARGS)
	@$(venv)/python -m tests.install.fresh

bundle: ## Make dist/ikoma-VERSION-MACHINE.tar, with which a machine without a network installs (SIGN=KEYFILE signs it)
	@scripts/setup engine
	@$(venv)/python scripts/bundle.py dist $(if $(SIGN),--sign "$(SIGN)") $(ARGS)

docs: ## Write anew what is made of the code: docs/capabilities.md, rules.md, errors.md, cli/commands.json
	@scripts/setup
	@$(venv)/python -m ikoma.docs

lock: ## Pin all dependencies anew, with hashes, into requirements/ and tests/mcp/
	@scripts/setup dev
	@scripts/lock

clean: ## Remove .venv and everything that tools left behind
	@rm -rf .venv tests/mcp/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	@find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} +
