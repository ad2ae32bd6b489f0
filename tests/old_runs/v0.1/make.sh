#!/bin/sh
# How `runs.tar.xz` was made, by version 0.1 (commit 8ef42d3); it is kept as it is, so this need not run today.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$(mktemp -d)"
quiet="--trainer.accelerator=cpu --trainer.log_every_n_steps=1 --trainer.enable_progress_bar=false
  --trainer.enable_model_summary=false --data.num_workers=0 --data.view_size=48"
encoder="--model.encoder=ResNetEncoder --model.encoder.name=resnet18 --model.encoder.width=0.125"

# the data set of the fixture `rendered_hands` (tests/conftest.py)
peclr synth hands --train 24 --eval 8 --size 64 --versions 2 --seed 0 --workers 1

# pre-training, stopped in the middle; optimisers with little state, for the size of the archive
peclr fit --model=PretrainModule $encoder --model.objective=PeCLR --model.objective.temperature=0.1 \
  --model.optimizer=torch.optim.SGD --model.optimizer.lr=0.01 --model.warmup_epochs=1 \
  --model.projection_hidden=8 --model.projection_features=4 \
  --data=PairedViewDataModule --data.sources=FreiHAND --data.sources.root=hands --data.pairing=across_versions \
  --data.batch_size=4 --data.val_fraction=0 \
  $quiet --trainer.max_epochs=20 --run_dir=runs/pretrain &
until [ -e runs/pretrain/checkpoints/previous.ckpt ]; do sleep 0.1; done
kill -TERM $!
wait $! || [ $? = 143 ]
# weights of few bits, for the size of the archive
python - runs/pretrain/checkpoints/last.ckpt <<'END'
import sys, torch
run = torch.load(sys.argv[1], weights_only=True)
for key, value in run["state_dict"].items():
    if value.is_floating_point() and value.ndim > 1:
        run["state_dict"][key] = value.to(torch.float8_e4m3fn).to(value.dtype)
torch.save(run, sys.argv[1])
END

# fine-tuning to its end, and scored; the frozen encoder's weights take no room in the archive
finetune="--model=FinetuneModule $encoder --model.freeze_encoder=true --model.view_size=48
  --model.optimizer=torch.optim.SGD --model.optimizer.lr=0.01 --model.optimizer.momentum=0.9
  --data=LabelledHandDataModule --data.root=hands --data.batch_size=4 --data.num_labels=8 --data.val_fraction=0.25"
peclr fit $finetune --model.weights=runs/pretrain/checkpoints/last.ckpt $quiet --trainer.max_epochs=2 \
  --run_dir=runs/finetune
peclr evaluate runs/finetune --data hands

# a sweep of two; one step of warm-up leaves their heads as they began
cat > sweep.yaml <<'END'
program: peclr
method: grid
metric: {name: train/loss, goal: minimize}
command: ["${env}", "${interpreter}", -m, peclr, fit, --config=runs/finetune/config.yaml, "${args}"]
parameters:
  model.weight_decay: {values: [0.0, 0.1]}
  model.warmup_epochs: {value: 1}
  trainer.max_epochs: {value: 1}
  trainer.max_steps: {value: 1}
END
peclr sweep sweep.yaml --out runs/sweep

peclr export runs/finetune --out exported --formats safetensors

find runs -name previous.ckpt -delete -o -name '*.png' -delete
rm -rf runs/*/pictures runs/sweep/logs hands/*/mask hands/*_verts.json
! grep -rIl "$PWD" runs exported hands
tar --sort=name --owner=0 --group=0 --numeric-owner -cf - sweep.yaml runs exported hands | xz -9e > "$here/runs.tar.xz"
ls -l "$here/runs.tar.xz"
pwd
