# Two commands do everything: `make demo` runs the main job, `make test` every check.
# Each first makes .venv from requirements.lock when it is missing or older than the lock.
PYTHON ?= python3
RUN := .venv/bin/python -m

.PHONY: demo test check fast setup lock clean

demo: .venv/stamp
	.venv/bin/mrcom demo

test: check
	$(RUN) pytest -q -n 2 --dist loadfile --no-loadscope-reorder

check: .venv/stamp
	$(RUN) ruff format --check src tests benchmarks scripts examples
	$(RUN) ruff check src tests benchmarks scripts examples
	.venv/bin/ty check src
	.venv/bin/lint-imports
fast: check
	$(RUN) pytest -q -m "not learns and not slow"

setup: .venv/stamp

.venv/stamp: requirements.lock
	$(PYTHON) scripts/make_venv.py
	touch $@

lock:
	.venv/bin/uv pip compile pyproject.toml --universal --group dev --no-emit-package mrcom \
	  --python-version 3.11 --custom-compile-command "make lock" -o requirements.lock

clean:
	rm -rf .venv
