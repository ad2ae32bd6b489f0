"""What a GPU machine without network lacks: `python -m tests.gpu.carry pack` here, copy the repository with `.gpu`,
`python3 -m tests.gpu.carry run` there. `dry` does both in a fresh environment without network, on the CPU.

The machine is taken to have what images for PyTorch have, see HAVE. `run` needs nothing but that.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / ".gpu"
WHEELS, HANDS = FOLDER / "wheels", FOLDER / "hands.tar"
SITE, ENV = (ROOT / "build" / name for name in ("gpu-site", "gpu-env"))  # which are not carried
HAVE: Final = (
    *("torch", "torchvision", "pytorch-lightning", "torchmetrics", "scipy", "matplotlib", "opencv-python-headless"),
    *("onnx", "onnxruntime", "onnxscript", "safetensors", "pytest", "hypothesis"),
)
# beside what the package needs; lightly's own needs but for these are not imported by its loss and heads
EXTRAS: Final = ("lightly==1.6.0", "lightly-utils==0.0.2")
MOST_MB: Final = 60
PYTHON: Final = "3.12"
PLATFORMS: Final = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def closure(roots: Iterable[str]) -> set[str]:
    """Names of distributions and of all that they need, as installed here."""
    from packaging.requirements import Requirement

    found, todo = set[str](), [Requirement(root) for root in roots]
    while todo:
        asked = todo.pop()
        name = normal(asked.name)
        for text in metadata.requires(asked.name) or () if name not in found or asked.extras else ():
            needed, extras = Requirement(text), asked.extras or {""}
            known = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.0"}
            if needed.marker is None or any(needed.marker.evaluate({**known, "extra": extra}) for extra in extras):
                todo.append(needed)
        found.add(name)
    return found


def normal(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lacking() -> list[str]:
    """Requirements, in versions of constraints.txt, that the machine does not have."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {normal(line.partition("==")[0]): line for line in lines if "==" in line}
    names = closure(["peclr[export]", "pytest", "hypothesis"]) - closure(HAVE) - {"peclr"}
    return [*(pins[name] for name in sorted(names)), *EXTRAS]


def pack() -> None:
    """Download wheels and pack rendered hands into `.gpu`; ValueError if it would be too much to carry."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    chosen = ["--only-binary=:all:", "--no-deps", f"--python-version={PYTHON}", "--implementation=cp"]
    chosen += [f"--platform={platform}" for platform in PLATFORMS]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", f"--dest={WHEELS}"]
    subprocess.run([*pip, *chosen, *lacking()], check=True)
    if (size := sum(path.stat().st_size for path in WHEELS.iterdir()) / 1e6) > MOST_MB:
        raise ValueError(f"{WHEELS} has {size:.0f} MB, expected at most {MOST_MB}")
    from tests.gpu.science import hands_for

    os.chdir(ROOT)
    hands = hands_for(dry=False)
    with tarfile.open(HANDS, "w") as archive:
        archive.add(hands, hands.name)
    print(f"{FOLDER}: {size:.0f} MB of wheels, {HANDS.stat().st_size / 1e6:.0f} MB of hands")


def run(options: Sequence[str]) -> int:
    """Install the wheels beside what the machine has, and run `python -m tests.gpu`."""
    wheels = sorted(map(str, WHEELS.glob("*.whl")))
    if not wheels:
        raise FileNotFoundError(f"{WHEELS} has no wheels: `python -m tests.gpu.carry pack` where there is a network")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--upgrade", f"--target={SITE}", *wheels], check=True)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{SITE}"}
    return subprocess.run(
        [sys.executable, "-m", "tests.gpu", *options], env=environment, cwd=ROOT, check=False
    ).returncode


def dry(python: str, options: Sequence[str]) -> int:
    """Do `run --dry` without network, in an environment of some Python that has what the machine has."""
    inside = ENV / "bin" / "python"
    if not inside.exists():
        subprocess.run([python, "-m", "venv", ENV], check=True)
    install = ["-m", "pip", "install", "--quiet", f"--constraint={ROOT / 'constraints.txt'}", *HAVE]
    subprocess.run([inside, *install], check=True)
    shutil.rmtree(SITE, ignore_errors=True)
    command = [str(inside), "-m", "tests.gpu.carry", "run", "--dry", *options]
    cut = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*cut, "true"], capture_output=True, check=False).returncode:
        print("carry: the network cannot be cut here; pip alone is kept from it", file=sys.stderr)
        cut = []
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    environment.pop("PYTHONPATH", None)
    return subprocess.run([*cut, *command], env=environment, cwd=ROOT, check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """Pack, run or do both dry."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.carry", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["pack", "run", "dry"])
    parser.add_argument("--python", default=f"python{PYTHON}", help="for dry (default: %(default)s)")
    given, options = parser.parse_known_args(arguments)
    if given.what == "pack":
        pack()
        return 0
    return run(options) if given.what == "run" else dry(given.python, options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
