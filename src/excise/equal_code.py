"""Changes of code that change no bit of any result: for keys the new code counts as the old one.

A key of cached work or of a committed row holds a fingerprint of the code that decides it, and any other change of that
code makes the work stale. Here stands what is known to compute the same, bit for bit, and only faster: the code as it
reads now, and as it read when the rows were made. A test holds each pair to it. An entry goes when the rows that it
keeps have been made anew.
"""

from __future__ import annotations

EQUAL: tuple[tuple[str, str], ...] = (
    (  # excise.models.diffusion: the type is looked up once, and not for every weight
        """            dtype = self.dtype
            given = {name: value.to(dtype) for name, value in replaced.items()}
""",
        """            given = {name: value.to(self.dtype) for name, value in replaced.items()}
""",
    ),
)


def as_before(source: str) -> str:
    """A source with these changes taken back."""
    for now, before in EQUAL:
        source = source.replace(now, before)
    return source
