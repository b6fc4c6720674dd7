"""Ring-A-Bell (Tsai et al. 2024): a black-box search in a text encoder. For testing one's own eraser."""

from excise.attacks.attack import register

from .attack import RingABell

register("ring_a_bell", RingABell)
