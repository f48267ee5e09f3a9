#!/bin/sh
# All checks and figures on a machine with a CUDA GPU: tests marked "gpu", then every benchmark that has one.
#   sh benchmarks/gpu.sh            # the figures go to out/benchmarks/gpu.md, too
#   QUICK=--quick sh benchmarks/gpu.sh
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
command -v "$python" > /dev/null || { echo "There is no $python; run \"make test\" first, or name one: PYTHON=python3 sh benchmarks/gpu.sh" >&2; exit 1; }
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' \
  || { echo "There is no CUDA GPU that this PyTorch can use; run \"make benchmarks\" for the figures of the CPU." >&2; exit 1; }
"$python" -m pytest -m gpu tests
mkdir -p out/benchmarks
for benchmark in sam regions class_names second_question growth; do
  "$python" "benchmarks/$benchmark.py" --device cuda ${QUICK:-}
done | tee out/benchmarks/gpu.md
