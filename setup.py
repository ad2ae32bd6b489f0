"""Packs the configs of experiments/, their one home, into the wheel as peclr/configs; all else is in pyproject.toml."""

from pathlib import Path
from shutil import copyfile

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies the configs beside the modules; an editable install reads them where they are."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if self.editable_mode:
            return
        for config in Path("experiments").rglob("*.yaml"):
            target = Path(self.build_lib, "peclr", "configs", config.relative_to("experiments"))
            target.parent.mkdir(parents=True, exist_ok=True)
            copyfile(config, target)


setup(cmdclass={"build_py": BuildWithConfigs})
