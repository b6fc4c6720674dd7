"""Changes of code that change no bit of any result that was measured: for keys the new code counts as the old one.

A key of cached work or of a committed row holds a fingerprint of the code that decides it, and any other change of that
code makes the work stale. Here stands what is known to compute the same, bit for bit: the code as it reads now, and as
it read when the rows were made. A test holds each pair to it. An entry goes when the rows that it keeps have been made
anew.

``EQUAL`` changes no bit anywhere, and is only faster. ``EQUAL_FROM_SIX`` changes none in training with six rows a step
or more, as all committed rows have. With fewer the old code was wrong (of one row a step none was ever adversarial, of
fewer than six none was ever on the empty prompt) and the bits differ: there, cached work of the old code is not taken
over (``learns_from_few``). Keys that do not know of how many rows a step they are keep it: those of a study's rows,
and the records of nodes that ``kedro stale`` compares. Whoever made such rows outside this repository, or keeps
erasers so trained, has to make them again by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Pairs = tuple[tuple[str, str], ...]

EQUAL: Pairs = (
    (  # excise.models.diffusion: the type is looked up once, and not for every weight
        """            dtype = self.dtype
            given = {name: value.to(dtype) for name, value in replaced.items()}
""",
        """            given = {name: value.to(self.dtype) for name, value in replaced.items()}
""",
    ),
)

EQUAL_FROM_SIX: Pairs = (
    (  # excise.erasers.finetune: a batch of one takes adversarial prompts at every other step, and not never
        """            turn = step if batch == 1 else 0
            attacked = ((torch.arange(batch) + turn) % 2 == 1).view(-1, 1, 1).to(states.device)
""",
        """            attacked = (torch.arange(batch) % 2 == 1).view(-1, 1, 1).to(states.device)
""",
    ),
    (  # excise.erasers.method: of fewer rows than six one in six is on the empty prompt, and not none
        """        turn = generator.initial_seed() * count % 6 if count < 6 else 0
        empty = ((torch.arange(count) + turn) % 6 == 5).view(-1, 1, 1).to(bank.states.device)
""",
        """        empty = (torch.arange(count) % 6 == 5).view(-1, 1, 1).to(bank.states.device)
""",
    ),
)


def as_before(source: str, few: bool = False) -> str:
    """A source with these changes taken back.

    Args:
        few: for work that learns from fewer than six rows a step.
    """
    for now, before in EQUAL if few else (*EQUAL, *EQUAL_FROM_SIX):
        source = source.replace(now, before)
    return source


def learns_from_few(inputs: Mapping[str, Any]) -> bool:
    """Whether cached work of these inputs trains an eraser with fewer than six rows a step."""
    options = inputs.get("options")
    return type(options).__name__ == "EraserOptions" and options.batch < 6
