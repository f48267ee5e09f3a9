#!/bin/sh
# Run all checks on a machine with a CUDA GPU: the tests marked "gpu", then every benchmark that can use the GPU.
#   sh benchmarks/gpu.sh            # prints the figures and writes them to out/benchmarks/gpu.md
#   QUICK=--quick sh benchmarks/gpu.sh
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
command -v "$python" > /dev/null || { echo "There is no $python; run \"make test\" first, or name one: PYTHON=python3 sh benchmarks/gpu.sh" >&2; exit 1; }
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' \
  || { echo "There is no CUDA GPU that this PyTorch can use; run \"make benchmarks\" for the figures of the CPU." >&2; exit 1; }
"$python" -m pytest -m gpu tests
mkdir -p out/benchmarks
for benchmark in sam regions class_names new_names growth; do
  # shellcheck disable=SC2086 # an option or nothing
  "$python" "benchmarks/$benchmark.py" --device cuda ${QUICK:-} || echo "FAILED: $benchmark"
done | tee out/benchmarks/gpu.md
! grep "^FAILED" out/benchmarks/gpu.md
