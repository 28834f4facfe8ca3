#!/usr/bin/env bash
# Everything about the engine cuda that only hardware can show. Not part of .ci/run: CI has no GPU. Not yet run anywhere.
#
#     bash .ci/gpu_checks.sh [PART ...]            results in gpu-checks/, or in $RESULTS; summary.txt has a line a step
#     PYTHON=python3 bash .ci/gpu_checks.sh ...    that interpreter with the packages it has: for machines without network
#     OUT=DIR bash .ci/gpu_checks.sh ...           and what is worth reading as one archive, DIR/gpu-checks.tar.gz
#
# Parts, the most valuable first, with the most seconds that they may take: each fits a call of 500 s. Without a name all
# of them in this order:
#
#     look 80       engine 420     speed 300      grok 360      bits 410      peers 240     memcheck 120
#     sweep 480     alone 90       racecheck 120  synccheck 120 initcheck 120 products 200  races 200
#     device 300    suite 480
#
# `sweep` may need several calls: SIGINT saves, and the next call goes on. Needs an NVIDIA GPU of compute capability 8.0 or newer, driver 580 or newer, Python 3.11 or newer; `peers` a PyTorch
# with CUDA, memcheck to races the CUDA toolkit. A step that fails or takes too long is named at the end; the others are made.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${RESULTS:-gpu-checks}
mkdir -p "$out"
out=$(cd "$out" && pwd)
unset NUMBA_ENABLE_CUDASIM
command -v compute-sanitizer >/dev/null || PATH=$PATH:/usr/local/cuda/bin
failed=()

# step SECONDS NAME COMMAND...: print a heading, run a command or a function for so many seconds at most, note a failure.
step() {
  local limit=$1 name=$2 start=$SECONDS code=0
  shift 2
  printf '\n=== %s\n' "$name"
  timeout -k 10 "$limit" bash -c '"$@"' step "$@" </dev/null || code=$?
  printf '=== %s: exit code %d after %d s\n' "$name" "$code" $((SECONDS - start)) | tee -a "$out/summary.txt"
  [ "$code" = 0 ] || failed+=("$name")
}

# Without PYTHON: an environment of its own. The sources are those that lie here, installed or not.
if [ -z "${PYTHON:-}" ]; then
  step 300 'install' bash -c "python3 -m venv .venv && .venv/bin/pip install -q '.[cuda,test]'"
  PYTHON=$PWD/.venv/bin/python
fi
mkdir -p "$out/path"
ln -sfn "$PWD/cli" "$out/path/minigrok_cli"
export PYTHON out PYTHONPATH=$PWD:$out/path${PYTHONPATH:+:$PYTHONPATH}

minigrok() { "$PYTHON" -m minigrok_cli "$@"; }
run() { minigrok train "$@" --engine cuda; }
tests() { "$PYTHON" -m pytest -q -p no:cacheprovider "$@"; }
same() { diff -r -x checkpoint.safetensors -x .lock -x .owner -x 'training.*' "$1" "$2" && echo "the same bits"; }

look() {
  step 20 'the card' nvidia-smi
  step 60 'what there is' minigrok info
}

# The tests hold every pass against the plain engine, on the device's own tiles; the second step does so at the paper's size.
engine() {
  step 300 'the tests of the engine, on the device' tests tests/simulator/sim_{train,objective,analyses,sweep,engine}.py \
    tests/bench/test_kernels.py
  step 120 'the paper'\''s run, 200 steps in float64, is that of the CPU' as_on_the_cpu
}
as_on_the_cpu() {
  local settings=(dual --set compute.dtype=float64 --set train.max_steps=200)
  minigrok train "${settings[@]}" --engine cpu --out "$out/cpu-200" && run "${settings[@]}" --out "$out/cuda-200" &&
    "$PYTHON" -c "
import numpy as np
from minigrok.storage.runs import open_run
cpu, cuda = (open_run(f'$out/{name}-200').metrics() for name in ('cpu', 'cuda'))
for column, values in cpu.items():
    np.testing.assert_allclose(cuda[column], values, rtol=1e-9, err_msg=column)
    print(column, np.abs(cuda[column] / values - 1).max())"
}

speed() {
  step 300 'speed: replicas and Hessian products' minigrok bench --engine cuda --replicas 1,36,18,8,64 \
    --json "$out/bench.json"
}

peers() {
  step 240 'speed: PyTorch on the same card' "$PYTHON" .ci/gpu_torch.py --json "$out/torch.json" \
    --beside "$out/bench.json"
}

# The same split and batches as the CPU's run of reference_outputs/dual_wd1_s42, in another order of summation.
grok() {
  step 240 'the two tasks of the paper, weight decay 1, to their grok' run dual --out "$out/dual" --json
  step 20 'both tasks grokked' grokked
  step 100 'curvature of that run' minigrok analyse hessian "$out/dual"
}
grokked() {
  "$PYTHON" -c "
import sys
from minigrok.storage.runs import open_run
steps = open_run('$out/dual').load_checkpoint()[1]['grok_step']
print(steps)
sys.exit(None in steps)"
}

bits() {
  local tiny=(tiny --set train.max_steps=2000)
  step 80 'a run' run "${tiny[@]}" --out "$out/once"
  step 80 'again' run "${tiny[@]}" --out "$out/twice"
  step 10 'the same bits from run to run' same "$out/once" "$out/twice"
  step 80 'kernel by kernel' env MINIGROK_CUDA_GRAPH=0 "$PYTHON" -m minigrok_cli train "${tiny[@]}" --engine cuda \
    --out "$out/kernels"
  step 10 'the same bits without a graph' same "$out/once" "$out/kernels"
  step 80 'a run that is killed' killed "${tiny[@]}" --out "$out/killed"
  step 60 'and resumed' minigrok resume "$out/killed"
  step 10 'the same bits after a kill' same "$out/once" "$out/killed"
}
killed() {
  "$PYTHON" -m minigrok_cli train "$@" --engine cuda & # no function: the process itself is killed
  local pid=$!
  until [ "$(wc -l 2>/dev/null <"$out/killed/metrics.csv" || echo 0)" -gt 5 ]; do
    kill -0 $pid 2>/dev/null || return 1
    sleep 0.1
  done
  kill -KILL $pid
  ! wait $pid
}

# Its 18 runs are one fleet. Ten minutes are the goal: two calls, whose seconds add up. SWEEP_SECONDS: less time.
sweep() { step 480 'the paper'\''s dual sweep, 18 runs' sweep_in_time; }
alone() { step 90 'a run of the sweep is the run alone' alone_as_in_sweep; }
sweep_in_time() {
  local start=$SECONDS code=0
  timeout -s INT "${SWEEP_SECONDS:-450}" "$PYTHON" -m minigrok_cli sweep paper-dual --engine cuda --out "$out/paper-dual" || code=$?
  echo "$((SECONDS - start)) s with the analyses; training alone: the seconds in the table"
  return $code
}
alone_as_in_sweep() {
  run dual --set seed=137 --set train.max_steps=400 --out "$out/alone" && "$PYTHON" -c "
from minigrok.storage.runs import open_run
alone, beside = open_run('$out/alone'), open_run('$out/paper-dual/dual-wd1-s137')
for step in alone.snapshots():
    assert alone.load_snapshot(step).tobytes() == beside.load_snapshot(step).tobytes(), step
print('the same bits at', alone.snapshots())"
}

# One tool of the sanitizer a part. Kernels one by one, not as a graph; sizes that no tile divides.
memcheck() { step 120 'compute-sanitizer memcheck, training' sanitized_training memcheck; }
racecheck() { step 120 'compute-sanitizer racecheck, training' sanitized_training racecheck; }
synccheck() { step 120 'compute-sanitizer synccheck, training' sanitized_training synccheck; }
initcheck() { step 120 'compute-sanitizer initcheck, training' sanitized_training initcheck; }
products() { step 200 'compute-sanitizer memcheck, all products' sanitized_products memcheck; }
races() { step 200 'compute-sanitizer racecheck, all products' sanitized_products racecheck; }
sanitized() { MINIGROK_CUDA_GRAPH=0 compute-sanitizer --tool "$1" --error-exitcode 1 "$PYTHON" "${@:2}"; }
sanitized_training() {
  sanitized "$1" -m minigrok_cli train tiny --set task.p=23 --set model.width=20 --set model.heads=2 \
    --set model.mlp_width=30 --set model.blocks=2 --set train.batch_size=70 --set train.max_steps=4 \
    --set train.eval_every=2 --engine cuda --out "$out/sanitizer-$1"
}
sanitized_products() { sanitized "$1" -m pytest -q -p no:cacheprovider tests/simulator/sim_objective.py; }

device() {
  step 240 'the tests that look for a device' tests tests/engine/test_cuda.py tests/test_info.py tests/test_cli.py -m 'not slow'
  step 60 'the laws of derivatives, on the device' minigrok check --engine cuda
}
suite() { step 480 'the whole test suite' tests; }

# archive: what the checks said so far, without parameters, as one small file.
archive() {
  mkdir -p "$OUT"
  tar --create --gzip --file "$OUT/gpu-checks.tar.gz" --directory "$out" --exclude path --exclude '*.safetensors' \
    --exclude '*.npz' .
}

all=(look engine speed grok bits peers memcheck sweep alone racecheck synccheck initcheck products races device suite)
for part in "$@"; do
  case " ${all[*]} " in *" $part "*) ;; *) echo "required: parts among ${all[*]} - got: $part" >&2; exit 2 ;; esac
done
[ $# -gt 0 ] || set -- "${all[@]}"
export -f minigrok run tests same as_on_the_cpu grokked killed sweep_in_time alone_as_in_sweep
export -f sanitized sanitized_training sanitized_products
for part in "$@"; do
  "$part" > >(tee -a "$out/$part.log") 2>&1
  [ -z "${OUT:-}" ] || archive
done
printf '\n=== %d s; failed: %s\n' "$SECONDS" "$(IFS=';'; echo "${failed[*]:-nothing}")" | tee -a "$out/summary.txt"
[ -z "${OUT:-}" ] || archive
[ ${#failed[@]} = 0 ]
