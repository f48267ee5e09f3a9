import numpy as np
import pytest

from ovseg_demo.sticker_world import NOVEL_CLASSES, UNSEEN_PAIRS, render_crop, render_scene


def test_the_same_seed_gives_the_same_crop():
    first, again = (render_crop(11, "pretraining", 64) for _ in range(2))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.mask.tobytes() == again.mask.tobytes()
    assert (first.caption, first.object) == (again.caption, again.object)


def test_rendering_something_else_in_between_changes_nothing():
    first = render_crop(5, "validation", 48)
    render_scene(9, "segmentation", (96, 64))
    assert render_crop(5, "validation", 48).image.tobytes() == first.image.tobytes()


def test_crops_keep_to_their_split():
    drawn = [
        crop.object for crop in (render_crop(seed, "segmentation", 24) for seed in range(250)) if crop.object
    ]
    assert not {thing.noun for thing in drawn} & set(NOVEL_CLASSES)
    assert not {(thing.colour, thing.noun) for thing in drawn} & UNSEEN_PAIRS


def test_crops_show_their_object_large_and_their_mask_fits_it():
    shares = []
    for seed in range(80):
        image, mask, caption, thing = render_crop(seed, "pretraining", 64)
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8
        assert mask.shape == (64, 64) and mask.dtype == bool
        assert caption
        if thing is None:
            assert mask.all()
        else:
            assert thing.name_used in caption
            assert mask.sum() == thing.area
            shares.append(mask.mean())
    assert np.median(shares) > 0.25


def test_some_crops_show_stuff_alone():
    alone = [render_crop(seed, "pretraining", 16).object is None for seed in range(200)]
    assert 0.05 < np.mean(alone) < 0.25


def test_a_requested_noun_and_colour_are_drawn():
    crop = render_crop(0, "validation", 32, noun="mushroom", colour="blue")
    assert (crop.object.noun, crop.object.colour) == ("mushroom", "blue")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"noun": "mushroom", "colour": "blue", "split": "pretraining"}, "no blue mushroom"),
        ({"noun": "lion", "split": "segmentation"}, '"lion"'),
        ({"colour": "blue"}, "needs a noun"),
        ({"size": 4}, "4 pixels"),
        ({"split": "holiday"}, '"holiday"'),
        ({"seed": -3}, "-3"),
    ],
)
def test_errors_name_bad_requests(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_crop(**{"seed": 0, "split": "validation", **arguments})
