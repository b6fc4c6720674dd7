"""What gradient attacks move with, against other computations."""

from __future__ import annotations

import pandas as pd
import torch

from excise.attacks import AttackOptions, make_attack
from excise.attacks.search import Case, Knowledge
from excise.attacks.search.adam import adam_step, moments


def test_adam_on_rows_is_torch_s():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    rows, free = {"x": start.clone(), **moments(start, "x")}, torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([free], lr=0.1, weight_decay=0.3)
    for step in range(1, 8):
        gradient = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        adam_step(rows, "x", gradient, step, 0.1, 0.3)
        free.grad = gradient.clone()
        optimizer.step()
        torch.testing.assert_close(rows["x"], free.detach())


def test_vectors_are_projected_to_the_token_with_the_largest_cosine(tiny_model):
    prompts = pd.DataFrame({"prompt_id": ["one"], "prompt": ["a man"], "seed": [1]})
    contents = tiny_model.tokenizer(["a man"], add_special_tokens=False).input_ids
    options = AttackOptions(method="pez", steps=1)
    case = Case(tiny_model, prompts, contents, tiny_model.initial_noise([1]), options, Knowledge())
    search = make_attack(options).start(case)
    vectors = torch.randn(1, 3, search.table.shape[1], generator=torch.Generator().manual_seed(0))
    for vector, place in zip(vectors[0], search.nearest(vectors)[0].tolist(), strict=True):
        cosines = [float(torch.cosine_similarity(vector, row, dim=0)) for row in search.table]
        assert cosines[place] == max(cosines)
