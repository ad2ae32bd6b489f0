"""The help of `fit`, `validate` and `test`: an example and what people change, without importing torch."""

from typing import Final

_EXAMPLES: Final = {
    "fit": "peclr fit --config pretrain_peclr --data.root=/path/to/freihand --data.batch_size=64",
    "validate": "peclr validate --config RUN/config.yaml --ckpt_path RUN/checkpoints/last.ckpt",
    "test": "peclr test --config RUN/config.yaml --ckpt_path RUN/checkpoints/last.ckpt",
}
_PURPOSES: Final = {
    "fit": "Pre-train or fine-tune with a config.",
    "validate": "Score a checkpoint on the validation split.",
    "test": "Score a checkpoint on the evaluation split.",
}
_EVERY: Final = (
    ("--config NAME|FILE", "one of `peclr configs`, or a file; a later one overrides"),
    ("--name NAME", "of the run, in reports and of its folder, runs/CONFIG/NAME"),
    ("--run_dir DIR", "another folder (default: runs/CONFIG/NAME or TIME)"),
    ("--data.root PATH", "a data set's folder, or in pre-training any folder of images or videos"),
    ("--data.batch_size N|auto", "pairs or images per batch, of all devices together; auto: by their number"),
    ("--data.num_workers N|auto", "processes that load; auto: one for every core"),
    ("--trainer.accelerator cpu|gpu", "what to compute on (default: a GPU if there is one)"),
    ("--trainer.devices N", "how many of them"),
)
_OPTIONS: Final = {
    "fit": (
        *_EVERY,
        ("--trainer.max_epochs N", "length of the run; the learning rate falls to 0 at its end"),
        ("--trainer.accumulate_grad_batches N|auto", "batches that one optimizer step sums up"),
        ("--trainer.precision P", "32-true, 16-mixed or bf16-mixed"),
        ("--trainer.logger WandbLogger|TensorBoard", "beside metrics.csv, which is always there"),
        ("--model.encoder.init_args.name NAME", "resnet18 to resnet152; with --model.encoder=TimmEncoder any of timm"),
        ("--model.objective NAME", "in pre-training: PeCLR, SimCLR and others; `--model.help` lists them"),
        ("--model.weights FILE", "in fine-tuning: the checkpoint of a pre-training run, or published weights"),
        ("--model.optimizer.init_args.lr RATE", "before it is scaled by the batch, see --model.lr_scaling"),
        ("--seed_everything N", "another seed: other weights, other order, other views (default: 0)"),
        ("--ckpt_path FILE", "go on with an interrupted run; with --run_dir in its own folder"),
    ),
    "validate": (*_EVERY, ("--ckpt_path FILE", "the checkpoint to score; needed")),
    "test": (*_EVERY, ("--ckpt_path FILE", "the checkpoint to score; needed")),
}
_MORE: Final = (
    ("--model.help", "models, their objectives and encoders"),
    ("--data.help", "data modules, and where images come from"),
    ("--model.help PretrainModule", "all options of one of them; so --model.objective.help PeCLR"),
    ("--print_config", "the whole config as it would be used, to look at or to save"),
    ("--help-all", "all options, the trainer's too"),
)


def help_text(subcommand: str) -> str:
    """What `peclr fit --help` shows."""
    rows = (*_OPTIONS[subcommand], *_MORE)
    width = max(len(option) for option, _ in rows)
    options, more = (
        "\n".join(f"  {option:<{width}}  {text}" for option, text in part) for part in (_OPTIONS[subcommand], _MORE)
    )
    return (
        f"usage: peclr {subcommand} --config NAME|FILE [--OPTION=VALUE ...]\n\n"
        f"{_PURPOSES[subcommand]} Options take the place of the config's values.\n"
        "Configs name classes to run: treat one from others as a program.\n\n"
        f"example:\n  {_EXAMPLES[subcommand]}\n\noptions that people change:\n{options}\n\nmore:\n{more}"
    )
