# Two commands do everything on a machine with Python 3.11, make and a C compiler:
#   make demo    set up, clean the built-in demo corpus, print where the report is
#   make test    set up, run the whole suite
# PEERS names the Python of an environment that holds what a benchmark compares with (datatrove; datasketch, rensa,
# text-dedup; trafilatura; fasttext compiled there). REFERENCE names evaldata.json of trafilatura's evaluation,
# MODEL lid.176.ftz, TOKENIZER a SentencePiece model.
PYTHON ?= python3
PEERS ?=
REFERENCE ?=
MODEL ?=
TOKENIZER ?=
BIN := .venv/bin

.PHONY: demo test check fix bench bench-filters bench-html bench-language bench-steps bench-line bench-dedup bench-model ablate-model kernels gpu lock setup

demo: setup
	$(BIN)/python -m pipeline.run

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder tests

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python -m tests.benchmarks.stages

kernels: setup
	$(BIN)/python -m kernels.report --all

gpu: setup
	TRITON_INTERPRET=0 $(BIN)/python -m pytest -m gpu -s tests/kernels

bench-filters: setup
	$(if $(PEERS),$(BIN)/python -m tests.benchmarks.filters --peer-python $(PEERS),@echo "PEERS=… adds the comparison")
	$(BIN)/python -m tests.benchmarks.kept_by_language

bench-html: setup
	$(BIN)/python -m tests.benchmarks.html $(if $(PEERS),--peers $(PEERS)) $(if $(REFERENCE),--reference $(REFERENCE))

bench-language: setup
	$(BIN)/python -m tests.benchmarks.language_id $(if $(PEERS),--peers $(PEERS))

bench-steps: setup
	$(BIN)/python -m tests.benchmarks.steps $(if $(PEERS),--peers $(PEERS))

bench-line: setup
	$(BIN)/python -m tests.benchmarks.whole_line --peers $(PEERS) --model $(MODEL) --tokenizer $(TOKENIZER)
	$(BIN)/python -m tests.benchmarks.whole_line --peers $(PEERS) --model $(MODEL) --tokenizer $(TOKENIZER) --language en
	$(BIN)/python -m tests.benchmarks.whole_line --peers $(PEERS) --model $(MODEL) --tokenizer $(TOKENIZER) --language en \
	  --words spacy

bench-dedup: setup
	$(BIN)/python -m tests.benchmarks.dedup_quality
	$(BIN)/python -m tests.benchmarks.dedup_scale
	$(if $(PEERS),$(BIN)/python -m tests.benchmarks.dedup_speed --peers $(PEERS),@echo "PEERS=… adds the comparison")

bench-model: setup
	$(BIN)/python -m tests.benchmarks.language_model
	$(BIN)/python -m tests.benchmarks.precision
	$(BIN)/python -m tests.benchmarks.generation

ablate-model: setup
	$(BIN)/python -m tests.benchmarks.ablate_model

lock: setup
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 --group dev pyproject.toml -o requirements.lock

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "uv==0.13.*"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@
