#!/bin/sh
# Measure the first table of docs/explanation/performance.md, corrections and growth: 25 to 80 minutes on two otherwise idle cores.
#   make benchmarks                      # prints the figures and writes them to out/benchmarks/cpu.md
#   QUICK=--quick sh benchmarks/cpu.sh   # small sizes, one round: only checks that all benchmarks run
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
mkdir -p out/benchmarks
measure() {
  # shellcheck disable=SC2086 # an option or nothing
  { "$python" "benchmarks/$1.py" ${QUICK:-} $2 || echo "FAILED: $1 $2"; echo; } | tee -a out/benchmarks/cpu.md
}
: > out/benchmarks/cpu.md
measure sam --bundled
measure labeling ""
measure first_analysis ""
measure live_edit ""
measure corrections ""
measure new_names ""
measure growth ""
measure class_names "--classes 10"
measure regions "--crops 16"
measure sam ""
! grep "^FAILED" out/benchmarks/cpu.md
