#!/usr/bin/env bash
# Open MPI: hosts from a hostfile, one process on each. linkjax uses mpirun only to start: it needs no MPI of its own.
# Open MPI 5 no longer tells where process 0 runs, so its address is given here, which Open MPI 4 takes as well.
#
#   scripts/launch/open_mpi.sh hosts.txt linkjax pairs --config configs/dogs_resnet50.toml --out /shared/runs/pairs
set -euo pipefail
hosts=$1; shift
first=$(awk 'NF && $1 !~ /^#/ {print $1; exit}' "$hosts")
mpirun --hostfile "$hosts" --map-by ppr:1:node -x PATH \
  -x LINKJAX_COORDINATOR="$first:${LINKJAX_PORT:-55600}" "$@"
