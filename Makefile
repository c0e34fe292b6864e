# make search [QUERY="..."] [IN=path]   search code (core only)
# make test                             install the tests' dependencies and run the tests, in fp32 and bf16 on any processor;
#                                       CODESAGE_PRECISION=bf16 make test: run as on a processor with bf16
# make speedrun                         train, evaluate and export nano from scratch, and search with it
# make release                          train nano from scratch on the release corpus; takes minutes on a GPU
# make lint                             check style and types
# make docs                             build the documentation into out/site; warnings are errors
# make coverage                         run the tests and report coverage, including subprocesses
# make release-check                    build the wheel, check it, and run it in a clean environment

PYTHON ?= python3
VENV ?= .venv
QUERY ?= where is the contrastive loss computed
IN ?= .
INSTALL = $(VENV)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: search test speedrun release lint docs coverage release-check

search: $(VENV)/core
	$(VENV)/bin/codesage search "$(QUERY)" "$(IN)" --top 5

test: $(VENV)/dev
	$(VENV)/bin/python -m compileall -q src  # so that no command of a test compiles it again
	$(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

speedrun: $(VENV)/dev
	PATH="$(abspath $(VENV))/bin:$$PATH" bash runs/speedrun.sh

release: $(VENV)/peers
	PATH="$(abspath $(VENV))/bin:$$PATH" OUT=out/release SOURCES="recipes/release.toml recipes/howto.toml" HELD_OUT= DOCUMENTS=64000 TOKENIZER_DOCUMENTS=10000 \
	STAGE1=3.33 STAGE2=3.25 FILTER=0.85 ABLATION=0 PEERS="default minilm" TASKS="--task cosqa --task mbxp --task java-csharp --task codecomplex" bash runs/speedrun.sh

lint: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/basedpyright --pythonpath $(VENV)/bin/python

docs: $(VENV)/docs
	$(VENV)/bin/python scripts/commands_page.py
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

coverage: $(VENV)/dev
	mkdir -p out/coverage && rm -f out/coverage/data*
	$(VENV)/bin/coverage run -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

release-check: $(VENV)/release
	$(VENV)/bin/python scripts/release_check.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/core: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable .
	touch $@

$(VENV)/dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable ".[dev]"
	touch $@ $(VENV)/core

$(VENV)/peers: $(VENV)/dev
	$(INSTALL) --editable ".[dev,peers]"
	touch $@

$(VENV)/docs: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable ".[docs]"
	touch $@ $(VENV)/core

$(VENV)/release: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable ".[release]"
	touch $@ $(VENV)/core
