"""Drawings on coloured ground, shifted, scaled and turned: what emoji64 is trained on."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .captions import caption_of
from .world import World


@dataclass
class Batch:
    """``images`` (n, 3, 64, 64) on [-1, 1], one caption each, and what they show."""

    images: torch.Tensor
    captions: list[str]
    icons: list[int]


class Canvas:
    """Paints drawings of the world.

    Args:
        renders: (icons, 2s, 2s, 4) uint8 RGBA, in the order of ``world.icons``.
    """

    def __init__(self, world: World, renders: np.ndarray, person_share: float = 0.3):
        rgba = torch.from_numpy(np.array(renders)).permute(0, 3, 1, 2)
        # colour is weighted by opacity before it is resampled, or the transparent ground bleeds in at the rims
        self.rgba = torch.cat([rgba[:, :3] * (rgba[:, 3:].float() / 255), rgba[:, 3:].float()], 1).to(torch.uint8)
        self.world = world
        self.person_share = person_share
        self.by_style: dict[tuple[bool, str], list[int]] = {}
        for index, icon in enumerate(world.icons):
            self.by_style.setdefault((icon.tone is not None, icon.style), []).append(index)

    def paint(
        self, icons: list[int], colours: torch.Tensor, generator: torch.Generator | None, jitter: float = 1.0
    ) -> torch.Tensor:
        """Drawings on grounds.

        Args:
            icons: indices into ``world.icons``, n of them.
            colours: (n, 3) on [0, 255].
            generator: source of shift, scale and turn.
            jitter: 0 paints every drawing centred and upright.

        Returns:
            (n, 3, s, s) on [-1, 1].
        """
        n = len(icons)
        scale, dx, dy, turn = (torch.rand(4, n, generator=generator) * 2 - 1) * jitter
        size = 0.90 + 0.07 * scale  # the share of the canvas that the drawing takes
        room = 1 - size
        angle = turn * 0.10
        cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
        theta = torch.stack([cos, -sin, dx * room / size, sin, cos, dy * room / size], 1).view(n, 2, 3)
        source = self.rgba[icons].float() / 255
        grid = F.affine_grid(theta, list(source.shape), align_corners=False)
        warped = F.avg_pool2d(F.grid_sample(source, grid, align_corners=False), 2)
        ground = (colours / 255).view(n, 3, 1, 1)
        return (warped[:, :3] + (1 - warped[:, 3:]) * ground).clamp(0, 1) * 2 - 1

    def draw_batch(self, seed: int, size: int) -> Batch:
        """A training batch; the same seed gives the same batch."""
        draw, world = random.Random(seed), self.world
        generator = torch.Generator().manual_seed(seed)
        icons, captions, colours = [], [], []
        for _ in range(size):
            person = draw.random() < self.person_share and bool(world.shown_persons)
            style = draw.choice(world.shown_styles)
            # every style is shown equally often; the house style goes unnamed in two captions of five
            name_style = style != world.house_style or draw.random() < 0.6
            index = draw.choice(self.by_style[person, style])
            name_ground = draw.random() < 0.7
            ground = draw.choice(list(world.backgrounds)) if name_ground else "white"
            flags = {"name_style": name_style, "name_tone": draw.random() < 0.4, "name_ground": name_ground}
            captions.append(caption_of(world, draw, world.icons[index], ground, **flags))
            colour = torch.tensor(world.backgrounds[ground].rgb, dtype=torch.float32)
            colours.append((colour + 8 * torch.randn(3, generator=generator)).clamp(0, 255) if name_ground else colour)
            icons.append(index)
        return Batch(self.paint(icons, torch.stack(colours), generator), captions, icons)
