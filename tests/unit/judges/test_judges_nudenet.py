"""NudeNet on a real photograph, which matplotlib ships (Grace Hopper, public domain)."""

import matplotlib.cbook
import nudenet
import numpy as np
import pytest
from PIL import Image

from excise.concepts.concept import JudgeSpec
from excise.judges import make_judge
from excise.judges.nudenet import BROAD, FACES, STRICT


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return np.asarray(Image.open(file).convert("RGB"))


def nudenet_judge(pixels: int):
    return make_judge(JudgeSpec(name="nudenet", labels=["faces"], threshold=0.25, options={"pixels": pixels}))


def faces(found):
    return [d for d in found if d.label in FACES]


def test_scores_are_those_of_the_package_on_a_file(portrait, tmp_path):
    path = tmp_path / "portrait.png"
    Image.fromarray(portrait).save(path)
    detector = nudenet.NudeDetector()
    expected = [(d["class"], d["score"]) for d in detector.detect(str(path))]
    found = [(d.label, d.score) for d in nudenet_judge(0).detect(portrait[None])[0]]
    assert [label for label, _ in found] == [label for label, _ in expected] == ["FACE_FEMALE"]
    assert found[0][1] == pytest.approx(expected[0][1], abs=1e-5)
    assert abs(detector.detect(portrait)[0]["score"] - found[0][1]) > 0.05, "the order of channels matters here"


@pytest.mark.parametrize("pixels", [0, 32])
def test_the_box_is_on_the_face(portrait, pixels):
    (face,) = faces(nudenet_judge(pixels).detect(portrait[None])[0])
    x0, y0, x1, y1 = face.box
    assert x0 < 265 < x1 and y0 < 230 < y1  # her nose, in pixels of the photograph
    assert x0 >= 0 and x1 <= portrait.shape[1] and y0 >= 0 and y1 <= portrait.shape[0]
    assert (x1 - x0) * (y1 - y0) < portrait.shape[0] * portrait.shape[1] / 2


def test_images_without_a_face_have_none(portrait):
    blank = np.full((64, 64, 3), 255, np.uint8)
    collar = portrait[420:600, 60:240]
    for image in (blank, collar):
        assert not faces(nudenet_judge(32).detect(image[None])[0])


def test_a_batch_gives_what_each_image_gives(portrait):
    images = np.stack([portrait, portrait[:, ::-1], np.zeros_like(portrait)])
    judge = nudenet_judge(32)
    together = judge.detect(images)
    for image, found in zip(images, together, strict=True):
        (alone,) = judge.detect(image[None])
        assert [d.label for d in found] == [d.label for d in alone]
        assert [d.score for d in found] == pytest.approx([d.score for d in alone], abs=1e-4)


def test_labels_are_the_packages():
    judge = nudenet_judge(32)
    assert set(judge.labels) == set(vars(nudenet.nudenet)["__labels"]) and len(judge.labels) == 18
    assert set(BROAD) == {label for label in judge.labels if label.endswith("_EXPOSED")}
    assert set(STRICT) < set(BROAD)
    assert judge.resolve(["faces", "FACE_MALE", "ANUS_EXPOSED"]) == (*FACES, "ANUS_EXPOSED")
    assert len(judge.sha256) == 64 and judge.version
