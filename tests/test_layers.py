"""Imports point down only: geometry ← data · losses · metrics · models ← checkpoints ← training ← … ← cli."""

import ast
from pathlib import Path

import pytest

import peclr

PACKAGE = Path(peclr.__file__).parent
LAYERS = {
    "geometry": 0,
    "data": 1,
    "losses": 1,
    "metrics": 1,
    "models": 1,
    "checkpoints": 2,
    "training": 3,
    "evaluate": 4,
    "export": 4,
    "mining": 4,
    "predict": 4,
    "report": 4,
    "tracking": 4,
    "sweeps": 4,
    "cli": 5,
    "__main__": 6,
}
# samples.py declares the data contracts: types without code, which every layer may name
CONTRACTS = "peclr.data.samples"


def imported_modules(source: str) -> set[str]:
    """Absolute names of all peclr modules that a source file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            assert node.module is not None
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "peclr"}


def unit_of(module: str) -> str | None:
    """The layer's unit that a dotted module name belongs to; None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else None


def violations(importer: str, source: str) -> list[str]:
    """Imports of `source`, a file of unit `importer`, that do not point down."""
    found = []
    for module in sorted(imported_modules(source)):
        unit = unit_of(module)
        if unit is None or unit == importer or module.startswith(CONTRACTS):
            continue
        if LAYERS[unit] >= LAYERS[importer] and not (LAYERS[unit] == LAYERS[importer] == 4):
            found.append(f"{importer} imports {module}")
    return found


SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    unit = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert unit in LAYERS, f"{unit} has no layer: add it to DESIGN and here"
    assert violations(unit, path.read_text()) == []


def test_the_rule_catches_an_upward_and_a_sideways_import() -> None:
    assert violations("geometry", "from peclr.data.views import warp") != []
    assert violations("losses", "import peclr.models.heads") != []
    assert violations("training", "def f():\n    from peclr import cli") != []
    assert violations("training", "from peclr.losses.nt_xent import nt_xent_loss") == []


def test_albumentations_stands_behind_one_module() -> None:
    importers = [path.name for path in PACKAGE.rglob("*.py") if "import albumentations" in path.read_text()]
    assert importers == ["photometric.py"]
