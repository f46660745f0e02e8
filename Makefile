# What a person does with this checkout, one target each; the work is in scripts/ and in the tools.
# Stays within GNU make 3.81, which macOS ships.

.DEFAULT_GOAL := help
.PHONY: help setup run test lint format check bench docs clean

BIN := .venv/bin
DONE := .venv/.setup-done
ARGS ?=
# One more than there are processors: tests wait a good deal, for ends of builds, for deadlines.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile
	@echo "Options go into ARGS: make run ARGS='--port 9000', make test ARGS='-k versions -x'"

setup: $(DONE) ## Create .venv with everything in it (run, test and lint do this by themselves)

# Depends on what decides the environment's contents: nothing changed, nothing to do.
$(DONE): uv.lock pyproject.toml $(wildcard packages/*/pyproject.toml) scripts/setup.sh
	@sh scripts/setup.sh $(DONE)

run: $(DONE) ## Start the server with the demo algorithms on http://127.0.0.1:8080
	@exec $(BIN)/algorium serve --demo $(ARGS)

test: $(DONE) ## Run the whole test suite
	@$(BIN)/python -m pytest $(or $(ARGS),--numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder)

lint: $(DONE) ## Check format, style, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DONE) ## Put the code into the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: lint test ## What continuous integration runs

bench: $(DONE) ## Measure a warm call against a bare echo server
	@$(BIN)/python bench/hello.py $(ARGS)

docs: $(DONE) ## Write the generated pages of docs/ again, and build the site into .make/site
	@$(BIN)/python docs/generate.py
	@$(BIN)/sphinx-build -W --keep-going -q -j auto -b html -d .make/doctrees -c docs . .make/site
	@$(BIN)/python docs/openapi.py .make/site/openapi.json
	@echo 'the site is in .make/site: open .make/site/docs/index.html'

clean: ## Remove the environment and all caches
	rm -rf .venv .make .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
