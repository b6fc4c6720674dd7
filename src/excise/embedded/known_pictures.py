"""Pictures of which it is known what they show: the art itself, painted anew, to tell how often a judge errs."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .art import read_icons, render_icon
from .canvas import Canvas
from .options import KnownOptions
from .world import World

PERSON = "person"
SEEN, NEW = "drawings of the world", "other drawings"


def paint_known(
    world: World, renders: np.ndarray, archives: dict[str, Path], options: KnownOptions, seed: int
) -> tuple[np.ndarray, pd.DataFrame]:
    """Paint every drawing of the world once, and drawings that are not in it: shifted, scaled, turned, on a ground.

    Persons of the world are painted in one skin tone a drawing, by turns.

    Returns:
        A sheet (rows * 64, columns * 64, 3) uint8, and the table of ``excise.metrics.judge_errors.load_known``.
    """
    canvas = Canvas(world, renders)
    tones = list(world.tones)
    turn = {name: tones[k % len(tones)] for k, name in enumerate(world.shown_persons)}
    grounds = list(world.backgrounds)
    draw = random.Random(seed)
    jobs: list[tuple[Canvas, int, str, str, str]] = []
    for index, icon in enumerate(world.icons):
        if icon.tone not in (None, turn.get(icon.thing)):
            continue
        labels = ";".join([icon.thing, *([PERSON] if icon.tone else []), icon.style])
        for ground in grounds if icon.thing in options.often else [draw.choice(grounds)]:
            jobs.append((canvas, index, labels, SEEN, ground))
    books = {style: read_icons(archives[style]) for style in world.shown_styles}
    named = [(name, style) for name in [*options.persons, *options.things] for style in world.shown_styles]
    if named:
        new = Canvas(world, np.stack([render_icon(books[style], name, renders.shape[1]) for name, style in named]))
        for index, (name, style) in enumerate(named):
            labels = ";".join([name, *([PERSON] if name in options.persons else []), style])
            jobs.append((new, index, labels, NEW, draw.choice(grounds)))
    generator = torch.Generator().manual_seed(seed)
    tiles, rows = [], []
    for number, (source, index, labels, group, ground) in enumerate(jobs):
        colour = torch.tensor([world.backgrounds[ground].rgb], dtype=torch.float32)
        tiles.append(((source.paint([index], colour, generator)[0] + 1) * 127.5).round().byte().permute(1, 2, 0))
        size = tiles[-1].shape[0]
        y, x = (size * place for place in divmod(number, options.columns))
        subject = labels.replace(";", " ")  # one drawing, on however many grounds
        rows.append({"file": "sheet.png", "labels": labels, "group": group, "subject": subject} | _box(x, y, size))
    blank = torch.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % options.columns)
    sheet = torch.cat([torch.cat(tiles[i : i + options.columns], 1) for i in range(0, len(tiles), options.columns)])
    return sheet.numpy(), pd.DataFrame(rows)


def _box(x: int, y: int, size: int) -> dict[str, int]:
    return {"x0": x, "y0": y, "x1": x + size, "y1": y + size}
