#!/bin/bash
# The course for MINUTES at most, into runs/$PROFILE or the folder that it links to: one job of a run of days.
#
#   PROFILE=paper DATA=/data MINUTES=300 scripts/full_run.sh
#
# What takes longer is ended as by Ctrl-C, and by force GRACE later. All that was made is kept, and `state=unfinished`
# (in $GITHUB_OUTPUT) says that the same command goes on. A job that leaves nothing new behind is an error, as the next
# would get no further. Otherwise the status is that of the course. .github/workflows/gpu.yml and rehearsal.yml run it.
set -uo pipefail
cd "$(dirname "$0")/.."
begun=$(mktemp)
trap 'rm -f "$begun"' EXIT

.venv/bin/eo-ssl data fetch ||
  echo "::warning::The small real data could not be fetched; the chapters go on with simulated patches."
code=0
timeout --kill-after="${GRACE:-5m}" "${MINUTES}m" \
  .venv/bin/eo-ssl course run --profile "$PROFILE" --data "$DATA" --run-dir "runs/$PROFILE" --keep-going || code=$?
case $code in
  0) state=finished ;;
  124 | 137) state=unfinished ;;
  *) exit "$code" ;;
esac

# A finished chapter, a tested model, an epoch of a pretraining, some updates of a downstream model.
made=$(find -L "runs/$PROFILE" -newer "$begun" -type f \( -name results.jsonl -o -name metrics.csv \
  -o -path '*/state/*.pt' -o -name '[!.]*.ipynb' ! -name '*.failed.ipynb' \) -print -quit)
if [ $state = unfinished ] && [ -z "$made" ]; then
  echo "::error title=No progress::In $MINUTES minutes this run has neither finished a chapter nor saved anything of a training."
  exit 1
fi
echo "state=$state" | tee -a "${GITHUB_OUTPUT:-/dev/null}"
