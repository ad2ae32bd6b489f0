#!/usr/bin/env bash
# `peclr collect`, `prepare` or `mine` on 16 machines that see the same folders, then a job that checks and joins the parts:
#   job=$(sbatch --parsable --array=1-16 experiments/slurm_prepare.sh collect /videos --out /shared/hands)
#   sbatch --dependency=afterok:$job experiments/slurm_prepare.sh collect /videos --out /shared/hands
# A part that fails or is preempted goes on where it was when it is queued again.
#SBATCH --job-name=peclr-prepare
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log
set -euo pipefail

part=()
if [[ -n "${SLURM_ARRAY_TASK_ID:-}" ]]; then
  part=(--part "$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))/$SLURM_ARRAY_TASK_COUNT")
fi
exec .venv/bin/python -m peclr "$@" --workers "${SLURM_CPUS_PER_TASK:-1}" ${part[@]+"${part[@]}"}
