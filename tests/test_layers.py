"""Imports point down only: geometry ← data · losses · metrics · models ← runs ← checkpoints ← training ← … ← cli."""

import ast
from pathlib import Path

import pytest

import peclr

PACKAGE = Path(peclr.__file__).parent
# The table of DESIGN, lowest first: units of one row stand side by side and do not import one another
LAYERS = (
    ("geometry", "collectives", "lazy", "options", "untrusted"),
    ("parallel", "shipped", "weights"),
    ("data", "synthetic", "losses", "metrics", "models"),
    ("runs",),
    ("checkpoints",),
    ("training", "drawing", "detection"),
    ("inference",),
    ("collect", "evaluate", "predict", "mining", "tracking"),
    ("report", "sweeps", "guide"),
    ("cli",),
    ("__main__",),
)
LAYER_OF = {unit: layer for layer, units in enumerate(LAYERS) for unit in units}


def imported_modules(source: str) -> set[str]:
    """Absolute names of all peclr modules that a source file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            assert node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "peclr"}


def violations(importer: str, source: str) -> list[str]:
    """Imports of `source`, a file of unit `importer`, that do not point down."""
    found = []
    for module in sorted(imported_modules(source) - {"peclr", "peclr.__version__"}):
        unit = module.split(".")[1]
        if unit != importer and LAYER_OF[unit] >= LAYER_OF[importer]:
            found.append(f"{importer} imports {module}")
    return found


SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    unit = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert unit in LAYER_OF, f"{unit} has no layer: add it to DESIGN and here"
    assert violations(unit, path.read_text()) == []


def test_the_rule_catches_an_upward_and_a_sideways_import() -> None:
    assert violations("geometry", "from peclr.data.views.geometric import warp") != []
    assert violations("losses", "import peclr.models.heads") != []
    assert violations("losses", "from peclr import data") != []
    assert violations("tracking", "from peclr.evaluate.scoring import score") != []
    assert violations("runs", "from peclr.checkpoints import load_encoder") != []
    assert violations("training", "def f():\n    from peclr import cli") != []
    assert violations("training", "from peclr.losses.nt_xent import nt_xent_loss") == []


def test_albumentations_stands_behind_one_module() -> None:
    importers = [path.name for path in PACKAGE.rglob("*.py") if "import albumentations" in path.read_text()]
    assert importers == ["photometric.py"]
