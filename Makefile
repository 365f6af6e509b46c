# One word does it all; each target sets up .venv by itself, and all are safe to repeat.
#   make course [PROFILE=smoke|laptop|gpu|paper] [DATA=ben-ge-800|folder] [WEIGHTS=folder] [TORCH=cpu]     run the chapters, build the book
.DEFAULT_GOAL := help
.PHONY: help setup course book slides bundle lab student test lint bench clean
SHELL := /bin/bash
PROFILE ?= laptop
DATA ?= simulated
WEIGHTS ?=
EDITION ?= student
# TORCH=cpu: the build of PyTorch that uv is asked for, without gigabytes of CUDA; pip takes what your configuration offers.
ifneq ($(TORCH),)
export UV_TORCH_BACKEND := $(TORCH)
endif
BIN := .venv/bin
EO := $(BIN)/eo-ssl
# The first Python that is new enough; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n < 8 ? n : 8)))

help:
	@echo "make course    run the chapters and build the book (PROFILE=$(PROFILE), DATA=$(DATA))"
	@echo "make lab       open the student edition in JupyterLab: stubs to fill, solutions aside (EDITION=instructor: solved)"
	@echo "make student   write the student edition, without solutions, to student/notebooks"
	@echo "make book      build the book again from the executed chapters"
	@echo "make slides    the same, and say where its chapters are shown as slides"
	@echo "make bundle    one archive for rooms without network: book, slides, student edition, data, trained models"
	@echo "make test      all tests but a slow one, the smoke course and the built book in a browser"
	@echo "make lint      ruff and codespell"
	@echo "make bench     the benchmarks behind the performance claims"
	@echo "make setup     only install, into .venv"
	@echo "make clean     remove runs and built books (not .venv, not downloads)"

# .venv/ready-<extra>: installed from these pins. uv takes seconds; where it cannot be had or fails, pip does it.
.venv/ready-%: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or later was not found; install it, or set PYTHON=/path/to/python"; exit 1; }
	@echo "Setting up .venv with $(PYTHON) (eo_ssl[$*]; the first time this downloads a few gigabytes) ..."
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/pip install -q uv || echo "uv cannot be had; going on with pip, which takes some minutes"
	@{ test -x $(BIN)/uv && $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -c constraints.txt -e ".[$*]"; } \
		|| $(BIN)/pip install -q -c constraints.txt -e ".[$*]"
	@touch $@

setup: .venv/ready-dev

course: .venv/ready-course
	@$(EO) data fetch || echo "Going on without the missing real patches; 'make course' tries again next time."
	@$(if $(filter ben-ge-800 ben-ge-8k dfc2020,$(DATA)),$(EO) data fetch $(DATA))
	@$(if $(WEIGHTS),EO_SSL_WEIGHTS="$$($(BIN)/python -c 'import os, sys; print(os.path.abspath(os.path.expanduser(sys.argv[1])))' "$(WEIGHTS)")") $(EO) course run --profile $(PROFILE) --data "$(DATA)" --keep-going; code=$$?; \
		if [ $$code = 0 ] || { [ $$code = 1 ] && [ -f "$$($(EO) course where --profile $(PROFILE) --data "$(DATA)" 2>/dev/null)/status.json" ]; }; then \
			$(EO) course book --profile $(PROFILE) --data "$(DATA)" || code=1; fi; exit $$code

book: .venv/ready-course
	@$(EO) course book --profile $(PROFILE) --data "$(DATA)"

slides: book
	@echo "Each chapter as slides (arrows: move, Esc: overview, N: notes, ?: all keys):"
	@$(BIN)/python -c 'import pathlib; print(*sorted(f"  {p.resolve().as_uri()}?slides" for p in pathlib.Path().glob("book/_build/html/notebooks/*.html")), sep="\n")'

bundle: .venv/ready-course
	@$(BIN)/python scripts/bundle.py --profile $(PROFILE)

lab: .venv/ready-course
ifeq ($(EDITION),instructor)
	@echo "Opening notebooks/, the instructors' edition: exercises stand solved (folded)."
	@$(BIN)/jupyter lab notebooks
else
	@$(EO) course student --solutions >/dev/null
	@echo "Opening student/notebooks, the student edition: exercises are yours to solve, and what you write there is kept."
	@echo "Solutions: student/notebooks/solutions. The solved notebooks: make lab EDITION=instructor."
	@$(BIN)/jupyter lab student/notebooks
endif

student: .venv/ready-course
	@$(EO) course student

test: .venv/ready-test
	@echo "Running all tests on $(JOBS) cores; the smoke course and the book take a few minutes of it."
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --durations=15 $(ARGS)

lint: .venv/ready-dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check eo_ssl notebooks/chapters tests benchmarks scripts && git ls-files -z | xargs -0 $(BIN)/codespell

# Without the two whose results chapters 05 and 12 show: they train for many minutes.
bench: .venv/ready-test
	@for script in $(filter-out benchmarks/places_and_heads.py benchmarks/what_came_after.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf runs book/_build
