#!/usr/bin/env bash
# One host with several GPUs. One process drives them all: `linkjax STAGE …` needs no launcher.
# This starts a process for each GPU instead: in `encode` each decodes the photographs of its own GPU, side by side.
#
#   scripts/launch/one_host.sh 8 linkjax pairs --config configs/dogs_resnet50.toml --out runs/pairs
set -euo pipefail
count=$1; shift
export LINKJAX_COORDINATOR=127.0.0.1:${LINKJAX_PORT:-55600} LINKJAX_PROCESSES=$count
running=()
for ((index = 0; index < count; index++)); do
  CUDA_VISIBLE_DEVICES=$index LINKJAX_PROCESS=$index "$@" & running+=($!)
done
trap 'kill "${running[@]}" 2>/dev/null' INT TERM
status=0
for process in "${running[@]}"; do wait "$process" || status=$?; done
exit "$status"
