#!/usr/bin/env bash
# The tests, or some of them, as on a processor without AVX-512 and AMX: XLA, PyTorch, NumPy and OpenBLAS are told to go
# without. Once before a release, or by a continuous integration:
#
#     scripts/release/check_processors.sh                      # all tests
#     scripts/release/check_processors.sh tests/ops tests/models
#
# Prints the processor, what it was limited to, and pytest's own summary.
set -euo pipefail
cd "$(dirname "$0")/../.."
export XLA_FLAGS="--xla_cpu_max_isa=AVX2 ${XLA_FLAGS:-}"
export ATEN_CPU_CAPABILITY=avx2 DNNL_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell
export NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR"
grep -m1 "model name" /proc/cpuinfo || true
echo "limited to AVX2: XLA, PyTorch, oneDNN, OpenBLAS, NumPy"
exec python -m pytest "$@"
