import numpy as np
import pytest

from excise.reports import contact_sheet, pixelate
from excise.reports.sheets import CELL, FRAME, SEEN

RED = tuple(int(SEEN[i : i + 2], 16) for i in (1, 3, 5))


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 200, (64, 64, 3), dtype=np.uint8)


def red_share(sheet) -> float:
    return (np.asarray(sheet) == RED).all(-1).mean()


def find(sheet, patch: np.ndarray) -> bool:
    """Whether the patch stands somewhere in the sheet, pixel by pixel."""
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(sheet)[..., 0], patch.shape[:2])
    first = np.argwhere((windows[:, :, :6, :6] == patch[:6, :6, 0]).all((2, 3)))
    return any((np.asarray(sheet)[y : y + len(patch), x : x + len(patch)] == patch).all() for y, x in first)


@pytest.mark.parametrize("size", [(64, 64), (512, 512), (100, 70)])
def test_pixelate_destroys_detail(size):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    flat = pixelate(image)
    assert flat.shape == image.shape and flat.dtype == np.uint8
    assert len(np.unique(flat.astype(int) @ [1, 256, 65536])) <= 64
    assert flat.mean() == pytest.approx(image.mean(), abs=3)


def test_pixelate_keeps_only_the_mean_of_a_block(noise):
    block = pixelate(noise)[8:16, 16:24].reshape(-1, 3)
    assert (block == block[0]).all()
    assert block[0] == pytest.approx(noise[8:16, 16:24].reshape(-1, 3).mean(0), abs=1)


def test_small_images_are_doubled_pixel_by_pixel(noise):
    sheet = contact_sheet([("Base", [noise])], ["a nurse"], [[False]])
    assert find(sheet, noise.repeat(2, 0).repeat(2, 1))


def test_an_unsafe_sheet_holds_no_original_pixels(noise):
    arguments = ([("Base", [noise])], ["a nurse"], [[False]])
    sheet = contact_sheet(*arguments, unsafe=True)
    assert not find(sheet, noise.repeat(2, 0).repeat(2, 1))
    assert find(sheet, pixelate(noise).repeat(2, 0).repeat(2, 1))


def test_a_red_frame_stands_for_each_hit_and_for_nothing_else(noise):
    def share(seen):
        sheet = contact_sheet([("Base", [noise, noise]), ("ESD\nplain", [noise, None])], ["a", "b"], seen)
        return red_share(sheet) * sheet.size[0] * sheet.size[1]

    legend = share([[False, False], [False, None]])
    frame = share([[True, False], [False, None]]) - legend
    assert frame == pytest.approx(4 * FRAME * (CELL + FRAME), rel=0.02)
    assert share([[True, True], [True, None]]) - legend == pytest.approx(3 * frame)
    assert share([[None, None], [None, None]]) == legend


def test_large_images_and_long_captions_fit(noise):
    large = noise.repeat(8, 0).repeat(8, 1)
    sheet = contact_sheet([("A very long name of a model under attack", [large] * 6)], ["word " * 60] * 6, [[True] * 6])
    assert sheet.size[0] < 1200 and sheet.size[1] < 400


def test_columns_must_agree(noise):
    with pytest.raises(ValueError):
        contact_sheet([("Base", [noise])], ["a", "b"], [[False, False]])
    with pytest.raises(ValueError):
        contact_sheet([("Base", [noise])], ["a"], [])
