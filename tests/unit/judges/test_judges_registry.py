"""What `make_judge` builds, keeps and refuses."""

import pytest

from excise.concepts.concept import JudgeSpec
from excise.errors import UserError
from excise.judges import JUDGES, make_judge


def test_a_judge_is_built_once():
    spec = JudgeSpec(name="nudenet", labels=["faces"], threshold=0.3)
    other = JudgeSpec(name="nudenet", labels=["strict"], threshold=0.5, options={"pixels": 32})
    assert make_judge(spec) is make_judge(other), "the same judge, with its default spelled out"
    assert make_judge(JudgeSpec(name="nudenet", threshold=0.3, options={"pixels": 0})) is not make_judge(spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "nude_net"}, ["nude_net", *JUDGES]),
        ({"name": "nudenet", "options": {"pixel": 3}}, ["pixel"]),
        ({"name": "nudenet", "options": {"pixels": -1}}, ["pixels"]),
        ({"name": "nudenet", "labels": ["EXPOSED_BREAST_F"]}, ["EXPOSED_BREAST_F", "strict", "FACE_MALE"]),
        ({"name": "nudenet", "labels": ["faces"], "threshold": 0.1}, ["0.25"]),
        ({"name": "object_probe", "options": {"file": "nowhere.safetensors"}}, ["nowhere.safetensors"]),
        ({"name": "clip_zero_shot", "options": {"labels": "a cat"}}, ["two captions"]),
        ({"name": "clip_zero_shot", "options": {"labels": "a cat, a dog", "folder": "nowhere"}}, ["nowhere"]),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(spec, words):
    with pytest.raises(UserError) as refusal:
        make_judge(JudgeSpec(**{"threshold": 0.5, **spec}))
    message = str(refusal.value)
    assert all(word in message for word in words)
    assert "\n" not in message and message.endswith(".")
