# make demo and make test set everything up on a bare machine with Python 3.11 or later.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo report test lint bench clean

demo: .venv/installed  ## the embedded demo, from videos to results/demo_table.csv and pictures
	snakemake --cores 2 demo --config preset=cpu
	@echo "Done: results/demo_table.csv, results/demo_sequences.csv, results/pictures/demo/"

report: demo  ## the demo's tables, pictures and videos in one file, report.html
	snakemake demo --report report.html --config preset=cpu

test: .venv/installed  ## all tests; those that need what is not here say so and are skipped
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: .venv/installed  ## style of Python and Snakemake files
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint

bench: .venv/installed  ## speed and error figures into results/benchmarks.csv
	python -m tests.benchmarks

# The constraints pin every package; torch comes first, so that its pinned build is taken as it is. In the
# compat mode `import lrtl` finds the package from the folder that holds the clone, too.
.venv/installed: pyproject.toml envs/constraints.txt
	$(PYTHON) -m venv .venv
	pip install --constraint envs/constraints.txt torch
	pip install --constraint envs/constraints.txt --editable '.[dev]' --config-settings editable_mode=compat
	touch $@

clean:  ## remove the environment and every product, not what was downloaded
	rm -rf .venv results logs benchmarks report.html .snakemake
