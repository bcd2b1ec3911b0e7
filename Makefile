# Every target bootstraps what it needs: python3, make and a package index are enough.
PYTHON ?= python3
BIN := .venv/bin
# Ray starts in half the time with compiled byte code
unexport PYTHONDONTWRITEBYTECODE
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: setup demo demo-long test test-long test-cluster check cluster-check format bench clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[cluster,filter,metrics,report,review,dev]'
	touch $@

demo: .venv/ready
	$(BIN)/python jobs/demo.py

demo-long: .venv/ready
	$(BIN)/python jobs/demo.py --translator stargan-v2-id-tiny-long --out runs/demo-long

test: .venv/ready
	$(BIN)/python -m pytest -m 'not slow' --durations=15

test-long: .venv/ready
	$(BIN)/python -m pytest -m slow --ignore tests/cluster

# three Ray nodes on this machine, an S3 server and MLflow; more than an hour on two cores
test-cluster: .venv/ready
	$(BIN)/python -m pytest tests/cluster --durations=0

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# the files of cluster/ and k8s/, without a network
cluster-check: .venv/ready
	$(BIN)/python cluster/check.py

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# in two rounds each, 17 minutes on two cores that nothing else used; benchmarks/README.md has the others
bench: .venv/ready
	$(BIN)/python benchmarks/faces.py
	$(BIN)/python benchmarks/step.py
	ROUNDS=2 $(BIN)/python benchmarks/data.py
	ROUNDS=2 $(BIN)/python benchmarks/refine.py expression-tiny=4096
	$(BIN)/python benchmarks/memory.py 2000 12000
	ROUNDS=2 $(BIN)/python benchmarks/startup.py
	ROUNDS=2 $(BIN)/python benchmarks/scale.py

clean:
	rm -rf .venv runs build dist *.egg-info .mypy_cache .ruff_cache
