# Only Python (3.11 or newer) and make are needed: the environment is made in .venv, once, and again when pyproject.toml
# changes. Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
PORT ?= 8000
# With -m the checkout comes first on the path.
RUN := .venv/bin/python -m

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo serve test lint redis-server postgresql mariadb chromium wrk long chaos soak fleet bench docs pictures release-check clean

help:
	@echo "make demo    see it work: a shop, its cache, and a story in the terminal"
	@echo "make serve   the same shop on http://127.0.0.1:$(PORT) for a browser (PORT=...)"
	@echo "make test    lint, types, floors and all tests"
	@echo "make long    what takes hours: the long tests, chaos, soak, fleet"
	@echo "make chaos   answers checked against PostgreSQL while everything breaks (an hour)"
	@echo "make soak    an hour of traffic, and whether anything grows or is left behind"
	@echo "make fleet   how many nodes one log carries (minutes)"
	@echo "make bench   how fast it is, beside a bare application and other caches"
	@echo "make docs    the documentation as a site, in site/"
	@echo "make pictures  take the pictures of the dashboard anew, in docs/images (minutes)"
	@echo "make release-check   build what would be released, and run the README's first application from it alone"
	@echo "make lint    lint, types and floors alone"
	@echo "make clean   remove the environment and everything made here"

demo: .venv/demo.installed
	@$(RUN) examples.shop.demo

serve: .venv/demo.installed
	@echo "The shop is open on http://127.0.0.1:$(PORT) (Ctrl-C closes it)"
	@$(RUN) uvicorn --factory examples.shop.app:create_app --port $(PORT)

# Tests wait more than they compute, so there are more workers than a small machine has processors.
test: redis-server postgresql mariadb chromium lint
	$(RUN) pytest -m "not long" -n 3 --dist loadfile --no-loadscope-reorder

lint: .venv/dev.installed
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	.venv/bin/lint-imports

long: redis-server postgresql mariadb chromium .venv/bench.installed
	$(RUN) pytest -m long --hypothesis-profile=random
	$(RUN) tests.integrations.sqlalchemy
	$(RUN) tests.chaos --anew
	$(RUN) tests.chaos.soak
	$(RUN) benchmarks.fleet
	$(RUN) benchmarks.rewarm
	$(RUN) benchmarks.jobs

chaos: redis-server postgresql .venv/dev.installed
	$(RUN) tests.chaos

soak: redis-server .venv/dev.installed
	$(RUN) tests.chaos.soak

fleet: redis-server .venv/bench.installed
	$(RUN) benchmarks.fleet

bench: redis-server postgresql wrk .venv/bench.installed
	$(RUN) benchmarks

docs: .venv/dev.installed
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build
	@echo "The documentation is in site/: open site/index.html"

pictures: redis-server chromium .venv/dev.installed
	@$(RUN) tests.browser.pictures

release-check: .venv/dev.installed
	@$(RUN) scripts.release_check $(INTERPRETERS)

redis-server:
	@scripts/require redis-server redis-server redis

postgresql:
	@scripts/require initdb postgresql postgresql-server

mariadb:
	@scripts/require mariadbd mariadb-server mariadb-server

chromium:
	@scripts/require chromium chromium chromium

wrk:
	@scripts/require wrk wrk wrk

# Each extra holds the one before it: whoever has the larger one needs nothing for the smaller.
.venv/demo.installed: pyproject.toml
	@PYTHON="$(PYTHON)" scripts/environment demo
	@touch $@

.venv/dev.installed: pyproject.toml
	@PYTHON="$(PYTHON)" scripts/environment dev
	@touch .venv/demo.installed $@

.venv/bench.installed: pyproject.toml
	@PYTHON="$(PYTHON)" scripts/environment bench
	@touch .venv/demo.installed .venv/dev.installed $@

clean:
	rm -rf .venv .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist site examples/shop/var examples/publishing/var
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
