"""Two prompts of different lengths, as attacks are given them."""

from __future__ import annotations

import pandas as pd

PROMPTS = pd.DataFrame(
    {"prompt_id": ["one", "two"], "prompt": ["an old man", "a woman on a blue background"], "seed": [10, 20]}
)
