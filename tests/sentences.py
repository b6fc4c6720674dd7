"""Comparing sentences."""


def says(expected: str, said: str) -> bool:
    """Whether a sentence is the expected one; ``…`` stands for anything."""
    parts, place = expected.split("…"), 0
    if not said.startswith(parts[0]) or not said.endswith(parts[-1]):
        return False
    for part in parts:
        found = said.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return True
