# Thin: each target is one command you could type yourself. Logic lives in Python.
PYTHON  ?= python3
BENCH   ?=## which bench, e.g. cifar100; empty: that of the sweep file (smoke: renditions)
METHODS ?=## methods, comma-separated; empty: those of the sweep file
SEEDS   ?=## a number n (seeds 0..n-1) or a list like [0,1,2]
ORDERS  ?=## a number n (class orders 0..n-1), a list, or natural
WORKERS ?=## cells trained side by side; empty: one per core
SWEEP   ?=## sweep file of sweeps/conf; empty: smoke on the bundled benches, paper on any other
SCALE   ?=## tiny: the same sweep reduced and, without BENCH, on bundled data, to see that it runs
STORE   ?= runs## folder of the run store
PROFILE ?= default## site profile for submit: a name of cluster/conf, or a YAML file
DRY     ?=## 1: only print the plan
DEVICE  ?= cpu## for bench: cpu or cuda
JOBS    ?= auto## test processes side by side; auto: one per core
ARGS    ?=## further overrides, e.g. ARGS="train.epochs=2 method.rank=4"

KNOWN := PYTHON BENCH METHODS SEEDS ORDERS WORKERS SWEEP SCALE STORE PROFILE DRY DEVICE JOBS ARGS
UNKNOWN := $(filter-out $(KNOWN),$(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $v))),$v)))
$(if $(UNKNOWN),$(error unknown variable $(UNKNOWN); known: $(KNOWN)))

BIN := .venv/bin
NAME := $(or $(SWEEP),$(if $(filter-out glyphs renditions,$(BENCH)),paper,smoke))
LISTED := $(basename $(notdir $(NAME)))$(if $(SCALE),-$(SCALE))
SWEEP_ARGS = "store=$(STORE)" $(if $(BENCH),bench=$(BENCH)) $(if $(SCALE),scale=$(SCALE)) \
  $(if $(METHODS),"methods=[$(METHODS)]") $(if $(SEEDS),seeds=$(SEEDS)) $(if $(ORDERS),orders=$(ORDERS)) \
  $(if $(WORKERS),workers=$(WORKERS)) $(ARGS)

# one torch thread a process, so that test processes do not share cores
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q
NO_OUTPUT = and not browser and not latex and not notebook

.DEFAULT_GOAL := help
.PHONY: help venv sweep submit compare report paper claims docs wandb-sync check test test-slurm test-output lint bench

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## ?/  \1|/' | column -t -s '|'
	@echo "variables:"
	@grep -hE '^[A-Z]+ +\?=.*##' $(MAKEFILE_LIST) | sed -E 's/^([A-Z]+) +\?= ?([^#]*)## ?/  \1|\2|/' | column -t -s '|'

.venv/.ready: pyproject.toml constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "installing into .venv (once; several GB, a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,hpo]'
	@touch $@

venv: .venv/.ready ## set up .venv, nothing else

sweep: .venv/.ready ## run a sweep, then print its table
	@$(BIN)/python -m sweeps $(if $(DRY),plan,run) $(NAME) $(SWEEP_ARGS); status=$$?; \
	  if [ -z "$(DRY)" ] && [ $$status != 2 ]; then \
	    $(BIN)/python analysis/compare.py --store "$(STORE)" --sweep $(LISTED); fi; exit $$status

submit: .venv/.ready ## the same sweep on SLURM: PROFILE names your site's settings
	@$(BIN)/python -m cluster submit $(NAME) $(SWEEP_ARGS) profile=$(PROFILE) $(if $(DRY),--dry)

compare: .venv/.ready ## print a sweep's table again: SWEEP, BENCH, SCALE as given to sweep
	@$(BIN)/python analysis/compare.py --store "$(STORE)" --sweep $(LISTED) $(ARGS)

report: .venv/.ready ## write its page, report.html: tables, figures, every run (same variables)
	@$(BIN)/python analysis/report.py --store "$(STORE)" --sweep $(LISTED) $(ARGS)

paper: .venv/.ready ## write paper/: tables (tex), figures (pdf), REPRODUCIBILITY.md (same variables)
	@$(BIN)/python analysis/paper.py --store "$(STORE)" --sweep $(LISTED) $(ARGS)

claims: .venv/.ready ## train what the paper's claims need, then test each claim (BENCH, STORE)
	@for sweep in $$($(BIN)/python analysis/claims.py --sweeps); do \
	  $(BIN)/python -m sweeps run $$sweep $(SWEEP_ARGS) || [ $$? = 3 ] || exit 2; done; \
	  $(BIN)/python analysis/claims.py --store "$(STORE)"

docs: .venv/.ready ## write figures, API page and picture of the documents; ARGS="--store runs" takes results over
	@$(BIN)/python -m docs.figures $(ARGS)

wandb-sync: .venv/.ready ## upload its tracked runs that wait on disk (same variables; docs/tracking.md)
	@$(BIN)/python -m sweeps sync $(NAME) $(SWEEP_ARGS)

check: .venv/.ready ## quick tests (75 seconds on two cores)
	@$(PYTEST) -n $(JOBS) --dist loadfile -m "not slow and not slurm and not gpu $(NO_OUTPUT)"

test: .venv/.ready ## all tests that need no cluster and no GPU (12 to 15 minutes on two cores)
	@$(PYTEST) -n $(JOBS) --dist loadfile -m "not slurm and not gpu $(NO_OUTPUT)"

test-slurm: .venv/.ready ## on a real SLURM of three virtual nodes (Debian packages, root)
	@$(BIN)/python -m pytest -q -m slurm tests/slurm

test-output: .venv/.ready ## what readers see: page in Chromium, tables in LaTeX, notebooks executed
	@$(BIN)/python -m pytest -q -m "browser or latex or notebook"

lint: .venv/.ready ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: .venv/.ready ## a training step of every LoRA method: its parts and its share of the limit
	@$(BIN)/python -m tests.perf.bench --device $(DEVICE) $(ARGS)
