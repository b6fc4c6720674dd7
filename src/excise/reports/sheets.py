"""Contact sheets: the same prompts in every column, one row a model and attack."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .masking import for_people

CELL, GAP, FRAME, TITLE, LINE = 128, 14, 5, 176, 17
PAPER, INK, FAINT, EDGE, SEEN = "#ffffff", "#1c1c22", "#74747f", "#dcdce3", "#d3232e"
LETTERS = 19  # a caption's line, in letters of a column's width


def pixelate(image: np.ndarray, blocks: int = 8) -> np.ndarray:
    """Leave ``blocks`` x ``blocks`` flat squares of an image: mean colours, no detail.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        The same shape, at most ``blocks``² colours.
    """
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((blocks, blocks), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST))


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[np.ndarray | None]]],
    captions: Sequence[str],
    seen: Sequence[Sequence[bool | None]],
    *,
    concept: str = "the concept",
    unsafe: bool = False,
) -> Image.Image:
    """Draw the sheet.

    Args:
        rows: a title and the images (H, W, 3) uint8 RGB, one a caption; ``None`` where nothing was drawn.
        captions: the prompts, above the columns; explicit words in them are masked.
        seen: the judge's word on each image, shaped like ``rows``; ``None`` where it failed or was not asked.
        concept: what the red frames stand for, in words.
        unsafe: pixelate every image, and show no more of a prompt than its beginning.

    Raises:
        ValueError: when rows, captions and verdicts differ in length.
    """
    shown = [for_people(caption, unsafe) for caption in captions]
    wrapped = [textwrap.wrap(caption, LETTERS, max_lines=4, placeholder=" …") for caption in shown]
    head = GAP + LINE * max(map(len, wrapped), default=0) + GAP // 2
    foot = 3 * GAP + LINE
    size = TITLE + len(captions) * (CELL + GAP) + GAP, head + len(rows) * (CELL + GAP) + foot
    sheet = Image.new("RGB", (max(size[0], 620), size[1]), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, lines in enumerate(wrapped):
        top = head - GAP // 2 - LINE * len(lines)
        for line in lines:
            draw.text((_x(column), top), line, INK, _font(13))
            top += LINE
    for row, ((title, images), marks) in enumerate(zip(rows, seen, strict=True)):
        top = head + row * (CELL + GAP)
        _write_title(draw, title, top)
        for column, (_, image, mark) in enumerate(zip(captions, images, marks, strict=True)):
            _paste(sheet, draw, (_x(column), top), image, mark, unsafe)
    _write_legend(draw, (GAP, size[1] - foot + GAP), concept, unsafe)
    return sheet


def _x(column: int) -> int:
    return TITLE + column * (CELL + GAP)


def _write_title(draw: ImageDraw.ImageDraw, title: str, top: int) -> None:
    first, *others = [line for part in title.split("\n") for line in textwrap.wrap(part, 22)] or [""]
    y = top + (CELL - LINE * (1 + len(others))) // 2
    draw.text((GAP, y), first, INK, _font(16))
    for line in others:
        y += LINE + 2
        draw.text((GAP, y), line, FAINT, _font(13))


def _paste(sheet, draw, corner: tuple[int, int], image: np.ndarray | None, mark: bool | None, unsafe: bool) -> None:
    x, y = corner
    if image is None:
        draw.rectangle((x, y, x + CELL - 1, y + CELL - 1), outline=FAINT)
        draw.text((x + CELL // 2, y + CELL // 2), "not drawn", FAINT, _font(13), anchor="mm")
        return
    sheet.paste(_fit(pixelate(image) if unsafe else image), corner)
    draw.rectangle((x - 1, y - 1, x + CELL, y + CELL), outline=EDGE)
    if mark:
        box = (x - FRAME, y - FRAME, x + CELL + FRAME - 1, y + CELL + FRAME - 1)
        draw.rounded_rectangle(box, radius=4, outline=SEEN, width=FRAME)
    if mark is None:
        draw.rectangle((x, y + CELL - 20, x + CELL - 1, y + CELL - 1), fill=PAPER, outline=FAINT)
        draw.text((x + CELL // 2, y + CELL - 10), "not judged", INK, _font(12), anchor="mm")


def _fit(image: np.ndarray) -> Image.Image:
    """Small images are enlarged by a whole factor, so that pixels stay pixels; large ones shrink."""
    height, width = image.shape[:2]
    whole = height == width and CELL % width == 0
    return Image.fromarray(image).resize((CELL, CELL), getattr(Image.Resampling, "NEAREST" if whole else "LANCZOS"))


def _write_legend(draw: ImageDraw.ImageDraw, corner: tuple[int, int], concept: str, unsafe: bool) -> None:
    x, y = corner
    draw.rounded_rectangle((x, y, x + 22, y + 18), radius=3, outline=SEEN, width=4)
    note = " Images are pixelated and prompts cut on purpose." if unsafe else ""
    draw.text((x + 32, y + 9), f"The judge saw {concept} in this image.{note}", INK, _font(14), anchor="lm")


def _font(size: int):
    return ImageFont.load_default(size)
