#!/usr/bin/env bash
# Everything about the engine cuda that only hardware can show. Not part of .ci/run: CI has no GPU. Not yet run anywhere.
#
#     bash .ci/gpu_checks.sh [FOLDER]      results in FOLDER (default: gpu-checks); needs an NVIDIA GPU of compute
#                                          capability 8.0 or newer, driver 580 or newer, and Python 3.11 with venv
#
# Stops at the first failure, but for the comparisons of speed, which are only printed.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-gpu-checks}
mkdir -p "$out"
export NUMBA_CACHE_DIR=$PWD/$out/numba

step() { printf '\n=== %s\n' "$1"; shift; "$@" || { echo "=== FAILED"; exit 1; }; }
same() { diff -r -x checkpoint.safetensors -x .lock -x .owner -x 'training.*' "$1" "$2" && echo "the same bits"; }
run() { .venv/bin/minigrok train "$@" --engine cuda; }
unset NUMBA_ENABLE_CUDASIM

step 'install' bash -c "python3 -m venv .venv && .venv/bin/pip install -q '.[cuda,test,oracle]'"
step 'what there is' .venv/bin/minigrok info
step 'the laws of derivatives, on the device' .venv/bin/minigrok check --engine cuda

# The simulator's tests hold kernel for kernel against the plain engine; on a device sums have another order, so the tests
# of equal bits between engines are the simulator's alone.
step 'the tests of the engine, on the device' .venv/bin/pytest -q tests/test_kernels.py \
  tests/simulator/sim_objective.py tests/simulator/sim_train.py tests/simulator/sim_sweep.py
step 'the whole test suite' .venv/bin/pytest -q -m ''

# compute-sanitizer comes with the CUDA toolkit, not with pip. Kernels one by one, not as a graph.
small=(tiny --set train.max_steps=20 --set train.eval_every=10)
for tool in memcheck racecheck initcheck; do
  step "compute-sanitizer $tool" env MINIGROK_CUDA_GRAPH=0 compute-sanitizer --tool "$tool" --error-exitcode 1 \
    .venv/bin/minigrok train "${small[@]}" --engine cuda --out "$out/sanitizer-$tool"
done

step 'run to run' run tiny --set train.max_steps=2000 --out "$out/once"
step 'again' run tiny --set train.max_steps=2000 --out "$out/twice"
step 'the same bits run to run' same "$out/once" "$out/twice"
step 'kernel by kernel' env MINIGROK_CUDA_GRAPH=0 .venv/bin/minigrok train tiny --set train.max_steps=2000 \
  --engine cuda --out "$out/kernels"
step 'the same bits without a graph' same "$out/once" "$out/kernels"
timeout -s KILL 20 .venv/bin/minigrok train tiny --set train.max_steps=2000 --engine cuda --out "$out/killed" || echo 'killed'
step 'resume' .venv/bin/minigrok resume "$out/killed"
step 'the same bits after a kill' same "$out/once" "$out/killed"

step 'the two tasks of the paper, weight decay 1' run dual --out "$out/dual" --json
step 'both tasks grokked' .venv/bin/python -c "
import sys
from minigrok.runs import open_run
state = open_run('$out/dual').load_checkpoint()[1]
print(state['grok_step'])
sys.exit(None in state['grok_step'])"
step 'curvature of that run' .venv/bin/minigrok analyse hessian "$out/dual"
step 'a sweep in replicas' .venv/bin/minigrok sweep tiny --engine cuda --out "$out/sweep"
step 'the run of a sweep is the run alone' run tiny --set optimiser.weight_decay=0.3 --set seed=137 --out "$out/alone"
step 'the same bits in a sweep' same "$out/alone/snapshots" "$out/sweep/tiny-wd0.3-s137/snapshots"

step 'speed: replicas' .venv/bin/minigrok bench --engine cuda --replicas 1,2,4,8,16,32,64 --json "$out/bench.json"
.venv/bin/python .ci/gpu_torch.py | tee "$out/torch.txt" || echo 'speed of PyTorch: not measured'
