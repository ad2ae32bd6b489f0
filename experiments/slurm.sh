#!/usr/bin/env bash
# Pre-training on two nodes with four GPUs each; any config and its options, as after `peclr fit`:
#   sbatch experiments/slurm.sh --config experiments/pretrain_peclr.yaml --data.root=/path/to/freihand
# batch_size and num_workers of a config are of all GPUs together: the run takes the same course on any number of them.
#SBATCH --job-name=peclr
#SBATCH --nodes=2
# one task per GPU: Lightning takes each for one of its processes
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# 120 s before its time is up, the job saves a checkpoint and queues itself again; it then goes on in the same folder,
# runs/CONFIG/slurm-JOB. A job that is preempted, or whose node fails, goes on from its last checkpoint.
#SBATCH --signal=SIGUSR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log
set -euo pipefail

# since Slurm 22.05 srun takes no cores over from sbatch
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 .venv/bin/python -m peclr fit \
  --trainer.accelerator=gpu \
  --trainer.num_nodes="$SLURM_NNODES" \
  --trainer.devices="$SLURM_NTASKS_PER_NODE" \
  --trainer.strategy=ddp \
  --trainer.enable_progress_bar=false \
  "$@"
