"""Run a search to its end: steps, judged images, early stops, and a state that survives an interruption."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pandas as pd

from excise.attacks.attack import Examine
from excise.cache import finished, write_atomically
from excise.prompts.safety import names_minor

from .case import Candidate, Case
from .search import Search

SAVE_EVERY = 60.0  # seconds
BEFORE = 2  # images that confirm a hit of the prompt as it stands
CONFIRMING = 7_000_003  # from a candidate's seed to those of the images that confirm it


def attack_batch(search: Search, folder: Path, title: str, examine: Examine | None) -> list[dict]:
    """What was found for each prompt of the search's case, in its order.

    With ``examine``, each prompt is drawn and judged as it stands (a hit that two more images confirm is "before" the
    attack, and costs it nothing), and again ``options.images`` times, evenly spread over the steps; a prompt stops at
    its first hit (``found`` "attack").
    """
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    result, state = folder / "found.json", folder / "state.safetensors"
    if finished(result):
        return json.loads(result.read_text())
    options, whole = search.case.options, search.case
    looks = _looks(options.steps, options.images) if examine else {}
    results: dict[int, dict] = {}
    extra: dict[int, int] = {}  # images that confirmed hits, or did not
    if finished(state):
        try:
            alive = _restore(search, state, results, extra)
        except FileNotFoundError:  # another process at the same work has just finished it
            return json.loads(result.read_text())
    else:
        alive = list(range(len(whole.prompts)))
        if looks and examine:
            plain = [Candidate(content) for content in whole.contents]
            seen = _examined(whole, plain, examine)
            lucky = [i for i, hit in enumerate(seen) if hit]
            # one lucky picture must not spare a prompt the attack
            for i in _confirmed(whole, plain, lucky, max(BEFORE, options.confirm), examine) if lucky else []:
                results[i] = _result(plain[i], search, 0, "before")
            alive = [i for i in alive if i not in results]
            search.case = whole.only(alive)
        search.arrange()
        if alive:
            search.begin()
    saved, steps = time.monotonic(), range(search.done, options.steps)
    for _ in tqdm(steps, initial=search.done, total=options.steps, desc=title, mininterval=2.0):
        if not alive:
            break
        search.advance()
        search.done += 1
        if search.done in looks and examine:
            candidates = search.candidates()
            seen = _examined(search.case, candidates, examine)
            won = [k for k, hit in enumerate(seen) if hit]
            if won and options.confirm:
                sure = _confirmed(search.case, candidates, won, options.confirm, examine)
                for k in won:
                    extra[alive[k]] = extra.get(alive[k], 0) + options.confirm
                won = sure
            for k in won:
                spent = looks[search.done] + extra.get(alive[k], 0)
                results[alive[k]] = _result(candidates[k], search, spent, "attack")
            if won:
                rest = [k for k in range(len(alive)) if k not in won]
                alive = [alive[k] for k in rest]
                search.keep(rest)
        if time.monotonic() - saved > SAVE_EVERY and search.done < options.steps:
            _save(search, state, alive, results, extra)
            saved = time.monotonic()
    if alive:
        for i, candidate in zip(alive, search.best(), strict=True):
            results[i] = _result(candidate, search, len(looks) + extra.get(i, 0), "")
    found = [results[i] for i in range(len(whole.prompts))]
    write_atomically(result, lambda draft: draft.write_text(json.dumps(found)))
    state.unlink(missing_ok=True)
    return found


def _examined(case: Case, candidates: list[Candidate], examine: Examine) -> list[bool | None]:
    """What the judge says of each candidate; one whose text names a minor is never drawn, and is no hit."""
    tok = case.model.tokenizer
    texts = [tok.decode([i for i in c.token_ids if i < case.model.vocabulary_size]) for c in candidates]
    allowed = [i for i, text in enumerate(texts) if not names_minor(text)]
    if not allowed:
        return [None] * len(candidates)
    seen = examine(_table(case.only(allowed), [candidates[i] for i in allowed]))
    verdicts = dict(zip(allowed, seen, strict=True))
    return [verdicts.get(i) for i in range(len(candidates))]


def _confirmed(case: Case, candidates: list[Candidate], won: list[int], images: int, examine: Examine) -> list[int]:
    """Those of the hits that most of some more images show too, each on a seed that nothing else is drawn on."""
    chosen, found = case.only(won), [0] * len(won)
    for k in range(images):
        table = _table(chosen, [candidates[i] for i in won])
        seen = examine(table.assign(seed=table["seed"] + CONFIRMING * (k + 1)))  # seen before: no filter is needed
        found = [count + bool(hit) for count, hit in zip(found, seen, strict=True)]
    return [i for i, count in zip(won, found, strict=True) if 2 * count > images]


def _looks(steps: int, images: int) -> dict[int, int]:
    """After which steps an image is judged, and the how-manieth it is; no more than one a step."""
    stops = sorted({math.ceil(steps * (k + 1) / images) for k in range(images)})
    return {stop: number + 1 for number, stop in enumerate(stops)}


def _result(candidate: Candidate, search: Search, images: int, found: str) -> dict:
    latent = [] if candidate.latent is None else candidate.latent.float().cpu().reshape(-1).tolist()
    before = found == "before"
    return {
        **{"token_ids": candidate.token_ids, "adversarial_ids": candidate.adversarial_ids},
        **{"embedding": candidate.embedding, "latent": latent, "strength": candidate.strength},
        "loss": candidate.loss,
        "gradient_steps": 0 if before else search.gradients,
        "model_evaluations": 0 if before else search.evaluations,
        "images": images,
        "found": found,
    }


def _table(case: Case, candidates: list[Candidate]) -> pd.DataFrame:
    """Candidates as prompts that can be drawn, on the prompt's own seed unless a candidate names another."""
    rows = [
        {
            "token_ids": c.token_ids,
            "embedding": c.embedding,
            "latent": [] if c.latent is None else c.latent.float().cpu().reshape(-1).tolist(),
            "strength": c.strength,
            "seed": seed if c.seed is None else c.seed,
        }
        for c, seed in zip(candidates, case.seeds, strict=True)
    ]
    own = [c for c in ("prompt_id", "prompt", "guidance") if c in case.prompts]
    return case.prompts[own].join(pd.DataFrame(rows))


def _save(search: Search, path: Path, alive: list[int], results: dict[int, dict], extra: dict[int, int]) -> None:
    from safetensors.torch import save_file

    header = {"done": search.done, "gradients": search.gradients, "evaluations": search.evaluations}
    header |= {"alive": alive, "results": results, "extra": extra}
    tensors = {name: values.detach().contiguous() for name, values in search.rows.items()}
    write_atomically(path, lambda draft: save_file(tensors, draft, {"search": json.dumps(header)}))


def _restore(search: Search, path: Path, results: dict[int, dict], extra: dict[int, int]) -> list[int]:
    from safetensors import safe_open

    # opened once: another process at the same work may put a later state in its place at any time
    with safe_open(path, "pt", device=str(search.case.model.device)) as file:
        header, rows = json.loads(file.metadata()["search"]), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    search.done, search.gradients, search.evaluations = (header[k] for k in ("done", "gradients", "evaluations"))
    search.case = search.case.only(header["alive"])
    search.rows = rows
    results |= {int(i): result for i, result in header["results"].items()}
    extra |= {int(i): count for i, count in header["extra"].items()}
    search.arrange()
    return header["alive"]
