#!/usr/bin/env bash
# From nothing to a trained, evaluated, exported and searchable nano, on two CPU cores, in under 30 minutes.
# Source: the Python standard library and the installed site-packages (permissive licences only).
# Run as `make speedrun`. OUT names the folder of all artifacts; SIZE, STAGE1, STAGE2 (minutes) scale it.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-out/speedrun} SIZE=${SIZE:-nano} STAGE1=${STAGE1:-4} STAGE2=${STAGE2:-5} VOCABULARY=${VOCABULARY:-16384}
BENCHMARKS=${BENCHMARKS:-../shared/benchmarks}
site=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
exclude=(); [ -d "$BENCHMARKS" ] && exclude=(--exclude-benchmarks "$BENCHMARKS")
if [ -n "${SOURCES:-}" ]; then read -ra sources <<<"$SOURCES"; else sources=(--stdlib --packages "$site"); fi
started=$SECONDS
rm -rf "$OUT"

# 1. corpus: documents, functions, (text, code) pairs; networkx and pyarrow only give evaluation pairs
codesage corpus build "${sources[@]}" --out "$OUT/corpus" --held-out "${HELD_OUT:-networkx}" --held-out pyarrow "${exclude[@]}"
# 2. tokenizer
codesage tokenizer "$OUT/corpus" --out "$OUT/tokenizer" --vocab-size "$VOCABULARY" --documents 3000
# 3. Stage I: random masking and identifier deobfuscation
codesage pretrain "$OUT/corpus" --tokenizer "$OUT/tokenizer" --size "$SIZE" --minutes "$STAGE1" --out "$OUT/stage1"
# 4. Stage II: contrastive learning, hard positives and hard negatives
codesage contrast "$OUT/corpus" --model "$OUT/stage1" --size "$SIZE" --minutes "$STAGE2" --out "$OUT/both"
# 5. export: int8 ONNX that needs no torch
codesage export "$OUT/both" --out "$OUT/model" --int8-only
# 6. one table, beside random weights and BM25
codesage initialise --tokenizer "$OUT/tokenizer" --size "$SIZE" --out "$OUT/random"
models=("random=$OUT/random" "stage1=$OUT/stage1" "both=$OUT/model")
if [ -n "${ABLATION:-}" ]; then # Stage II from random weights, at the same time budget
  codesage contrast "$OUT/corpus" --tokenizer "$OUT/tokenizer" --size "$SIZE" --minutes "$STAGE2" --out "$OUT/stage2"
  models+=("stage2=$OUT/stage2")
fi
bench=(); [ -d "$BENCHMARKS" ] && bench=(--benchmarks "$BENCHMARKS")
[ -n "${SOURCES:-}" ] && bench=()
codesage evaluate "${models[@]}" --corpus "$OUT/corpus" "${bench[@]}" --out "$OUT/retrieval.json"
# 7. a card beside the weights, and in the exported folder
python runs/card.py "$OUT/both" "$OUT/corpus" "$OUT/retrieval.json" both
codesage export "$OUT/both" --out "$OUT/model" --int8-only
# 8. search with it
codesage search "compute the contrastive loss" src --model "$OUT/model" --index-dir "$OUT/index" --top 3
echo "minutes in all: $(( (SECONDS - started) / 60 ))"
