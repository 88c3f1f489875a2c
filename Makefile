# 'make demo' and 'make test' need Python 3.11 or newer and make; all else goes into .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test crash bench docs outputs readme export style clean

# The Python that makes .venv; left empty: the first of python3, python3.13, python3.12, python3.11 that is new enough
PYTHON ?=
# A folder of images for the demo; left empty: a simulated survey
IMAGES ?=
# Epochs that the demo's model spends on arms, clumps and noise; left empty: none
DETAIL ?=
# Tests at a time
JOBS ?= 2
# CPU=avx2: test as on a processor without AVX-512, bfloat16 and AMX; left empty: with all that this one has
CPU ?=

BIN  := .venv/bin
DONE := .venv/.installed
TENSORFLOW := .venv/.bench
N    := 2000
SIZE := 64
COMPONENTS := 12

help: ## this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

$(DONE): settings.ini setup.py pyproject.toml constraints.txt
	@if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    for p in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	        if $$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$p; break; fi; done; \
	    if [ -z "$$found" ]; then echo 'No Python 3.11 or newer (with its venv module) was found; install one, or name it: make PYTHON=/path/to/python3.' >&2; exit 1; fi; \
	    echo "Making .venv with $$($$found --version)"; $$found -m venv --clear .venv; fi
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# torch and oneDNN read these
ifneq ($(CPU),)
test: export ATEN_CPU_CAPABILITY = $(CPU)
test: export ONEDNN_MAX_CPU_ISA = $(shell echo $(CPU) | tr a-z A-Z)
test: export TORCHINDUCTOR_CACHE_DIR ?= $(or $(TMPDIR),/tmp)/torchinductor_$(shell id -u)_$(CPU)
endif
test: $(DONE) ## every notebook and tests/, ending with 'N passed, N failed'; CPU=avx2 for an older processor
	@OMP_NUM_THREADS=1 MPLBACKEND=agg $(BIN)/python -m pytest -q -n $(JOBS) --dist loadscope

crash: $(DONE) ## kill every command at every change of a file, start all in pairs, and compare the results
	@OMP_NUM_THREADS=1 MPLBACKEND=agg $(BIN)/python tests/crash.py

# A changed source or size starts the demo anew; otherwise every step goes on from what is there
demo: export SRC = $(or $(IMAGES),demo/images)
demo: $(DONE) ## pack, train, catalogue, generate, report and explore into demo/; IMAGES=folder for your own images, DETAIL=40 for arms
	@if [ "$$SRC" != demo/images ] && [ ! -e "$$SRC" ]; then echo "IMAGES=$$SRC does not exist; name a folder of images." >&2; exit 1; fi
	@mkdir -p demo
	@now="$$SRC $(N) $(SIZE) $(COMPONENTS)"; if [ "$$(cat demo/.source 2>/dev/null)" != "$$now" ]; then rm -rf demo/images demo/survey \
	    demo/run demo/synthetic demo/report demo/index.html demo/catalogue.parquet demo/explore.html; echo "$$now" > demo/.source; fi
	@[ "$$SRC" != demo/images ] || [ -d demo/images ] || \
	    $(BIN)/python -c 'from astrovader.synth import write_sky; write_sky("demo/images", $(N), $(SIZE))'
	$(BIN)/astrovader-pack "$$SRC" demo/survey --size $(SIZE) --framing canonical
	$(BIN)/astrovader-train demo/survey demo/run --n-components $(COMPONENTS) $(if $(DETAIL),--epochs-detail $(DETAIL)) $$([ -e demo/run/run.json ] && echo --resume)
	$(BIN)/astrovader-catalogue demo/run demo/survey demo/catalogue.parquet
	$(BIN)/astrovader-generate demo/run demo/synthetic --n 1000
	$(BIN)/astrovader-report demo/run demo/survey demo/report
	@cp demo/report/index.html demo/index.html
	$(BIN)/astrovader-explore demo/run demo/survey demo/explore.html --catalogue demo/catalogue.parquet
	@echo 'Open demo/index.html, and demo/explore.html to look through the galaxies'

$(TENSORFLOW): $(DONE)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

# TensorFlow is the baseline of throughput.py; clustering.py takes longer and is left out
bench: $(TENSORFLOW) ## how fast it is on this processor, in under ten minutes, into benchmarks/results/
	@set -e; for o in 'throughput --quick' 'loading --n 10000 --n-files 1500 --steps 2' scaling survey synth framing; do \
	    read -r name flags <<< "$$o"; echo; echo "benchmarks/$$name.py $$flags"; \
	    CUDA_VISIBLE_DEVICES= $(BIN)/python benchmarks/$$name.py $$flags --json benchmarks/results/$$name.json; done

export: $(DONE) ## notebooks -> modules, README.md and the docstrings of packages
	$(BIN)/nbdev-export
	$(BIN)/nbdev-clean
	$(BIN)/python docs/readme.py

docs: $(DONE) ## the site from the notebooks, into _docs/
	@$(BIN)/python docs/pages.py

outputs: $(DONE) ## run every notebook and store its outputs; look at them before you commit
	@set -e; for nb in $$(find nbs -name '*.ipynb' -not -path '*/.ipynb_checkpoints/*' | sort); do $(BIN)/python docs/outputs.py $$nb; done

readme: $(DONE) ## nbs/index.ipynb -> README.md, and the docstrings of packages
	$(BIN)/python docs/readme.py

style: $(DONE) ## the style check that the tests make
	$(BIN)/chkstyle --show-rule nbs tests docs setup.py $(wildcard benchmarks)

clean: ## remove what was built; .venv and demo/ stay
	rm -rf build dist _docs _proc .pytest_cache *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
