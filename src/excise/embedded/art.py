"""Emoji art from the vendors' packages: fetched with npm, checked by hash, rendered to RGBA."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np

from .world import Style, World


def fetch_archive(style: Style, folder: Path) -> Path:
    """Get a vendor's archive into ``folder`` with ``npm pack``, unless it is there, and check its hash.

    Raises:
        RuntimeError: npm is missing or fails, or the archive is not the one whose hash is pinned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{style.package.lstrip('@').replace('/', '-')}-{style.version}.tgz"
    path = folder / name
    if not path.exists():
        if shutil.which("npm") is None:
            raise RuntimeError("npm is missing: install Node.js, or put " + name + f" into {folder}")
        command = ["npm", "pack", "--silent", f"{style.package}@{style.version}", "--pack-destination", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not path.exists():
            raise RuntimeError(f"npm could not fetch {style.package} {style.version}: {done.stderr.strip()[-300:]}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != style.sha256:
        raise RuntimeError(
            f"{path.name} has sha256 {digest[:12]}…, expected {style.sha256[:12]}…: delete it and try again"
        )
    return path


def read_icons(archive: Path) -> dict:
    """The ``icons.json`` of an iconify archive."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("package/icons.json")
        assert member is not None
        return json.load(io.TextIOWrapper(member, "utf-8"))


def render_icon(icons: dict, name: str, size: int) -> np.ndarray:
    """One icon as RGBA, ``(size, size, 4)`` uint8, on transparent ground."""
    import resvg_py
    from PIL import Image

    if name not in icons["icons"]:
        name = icons.get("aliases", {})[name]["parent"]
    icon = icons["icons"][name]
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    left, top = icon.get("left", 0), icon.get("top", 0)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{size}" height="{size}" viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'
    )
    image = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg))))
    return np.asarray(image.convert("RGBA"))


def render_world(world: World, archives: dict[str, Path], size: int = 128) -> np.ndarray:
    """All drawings of the world, ``(icons, size, size, 4)`` uint8, in the order of ``world.icons``."""
    from tqdm import tqdm

    books = {style: read_icons(archives[style]) for style in world.shown_styles}
    return np.stack([render_icon(books[i.style], i.file, size) for i in tqdm(world.icons, desc="rendering the art")])
