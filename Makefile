# make setup   a virtual environment in .venv with the versions of constraints.txt
# make test    the whole check (tools/check)
# make mutation   change one small thing after another and list what no test sees; MODULES="vidsal/shots.py" for one
# make demo    heatmap and table of a real clip, in demo/
# make docs    the documentation as a site, in site/

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install -c constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup test mutation demo docs

help:
	@sed -n '/^# make/s/^# //p' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.setup-done

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "make: there is no $(PYTHON); vidsal needs Python 3.11 or newer: make setup PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "make: $(PYTHON) is $$($(PYTHON) -V 2>&1); vidsal needs 3.11 or newer: make setup PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch comes first and alone, so that pip settles on the pinned release before anything else can ask for another one.
# The stamp is written last: a broken setup is taken up again, a finished one costs nothing.
$(VENV)/.setup-done: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) torch
	$(PIP) -e '.[dev]'
	@touch $@

$(VENV)/.demo-done: $(VENV)/.setup-done
	$(PIP) -e '.[demo]'
	@touch $@

# What has to be compiled, and what the tests can do without: they say what they skip.
$(VENV)/.test-done: $(VENV)/.setup-done
	$(PIP) -e '.[test]' && touch $@ || \
	    echo "make: pysaliency could not be built here (it needs a C compiler); the tests that ask it are skipped"

# PYTHON, where it is given, is what the environment is made of, not what runs the check.
test: $(VENV)/.test-done
	PYTHON=$(BIN)/python tools/check

mutation: $(VENV)/.test-done
	nice $(BIN)/python tools/mutate.py $(MODULES)

demo: $(VENV)/.demo-done
	$(BIN)/python tools/demo_clip.py demo
	$(BIN)/vidsal run demo/bigbuckbunny.mp4 --overwrite
	@echo
	@echo "Watch demo/bigbuckbunny.vidsal.mp4; the numbers of each frame are in demo/bigbuckbunny.vidsal.csv."

docs: $(VENV)/.setup-done
	$(BIN)/python -m mkdocs build --strict --site-dir site
