#!/bin/sh
# What only a GPU can show, in less than eight minutes: three workloads on it, in three variants.
#
#     sh benchmarks/gpu.sh [FOLDER]
#
# In a checkout, with PyTorch and JAX for CUDA and what the harness needs ($PYTHON: which python).
# $HARNESS_DATA_DIR: where the data lie; stand-ins without. FOLDER (default: results/gpu) gets the
# runs, and summary.txt: what each was to show, and whether it did. Status 1 where one did not.
# Those that only compare numbers go side by side; the last has the machine for itself: it times.
#
# On an H100, beside six trainings, a smoke run of five variants was cut off after 230 s: nearly all
# of it went into compiling each batch size in each process. What XLA compiled is kept, therefore,
# but for the run that times, and torch.compile is left out.
set -u
folder=${1:-results/gpu}
python=${PYTHON:-python3}
mkdir -p "$folder"
summary=$folder/summary.txt
: >"$summary"
compiled=$(mktemp -d)
JAX_COMPILATION_CACHE_DIR=$compiled
JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
export JAX_COMPILATION_CACHE_DIR JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS

# expect STATUS NAME WORDS...: `harness compare WORDS` on the GPU, and how it is to end.
expect() {
    wanted=$1 name=$2
    shift 2
    before=$(date +%s)
    timeout -s INT "$most" "$python" -m harness compare --device cuda \
        --backend torch --backend graph=torch --variant graph=cuda-graph --backend jax \
        --results-dir "$folder/$name" "$@" >"$folder/$name.txt" 2>&1
    got=$?
    if [ "$got" = "$wanted" ]; then mark=ok; else mark=NOT; fi
    took=$(($(date +%s) - before))
    echo "$mark $name: status $got of $wanted, $took s: $*" | tee -a "$summary"
}

most=230 # seconds for each: what is not done by then is an interrupted run
expect 0 nielsen-conv-2 --profile smoke --workload nielsen-conv-2 &
expect 0 cifar-net --profile smoke --workload cifar-net &
# TF32 is what it says it is; in a run that does not say so it is caught, as is a wrong step.
expect 0 tf32 --profile smoke --precision tf32 &
expect 1 tf32-planted --profile smoke --plant torch=tests/faults/precision.py:tf32_on_cuda &
expect 1 lr-planted --profile smoke --plant jax=tests/faults/numbers.py:lr_one_per_mille &
wait
rm -rf "$compiled"
unset JAX_COMPILATION_CACHE_DIR
expect 0 mlp-scratch
! grep -q '^NOT' "$summary"
