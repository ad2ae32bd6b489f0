"""What Python offers: short names that cost nothing until they are used, README's snippets, and the notebook."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
PACKAGES = ("peclr", "peclr.data", "peclr.predict", "peclr.checkpoints")
GIGABYTE = 2**30
REPORT = """
import json, resource, sys
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps(peak))
"""


def in_python(code: str, folder: Path) -> str:
    """What Python prints that runs code in a folder; warnings are errors."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_is_there_and_of_its_own_module(package: str) -> None:
    module = import_module(package)
    assert dir(module) == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Nothing'"):
        _ = module.Nothing


def test_importing_is_light(tmp_path: Path) -> None:
    code = f"import sys, {', '.join(PACKAGES)}; print([m for m in ('torch', 'numpy', 'cv2') if m in sys.modules])"
    assert in_python(code, tmp_path) == "[]\n"


@pytest.fixture
def home(rendered_hands: Path, make_image: Callable[..., NDArray[np.uint8]], tmp_path: Path) -> Path:
    """A folder in which the README's paths are there, with hands enough for a batch: the rendered ones, twice."""
    images = tmp_path / "data" / "freihand" / "training" / "rgb"
    images.mkdir(parents=True)
    for number in range(96):
        version, hand = divmod(number, 48)
        image = rendered_hands / "training" / "rgb" / f"{24 * version + hand % 24:08d}.jpg"
        (images / f"{number:08d}.jpg").symlink_to(image)
    for name in ("K", "scale", "xyz"):
        labels = json.loads((rendered_hands / f"training_{name}.json").read_text())
        (images.parents[1] / f"training_{name}.json").write_text(json.dumps(2 * labels))
    cv2.imwrite(str(tmp_path / "photo.jpg"), make_image())
    return tmp_path


def test_the_snippets_of_the_readme_run_in_two_gigabytes_without_a_warning(home: Path) -> None:
    """In one process, as most of the time goes into importing torch; none sees the names of another."""
    assert len(SNIPPETS) >= 2
    code = f"for snippet in {SNIPPETS!r}:\n    exec(compile(snippet, snippet.splitlines()[0], 'exec'), {{}})\n"
    peak = json.loads(in_python(code + REPORT, home).splitlines()[-1])
    assert peak < 2 * GIGABYTE


def test_the_notebook_runs_from_rendering_to_predicting(tmp_path: Path) -> None:
    path = Path(__file__).parents[1] / "experiments" / "quickstart.ipynb"
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells), "strip the outputs"
    code = "\n".join("".join(cell["source"]) for cell in cells)
    for name, fewer in (("HANDS", 40), ("STEPS", 2)):
        code, count = re.subn(rf"^{name} = \d+", f"{name} = {fewer}", code, flags=re.MULTILINE)
        assert count == 1
    code += "\nimport json\nprint(json.dumps([one.to_dict() for one in hands]), hands[0].draw().size)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    documents, _, size = done.stdout.splitlines()[-1].rpartition(" (")
    assert size == "512, 512)"
    assert [len(document["hands"]) for document in json.loads(documents)] == [1] * 8
