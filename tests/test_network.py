"""No command looks a host up or opens a connection: the system calls of each are read."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from peclr.data.sources.images import write_image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: system calls cannot be read"),
]
STRACE = (shutil.which("strace") or "", "-f", "--seccomp-bpf", "-qq", "-e", "trace=network", "-s", "200", "-o")
CONF = Path(__file__).parent / "conf"
INTERNET = re.compile(r"(connect|sendto|sendmsg|sendmmsg|bind)\(.*AF_INET6?")


def connections(log: Path) -> list[str]:
    """Lines of strace's log that reach for the network; making a socket, or using this machine's own, does not."""
    lines = log.read_text(errors="replace").splitlines()
    return [line for line in lines if INTERNET.search(line) and not re.search(r'"127\.0\.0\.1"|"::1"', line)]


def without_a_connection(words: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a command does in a folder, which is its home; it has opened no connection."""
    log = folder / "strace.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "PYTEST"))}
    done = subprocess.run(
        [*STRACE, str(log), sys.executable, "-m", "peclr", *words],
        cwd=folder,
        env={**environment, "HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert connections(log) == []
    return done


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "http:"  # FFmpeg takes such a path for an address
    folder.mkdir()
    for number in range(8):
        write_image(folder / f"{number}.jpg", rng.integers(0, 256, (64, 64, 3), np.uint8))
    writer = cv2.VideoWriter(str(folder / "8.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    for image in rng.integers(0, 256, (4, 64, 64, 3), np.uint8):
        writer.write(image)
    writer.release()
    return folder


COMMANDS = {
    "fit": "fit --config={conf}/pretrain.yaml --data.root={hands} --data.pairing=same_image "
    "--data.batch_size=8 --trainer.max_steps=1 --run_dir=new",
    "fit, images": "fit --config={conf}/pretrain.yaml --data.root=http: "
    "--data.pairing=same_image --data.batch_size=4 --trainer.max_steps=1 --run_dir=new",
    "predict": "predict {run} http: --out=hands",
    "export": "export {run} --out=weights",
    "evaluate": "evaluate {run} --data {hands} --out=scores",
    "report": "report {run} --out=report.html",
    "sweep": "sweep {sweep} --dry-run",
    "doctor": "doctor {hands}",
    "prepare": "prepare freihand {hands}",
    "mine": "mine {hands} --out=pairs.npz",
    "inspect": "inspect --config={conf}/pretrain.yaml --data.root={hands} --out=views.png",
    "weights": "weights",
    "synth": "synth hands --train=2 --eval=1 --size=48",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_opens_a_connection(
    name: str, tmp_path: Path, rendered_hands: Path, run: Path, images: Path
) -> None:
    hands = shutil.copytree(rendered_hands, tmp_path / "data")
    sweep = sorted((Path(__file__).parents[1] / "experiments" / "sweeps").glob("*.yaml"))[0]
    (run / "results.json").write_text('{"stage": "fit", "metrics": {}}')
    words = [word.format(conf=CONF, hands=hands, run=run, sweep=sweep) for word in COMMANDS[name].split(" ")]
    done = without_a_connection(words, tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr[-2000:]


NOT_HERE = {
    "weights get simhand-rn50": 1,
    "fit --config=pretrain_peclr --data.root={hands} --run_dir=new": 2,
    "predict peclr-rn50-freihand http: --out=hands": 2,
}


@pytest.mark.parametrize("command", NOT_HERE)
def test_weights_that_are_not_here_are_asked_for_without_a_connection(
    command: str, tmp_path: Path, rendered_hands: Path, images: Path
) -> None:
    words = command.format(hands=rendered_hands).split(" ")
    done = without_a_connection(words, tmp_path, PECLR_CACHE=str(tmp_path), TORCH_HOME=str(tmp_path))
    assert done.returncode == NOT_HERE[command], done.stderr[-2000:]
    assert "peclr weights get" in done.stdout + done.stderr


@pytest.mark.parametrize("accept", [False, True])
def test_a_download_that_was_accepted_opens_one(accept: bool, tmp_path: Path) -> None:  # noqa: FBT001  # a test's case
    log = tmp_path / "strace.log"
    program = (
        "import sys\nfrom functools import partial\nfrom peclr.__main__ import main\n"
        "from peclr.weights import command, fetching\nfrom tests.weights.server import described\n"
        "command.catalog = lambda: {'net': described(url='http://192.0.2.1:9/net.pth')}\n"
        "command.get = partial(command.get, patience=fetching.Patience(timeout=0.2, tries=1))\n"
        "sys.exit(main(['weights', 'get', 'net', *sys.argv[1:]]))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [*STRACE, str(log), sys.executable, "-c", program, *["--accept"] * accept],
        cwd=Path(__file__).parents[1],
        env={**environment, "PECLR_CACHE": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 1 + accept
    assert bool(connections(log)) == accept


def test_a_connection_would_be_seen(tmp_path: Path) -> None:
    log = tmp_path / "strace.log"
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    subprocess.run([*STRACE, str(log), sys.executable, "-c", code], check=False)
    assert len(connections(log)) == 1
