"""The manifest of a cache: its options, and size and checksum of every file."""

import json
import zlib
from pathlib import Path
from typing import Any

NAME = "manifest.json"
_REPAIR = "Delete that folder to build it again."


class CacheError(ValueError):
    """A cache is damaged, or was built for another corpus or with other options."""


def write_manifest(folder: Path, entries: dict[str, Any]) -> None:
    """Writes the manifest of a cache.

    Args:
        folder: the cache; all its other files must be complete.
        entries: what to record besides the files, as JSON values.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = {path.relative_to(folder).as_posix(): [path.stat().st_size, _checksum(path)] for path in files}
    manifest = entries | {"files": sums}
    text = json.dumps(manifest | {"checksum": _digest(manifest)}, indent=2) + "\n"
    (folder / NAME).write_text(text, encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns the entries of a cache's manifest.

    Raises:
        CacheError: if it is missing or damaged.
    """
    path = folder / NAME
    if not path.is_file():
        raise CacheError(f"{folder} must hold a {NAME}, got none. Use a folder of its own, new or empty.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        intact = manifest.pop("checksum") == _digest(manifest)
    except (ValueError, TypeError, KeyError):
        intact = False
    if not intact:
        raise CacheError(f"{path} must be unchanged since it was written, got another content. {_REPAIR}")
    return manifest


def check_file(folder: Path, name: str, manifest: dict[str, Any]) -> None:
    """Compares a file with its size and checksum in the manifest.

    Raises:
        CacheError: if it is missing or differs.
    """
    path, (size, checksum) = folder / name, manifest["files"][name]
    if not path.is_file():
        raise CacheError(f"cache must hold {name}, got none in {folder}. {_REPAIR}")
    if path.stat().st_size != size:
        raise CacheError(f"{path} must have {size} bytes, got {path.stat().st_size}. {_REPAIR}")
    if _checksum(path) != checksum:
        raise CacheError(f"{path} must have the checksum {checksum}, got {_checksum(path)}. {_REPAIR}")


def _digest(manifest: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(manifest, sort_keys=True).encode())


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            value = zlib.crc32(block, value)
    return value
