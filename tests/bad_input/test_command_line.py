"""Parts of the project and names, typed wrong, and the sentence that each gets. ``…`` stands for anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sentences import says

NAMES = "take at most 64 letters, digits, _ and -, beginning with a letter or a digit."
JOB = "run --pipeline=erase_nsfw "
TYPED = {
    # which part of the project
    "run": "No pipeline is named: say --pipeline=NAME; known are …",
    "run --pipeline=erase_nswf": "There is no pipeline 'erase_nswf': did you mean 'erase_nsfw'?",
    "run --pipelines=../../x": "There is no pipeline '../../x': known are …",
    JOB + "--nodes=fnid_concept": "The pipeline has no node 'fnid_concept' (…): did you mean 'person.find_concept'?",
    JOB + "--nodes=unknown": "The pipeline has no node 'unknown' (…): `kedro registry describe PIPELINE` lists them.",
    JOB + "--from-nodes=x": "The pipeline has no node 'x' (…): `kedro registry describe PIPELINE` lists them.",
    JOB + "--to-nodes=x": "The pipeline has no node 'x' (…): `kedro registry describe PIPELINE` lists them.",
    JOB + "--from-inputs=person.promts": (
        "The pipeline has no data set 'person.promts' (--from-inputs, --to-outputs): did you mean 'person.prompts'?"
    ),
    JOB + "--to-outputs=x": "The pipeline has no data set 'x' (…): `kedro registry describe PIPELINE` lists them.",
    JOB + "--namespaces=x": "The pipeline has no namespace 'x' (…): `kedro registry describe PIPELINE` lists them.",
    JOB + "--tags=x": "No node is left after --tags, --from-nodes and the like: give fewer of them; …",
    JOB + "--load-versions=x:y": "--load-versions names 'x', which is no data set of this pipeline: …",
    JOB + "--load-versions=x": "Expected the form of 'load_versions' to be …",
    JOB + "--runner=Foo": "There is no runner 'Foo': leave out --runner.",
    JOB + "--runner=ThreadRunner": "Nodes share one model, which wears one eraser at a time: leave out --runner.",
    "run --pipeline=prepare --params=eraser=esdd": "There is no eraser 'esdd': did you mean 'esd'?",
    "run --pipeline=prepare --params=attack=p4": "There is no attack 'p4': did you mean 'p4d'?",
    "run --pipeline=prepare --params=attacks.unlearndiffatk.steps=none": (
        "Parameter 'attacks.unlearndiffatk.steps' cannot be 'none': it must be a whole number."
    ),
    "run --pipeline=evaluate --runner=ThreadRunner": "Nodes share one model, which wears one eraser at a time: …",
    JOB + "--env=sd41": "There is no environment 'sd41', no folder of that name in conf: did you mean 'sd14'?",
    JOB
    + "--env=../..": "There is no environment '../..', no folder of that name in conf: known are base, local, sd14.",
    JOB + "--env=/tmp": "There is no environment '/tmp', no folder of that name in conf: known are base, local, sd14.",
    JOB + "--conf-source=nowhere": "Invalid value for '--conf-source': Path 'nowhere' does not exist.",
    JOB + "--config=nowhere.yml": "Invalid value for '--config' / '-c': File 'nowhere.yml' does not exist.",
    JOB + "--bogus": "No such option '--bogus'…",
    "stale --env=sd41": "There is no environment 'sd41', no folder of that name in conf: did you mean 'sd14'?",
    "dags --env=sd41": "There is no environment 'sd41', no folder of that name in conf: did you mean 'sd14'?",
    "stale --params=x": "Invalid format of `params` option: Item `x` must contain a key and a value separated by `=`.",
    "dags retrian": "There is no DAG 'retrian': did you mean 'retrain'?",
    "dags ../x": "There is no DAG '../x': known are …",
    "champion nobody": "There is no registered eraser 'nobody': `kedro run --pipeline=retrain` registers the first.",
    "find ../x": "Nothing is known of '../x': give the id of a Kedro run (a folder of versions in data/), of an …",
    # which concept, eraser, attack
    JOB + "--params=concept=persn": "There is no concept 'persn' in …: did you mean 'person'?",
    JOB + "--params=concept=fluent": "The concept 'fluent' is of kind style: use --pipelines=erase_style.",
    JOB + "--params=concept.kind=nsfw": "The parameter 'concept' is a name; options are given in the concept's file.",
    JOB + "--params=eraser=esdd": "There is no eraser 'esdd': did you mean 'esd'?",
    JOB + "--params=eraser.steps=3": "The parameter 'eraser' is a name; options are given in erasers.NAME.",
    JOB + "--params=attack=p4": "There is no attack 'p4': did you mean 'p4d'?",
    JOB + "--params=masks=some": "The parameter 'masks' is 'some': it must be one of learned, all.",
    # names that would become paths
    JOB + "--params=concept=../../etc": "'../../etc' cannot be the name of a concept: " + NAMES,
    JOB + "--params=concept=/etc/passwd": "'/etc/passwd' cannot be the name of a concept: " + NAMES,
    JOB + "--params=concept=a%00b": "'a%00b' cannot be the name of a concept: " + NAMES,
    JOB + "--params=concept=" + 400 * "a": "'" + 60 * "a" + "…' cannot be the name of a concept: " + NAMES,
    JOB + "--params=eraser=../../x": "'../../x' cannot be the name of an eraser: " + NAMES,
    JOB + "--params=attack=..": "'..' cannot be the name of an attack: " + NAMES,
    "run --pipeline=report --params=eraser=../x,attack=../y": "'../x' cannot be the name of an eraser: " + NAMES,
    "run --pipeline=export --params=eraser=x/y": "'x/y' cannot be the name of an eraser: " + NAMES,
    JOB + "--params=model.name=../x": (
        "Parameter 'model.name' cannot be '../x': it must be small letters, digits and _, letter first."
    ),
}


@pytest.mark.parametrize("typed", TYPED, ids=lambda typed: typed[:60])
def test_is_refused_in_one_sentence(typed: str, refused: Callable[..., str]) -> None:
    said = refused(*typed.split())
    assert says(TYPED[typed], said), said
