#!/bin/bash
# Pretraining on a cluster: one process per GPU, over one node or many.
#
#   sbatch scripts/slurm_pretrain.sh dual-simclr /data/SEN12MS                      # 1 node with 4 GPUs
#   sbatch --nodes=4 scripts/slurm_pretrain.sh swin-pair /data/SEN12MS --batch-size 64 # 4 nodes; a multiple of the GPUs
#
# The first argument is the method, the second the data, all others go to `eo-ssl pretrain` as they are
# (`eo-ssl pretrain --help`). Before the first job: `eo-ssl data check DATA`, then
# `eo-ssl course run --profile paper --data DATA --dry-run` on one GPU for the minutes of every chapter, and the memory and disk of the whole.
#
# What to know
# - batch_size counts the pairs in the loss over ALL devices. Each process holds batch_size / processes of them and
#   compares them with all: the same batch_size gives the same training on 1 GPU or on 16 (up to BatchNorm, below).
# - BatchNorm shares its statistics over all GPUs by default; `--set batch_norm=local` keeps those of each device.
# - Out of memory ends the run with a line that names a `--micro-batch`: so many pairs are embedded at a time, and the
#   contrastive batch stays whole. The run goes on from its last epoch.
# - A job that is killed or runs out of time loses one epoch at most: the same command goes on. `--max-minutes` below
#   ends cleanly before the limit, `--requeue` puts the job back into the queue.
# - Without Slurm, on each node:
#     torchrun --nnodes 2 --nproc-per-node 4 --node-rank K --master-addr HOST --master-port 29500 \
#         --no-python eo-ssl pretrain dual-simclr --data DATA --preset paper --devices 4 --nodes 2
#   on one machine with 2 GPUs, without either:
#     eo-ssl pretrain dual-simclr --data DATA --preset paper --devices 2
# - All nodes must see DATA and the run folder. Packed data (`eo-ssl data pack`) read many times faster.
#
#SBATCH --job-name=eo-ssl-pretrain
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

set -euo pipefail
method=${1:?usage: sbatch slurm_pretrain.sh METHOD DATA [options of eo-ssl pretrain]}
data=${2:?usage: sbatch slurm_pretrain.sh METHOD DATA [options of eo-ssl pretrain]}
shift 2

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-8}
srun eo-ssl pretrain "$method" --data "$data" --preset paper \
    --run-dir "${EO_SSL_RUNS:-runs/paper}" \
    --devices "${SLURM_NTASKS_PER_NODE:-4}" --nodes "${SLURM_JOB_NUM_NODES:-1}" \
    --workers 4 --max-minutes 465 "$@"
