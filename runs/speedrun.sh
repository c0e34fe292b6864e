#!/usr/bin/env bash
# Train, evaluate and export nano from scratch and search with it, on two CPU cores, in under 30 minutes.
# Sources: the Python standard library and the installed site-packages (permissive licences only).
# Run with `make speedrun`. OUT is the folder of all artifacts. SIZE, STAGE1 and STAGE2 (minutes) set the scale.
# FILTER: the share of the pairs of each kind and language that Stage II gets, as the bundled model judges them; empty for all.
# With SOURCES="recipes/release.toml recipes/howto.toml" (`make release`) it trains on the corpus of the bundled models.
# After a kill, run it again with the same OUT: it skips the steps that are done and resumes the others.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-out/speedrun} SIZE=${SIZE:-nano} STAGE1=${STAGE1:-3} STAGE2=${STAGE2:-4} VOCABULARY=${VOCABULARY:-16384}
DOCUMENTS=${DOCUMENTS:-3000} TOKENIZER_DOCUMENTS=${TOKENIZER_DOCUMENTS:-3000} ABLATION=${ABLATION:-1} PEERS=${PEERS:-} FILTER=${FILTER:-}
BENCHMARKS=${BENCHMARKS:-../shared/benchmarks}
site=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
exclude=(); bench=()
if [ -d "$BENCHMARKS" ]; then
  exclude=(--exclude-benchmarks "$BENCHMARKS")
  bench=(--benchmarks "$BENCHMARKS" ${TASKS:---task cosqa})
fi
if [ -n "${SOURCES:-}" ]; then read -ra sources <<<"$SOURCES"; else sources=(--stdlib --packages "$site"); fi
held=(); for package in ${HELD_OUT-networkx pyarrow}; do held+=(--held-out "$package"); done
started=$SECONDS
step() { local made=$1; shift; [ -e "$OUT/$made" ] || { echo "--- $made: codesage $1, minute $(( (SECONDS - started) / 60 ))" >&2; codesage "$@"; }; }
mkdir -p "$OUT"

# 1. corpus: documents, functions, (text, code) pairs; held-out packages give only evaluation pairs
step corpus corpus build "${sources[@]}" --out "$OUT/corpus" --cache "${CACHE:-$OUT/cache}" "${held[@]}" "${exclude[@]}"
# 2. tokenizer, and the tokenised corpus, so that training never parses or tokenises
step tokenizer tokenizer "$OUT/corpus" --out "$OUT/tokenizer" --vocab-size "$VOCABULARY" --documents "$TOKENIZER_DOCUMENTS"
step tokens tokens "$OUT/corpus" --tokenizer "$OUT/tokenizer" --out "$OUT/tokens" --max-documents "$DOCUMENTS" \
  --text-tokens 64 --code-tokens 256
# 3. Stage I: random masking and identifier deobfuscation
step stage1 pretrain "$OUT/tokens" --tokenizer "$OUT/tokenizer" --size "$SIZE" --minutes "$STAGE1" --out "$OUT/stage1"
# 4. the pairs worth learning from, for Stage II
kept=()
if [ -n "$FILTER" ]; then
  step kept filter "$OUT/tokens" --tokenizer "$OUT/tokenizer" --share "$FILTER" --out "$OUT/kept"
  kept=(--filter "$OUT/kept")
fi
# 5. Stage II: contrastive learning with hard positives and hard negatives; also from untrained weights, for comparison
step both contrast "$OUT/tokens" "${kept[@]}" --model "$OUT/stage1" --size "$SIZE" --minutes "$STAGE2" --out "$OUT/both"
systems=("Stage I=$OUT/stage1" "both=$OUT/model")
if [ "$ABLATION" = 1 ]; then
  step stage2 contrast "$OUT/tokens" "${kept[@]}" --tokenizer "$OUT/tokenizer" --size "$SIZE" --minutes "$STAGE2" --out "$OUT/stage2"
  systems+=("Stage II=$OUT/stage2")
fi
# 6. export: int8 ONNX, which runs without torch
step model export "$OUT/both" --out "$OUT/model" --int8-only
# 7. one table that compares it with BM25 and, unless BASELINES=0, with random weights and the untrained start
if [ "${BASELINES:-1}" = 1 ]; then
  step random initialise --tokenizer "$OUT/tokenizer" --size "$SIZE" --out "$OUT/random"
  step untrained initialise --tokenizer "$OUT/tokenizer" --tokens "$OUT/tokens" --size "$SIZE" --out "$OUT/untrained"
  systems=(random="$OUT/random" untrained="$OUT/untrained" "${systems[@]}")
fi
step retrieval.json evaluate "${systems[@]}" $PEERS \
  --corpus "$OUT/corpus" "${bench[@]}" --out "$OUT/retrieval.json"
# 8. write a card beside the weights and beside the exported model
python runs/card.py "$OUT/model" "$OUT/corpus" "$OUT/retrieval.json" both
cp "$OUT/model/README.md" "$OUT/both/README.md"
# 9. search with the model
codesage search "compute the contrastive loss" "${SEARCHED:-src}" --model "$OUT/model" --index-dir "$OUT/index" --top 3
echo "total minutes: $(( (SECONDS - started) / 60 ))"
