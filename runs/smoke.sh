#!/usr/bin/env bash
# The whole path in about a minute with a toy size: proves that every station works, trains nothing of use.
set -euo pipefail
cd "$(dirname "$0")/.."
export OUT=${OUT:-out/smoke} SIZE=toy STAGE1=0.02 STAGE2=0.02 ABLATION=0 VOCABULARY=2048
lib=$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
export DOCUMENTS=200 SOURCES="$lib/json $lib/email $lib/asyncio $lib/logging" HELD_OUT=logging BENCHMARKS=/nonexistent
rm -rf "$OUT"
exec bash runs/speedrun.sh
