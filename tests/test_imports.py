"""Imports point one way, and what needs no torch does not load it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lavae_core

PACKAGE = Path(lavae_core.__file__).parent

# A module may import modules of the lines above its own only, and every module has its line.
LAYERS = [
    "errors paths seeding progress paper datasets",
    "profiles claims explanation sources",
    "latent_maps augmentations data",
    "models losses runtime plotting",
    "tasks",
    "training artifacts",
    "experiments",
    "evaluation principal projections provenance",
    "study transforms separability",
    "heatmap measurements",
    "companion",
]
LAYER = {name: place for place, line in enumerate(LAYERS) for name in line.split()}
FILES = sorted(PACKAGE.glob("*.py")) + sorted((PACKAGE / "companion").glob("*.py"))
FILES = [path for path in FILES if path != PACKAGE / "__init__.py"]


def module_of(path: Path) -> str:
    return path.parent.name if path.parent != PACKAGE else path.stem


def imported(source: str) -> set[str]:
    """Modules of lavae_core that `source` imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= set(names) if node.module == "lavae_core" else {node.module}
    return {name.split(".")[1] for name in found if name.startswith("lavae_core.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    module = module_of(path)
    assert module in LAYER, f"give {module} its line in LAYERS"
    for name in imported(path.read_text(encoding="utf-8")) - {module}:
        assert LAYER[name] < LAYER[module], f"{module} must not import {name}"


def test_every_line_is_of_modules_that_are_there():
    assert set(LAYER) == {module_of(path) for path in FILES}


def test_the_check_sees_every_kind_of_import():
    source = """
import lavae_core.models
from lavae_core import data, losses as l
from lavae_core.companion.cli import main
def later():
    from lavae_core.study import Study
import torch, lavae_corex.no
"""
    assert imported(source) == {"models", "data", "losses", "companion", "study"}


def test_what_runs_before_the_environment_is_whole_loads_no_torch():
    modules = "lavae_core, lavae_core.errors, lavae_core.paths, lavae_core.profiles"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent).returncode == 0
