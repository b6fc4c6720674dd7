"""Parameters that cannot be, and the sentence that each gets. ``…`` stands for anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sentences import says

JOB = "run --pipeline=erase_nsfw "
TYPED = {
    # values
    JOB + "--params=erase": "Invalid format of `params` option: Item `erase` must contain a key and a value …",
    JOB + "--params=nothing=1": "Nothing reads the parameter 'nothing': these are read: …",
    JOB + "--params=atacks.p4d.steps=1": "Nothing reads the parameter 'atacks': did you mean 'attacks'?",
    JOB
    + "--params=study.hours=2": "The parameter 'study' chooses nothing here: this pipeline has parameters of its own.",
    JOB + "--params=eraser=none": "'none' is no eraser: results are called so that were made without one. Name …",
    JOB + "--params=attack=plain": "'plain' is no attack: results are called so that were made without one. Name …",
    "run --pipeline=study_pruning --params=draw.steps=4": (
        "The parameter 'draw' chooses nothing here: this pipeline has parameters of its own."
    ),
    JOB + "--params=concept=%00": "A configuration file or a value of --params is not valid YAML: …",
    JOB + "--params=seed=lots": "The parameter 'seed' must be of the kind int.",
    JOB + "--params=seed=-1": "Parameter 'seed' cannot be -1: it must be a whole number from 0 to 4294967295.",
    JOB + "--params=seed=true": "Parameter 'seed' cannot be True: it must be a whole number from 0 to 4294967295.",
    JOB + "--params=seed=4294967296": "Parameter 'seed' cannot be 4294967296: it must be a whole number from 0 to …",
    JOB + "--params=budget=3": "The parameter 'budget' must be of the kind str.",
    JOB + "--params=prompts=3": "Parameter 'prompts' cannot be 3: it must be a mapping of names to values.",
    JOB + "--params=prompts.fit=1": "Parameter 'prompts.fit' cannot be 1: it must be greater than or equal to 2.",
    JOB + "--params=prompts.fit=many": "Parameter 'prompts.fit' cannot be 'many': it must be a whole number.",
    JOB + "--params=prompts.fit=2.5": "Parameter 'prompts.fit' cannot be 2.5: it must be a whole number.",
    JOB + "--params=prompts.fits=4": "Parameter 'prompts.fits' does not exist; remove it or correct its name.",
    JOB + "--params=prompts.fit=100000": (
        "Concept 'person' makes only … different fit prompts, 100,000 are asked for: give it more words, "
        "templates or slots, or ask for fewer."
    ),
    JOB + "--params=prompts.retain_test=100000": (
        "Concept 'person' makes too few different test prompts for … in …: give it more words, templates or slots, or "
        "ask for fewer retain prompts."
    ),
    JOB + "--params=erasers.esd.steps=400": "This run does not read 'erasers.esd', since its eraser is ac: add …",
    JOB + "--params=erasers.ac.steps=30,erasers.esd.steps=400": "This run does not read 'erasers.esd', since its …",
    JOB + "--params=attack=finetuning,attacks.p4d.steps=4": (
        "This run does not read 'attacks.p4d', since its attack is finetuning: add attack=p4d, or give …"
    ),
    JOB + "--params=attacks.p4d.steps=400": "This run does not read 'attacks.p4d', since its attack is …",
    JOB + "--params=erasers.ac=3": "Parameter 'erasers.ac' cannot be 3: it must be a mapping of names to values.",
    JOB + "--params=erasers.ac.lr=nan": "Parameter 'erasers.ac.lr' cannot be 'nan': it must be greater than 0.",
    JOB + "--params=erasers.ac.lr=inf": "Parameter 'erasers.ac.lr' cannot be inf: it must be a finite number.",
    JOB + "--params=erasers.ac.lr=-1": "Parameter 'erasers.ac.lr' cannot be -1: it must be greater than 0.",
    JOB + "--params=erasers.ac.steps=0": (
        "Parameter 'erasers.ac.steps' cannot be 0: it must be greater than or equal to 1."
    ),
    JOB + "--params=erasers.ac.group=all": "Parameter 'erasers.ac.group' cannot be 'all': it must be 'esd-x', …",
    JOB + "--params=erasers.ac.method=uce": "erasers.ac.method is 'uce': it must be the name that it stands under.",
    JOB + "--params=erasers.ac.options.x=1": ("erasers.ac.options: x does not exist; remove it or correct its name."),
    JOB + "--params=attacks.unlearndiffatk.options.tokens=0": (
        "attacks.unlearndiffatk.options: tokens cannot be 0: it must be greater than or equal to 1."
    ),
    JOB + "--params=attacks.unlearndiffatk.images=100": (
        "Parameter 'attacks.unlearndiffatk' does not fit together: images is 100, and there are 50 steps: …"
    ),
    JOB + "--params=prune.rate=2": "Parameter 'prune.rate' cannot be 2: it must be less than 1.",
    JOB + "--params=neurons.timesteps=0": (
        "Parameter 'neurons.timesteps' cannot be 0: it must be greater than or equal to 1."
    ),
    JOB + "--params=draw.guidance=-inf": "Parameter 'draw.guidance' cannot be '-inf': it must be greater than or …",
    JOB + "--params=draw.per_prompt=16": (
        "Parameter 'draw.per_prompt' cannot be 16: it must be less than or equal to 15."
    ),
    JOB + "--params=model.dtype=int8": "Parameter 'model.dtype' cannot be 'int8': it must be 'auto', 'float32', …",
    JOB + "--params=model.dtype=float16": "model.dtype is float16, in which gradients overflow: set it to float32, …",
    JOB + "--params=model.path=nowhere": "There is no diffusers model in 'nowhere': Set the parameter model.path …",
    JOB + "--params=model.path=hub:x/y": "model.path is 'hub:x/y': write hub:OWNER/NAME@REVISION with all 40 …",
    JOB + "--params=known_pictures=nowhere": "There is no labels.csv in nowhere: it says what each known picture …",
    JOB + "--params=fidelity.clip=nowhere": (
        "fidelity.clip is 'nowhere', where there is no model.safetensors: point it to a CLIPModel folder with its "
        "tokenizer."
    ),
    JOB + "--params=fidelity.features=nowhere": (
        "fidelity.features is 'nowhere', where there is no model.safetensors: point it to an image model's folder …"
    ),
    JOB + "--params=fidelity.lpips=nowhere": (
        "fidelity.lpips is 'nowhere', where there is no model.safetensors: point it to a folder of VGG16 …"
    ),
    JOB + "--env=sd14": "There is no diffusers model in 'weights/sd14': Download CompVis/stable-diffusion-v1-4 …",
    JOB + "--params=checkpoint=x.safetensors": (
        "Nothing of this run reads the parameter 'checkpoint': leave it out, or say --pipeline=audit…"
    ),
    JOB + "--params=gate.plain_upper=0.01": ("Nothing … the parameter 'gate': …"),
    # what is audited
    "run --pipeline=audit": "There is nothing to audit: name an erased model with --params=checkpoint=PATH.",
    "run --pipeline=audit --params=checkpoint=../../x": "There is no checkpoint '../../x': point the parameter …",
    "run --pipeline=audit --params=checkpoint=conf": "There are no safetensors in the folder 'conf': point the parameter 'checkpoint' elsewhere.",
    "run --pipeline=audit --params=checkpoint=pyproject.toml": "…",
    # what a stage needs
    "run --pipeline=rejudge": "There is no 'person.ac.plain.images' yet: run what makes it first, …",
    "run --pipeline=export --params=export.rank=0": (
        "Parameter 'export.rank' cannot be 0: it must be greater than or equal to 1."
    ),
    "run --pipeline=export --params=export.formats=pickle": (
        "Parameter 'export.formats.0' cannot be 'pickle': it must be 'all', 'folder', …"
    ),
    "run --pipeline=export --params=export.variant=random": "No 'random' is made of the eraser 'ac': set …",
    "run --pipeline=retrain --params=gate.attack_upper=0.05": (
        "gate.attack_upper is 0.05, and even no hit in 30 test prompts leaves an upper bound of 0.114: set "
        "prompts.test to 73 or more, or the threshold higher."
    ),
    "run --pipeline=retrain --params=gate.far_loss_upper=0": (
        "Parameter 'gate.far_loss_upper' cannot be 0: it must be greater than 0."
    ),
    "run --pipeline=retrain --params=gate.by_attack.p4d=0.5": (
        "gate.by_attack names 'p4d', which this run does not try: choose it with --params=attack=p4d, or remove it."
    ),
    "run --pipeline=retrain --params=gate.by_attack.p4d=2": (
        "Parameter 'gate.by_attack.p4d' cannot be 2: it must be less than or equal to 1."
    ),
    "run --pipeline=retrain --params=gate.margins=0": "Parameter 'gate.margins' does not exist; remove it or …",
    "run --pipeline=check_judges --params=known_pictures=nowhere": "There is no labels.csv in nowhere: …",
    "run --pipeline=check_judges --params=known_pictures=null": "There are no pictures to try the judges on: name …",
    JOB + "--params=eraser=uce,erasers.uce.group=v": "erasers.uce.group: this method has parameters of its own, …",
    "run --pipeline=study_pruning --params=study.workers=0": (
        "Parameter 'study.workers' cannot be 0: it must be greater than or equal to 1."
    ),
    "run --pipeline=study_pruning --params=study.only=foo": (
        "Parameter 'study' does not fit together: study.only names 'foo', which is none of esd, …"
    ),
    "run --pipeline=study_pruning --params=concept=person": (
        "The parameter 'concept' chooses nothing here: this pipeline has parameters of its own."
    ),
    "run --pipeline=study_pruning --params=erasers.uce.method=esd": (
        "erasers.uce.method is 'esd': it must be the name that it stands under."
    ),
    "run --pipeline=benchmark --params=benchmark.transfer=p5d": (  # one name needs no list
        "Parameter 'benchmark' does not fit together: benchmark.transfer names 'p5d', which is none of its …"
    ),
    "run --pipeline=benchmark --params=benchmark.attacks=p6d": (  # also where the one that stands alone is unknown
        "Parameter 'benchmark' does not fit together: benchmark.transfer names 'unlearndiffatk', which is none of its "
        "attacks p6d."
    ),
    JOB + "--params=attack=gcg,attacks.gcg.options.tokens=500": (
        "The attack 'gcg' is to look for 500 tokens, and the model reads 30: set attacks.gcg.options.tokens lower."
    ),
    JOB + "--params=attacks.unlearndiffatk.options.tokens=30": (
        "The attack 'unlearndiffatk' leaves 0 of the 30 tokens that the model reads for the prompt, and the shortest …"
    ),
}


@pytest.mark.parametrize("typed", TYPED, ids=lambda typed: typed[:60])
def test_is_refused_in_one_sentence(typed: str, refused: Callable[..., str]) -> None:
    said = refused(*typed.split())
    assert says(TYPED[typed], said), said


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        (
            "parameters.yml",
            "drwa: {steps: 4}",
            "Nothing reads the parameter 'drwa' of the configuration: did you mean …",
        ),
        (
            "parameters.yml",
            "attacks: {unlearndifatk: {steps: 4}}",
            "There is no attack 'unlearndifatk': did you mean …",
        ),
        ("parameters.yml", "erasers: {essd: {steps: 4}}", "There is no eraser 'essd': did you mean 'esd'?"),
        ("globals.yml", "concepts: {nfsw: church}", "There is no kind of concept 'nfsw': did you mean 'nsfw'?"),
    ],
)
def test_a_slip_in_an_environment_is_no_parameter_of_its_own(refused, project, file, text, sentence):
    path = project / "conf/local" / file
    path.parent.mkdir(exist_ok=True)
    before = path.read_text() if path.exists() else None
    path.write_text(text)
    try:
        assert says(sentence, refused(*JOB.split()))
    finally:
        path.unlink() if before is None else path.write_text(before)
