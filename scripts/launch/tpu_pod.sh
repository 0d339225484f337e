#!/usr/bin/env bash
# A TPU pod slice (Cloud TPU VMs): the same command on every host; --processes auto lets JAX ask the slice who is there.
# The folders named must be on storage that all hosts mount (Filestore, or a bucket through gcsfuse).
#
#   scripts/launch/tpu_pod.sh my-slice us-central2-b pairs --config configs/dogs_resnet50.toml --out /shared/runs/pairs
set -euo pipefail
slice=$1; zone=$2; shift 2
gcloud compute tpus tpu-vm ssh "$slice" --zone="$zone" --worker=all \
  --command="$(printf '%q ' linkjax "$@" --processes auto)"
