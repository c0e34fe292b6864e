#!/usr/bin/env bash
# Run the whole pipeline in about a minute with the toy size: checks that every stage works; the model is useless.
set -euo pipefail
cd "$(dirname "$0")/.."
export OUT=${OUT:-out/smoke} SIZE=toy STAGE1=0.02 STAGE2=0.02 ABLATION=0 BASELINES=0 VOCABULARY=2048
export SEARCHED=src/codesage/contrast
lib=$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
export DOCUMENTS=200 FILTER=0.85 SOURCES="$lib/json $lib/asyncio $lib/logging" HELD_OUT=logging BENCHMARKS=/nonexistent
rm -rf "$OUT"
exec bash runs/speedrun.sh
