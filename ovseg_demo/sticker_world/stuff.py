"""The stuff of Sticker World: the backgrounds, with their names and phrases in captions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stuff:
    """One background class.

    Attributes:
        name: the class name, unique among all class names.
        synonyms: other names in captions.
        phrases: prepositional phrases of a thing on it, such as "on the grass".
        article: before its bare name: "a " for "a road", "" for "grass", "the " for "the sky".
    """

    name: str
    synonyms: tuple[str, ...]
    phrases: tuple[str, ...]
    article: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The class name and its synonyms."""
        return (self.name, *self.synonyms)


STUFF: tuple[Stuff, ...] = (
    Stuff("sky", ("blue sky", "cloudy sky"), ("in the sky", "against the sky", "under the sky"), "the "),
    Stuff("night sky", ("starry sky",), ("in the night sky", "under the stars"), "the "),
    Stuff("grass", ("lawn", "meadow"), ("on grass", "on the grass", "on a lawn", "in a meadow")),
    Stuff("water", ("lake", "pond"), ("in the water", "on the water", "in water")),
    Stuff("sand", ("beach",), ("on sand", "on the sand", "on the beach")),
    Stuff("snow", ("snowy ground",), ("in the snow", "on snow")),
    Stuff("dirt", ("soil", "earth"), ("on dirt", "on the soil", "on bare earth")),
    Stuff("road", ("street", "asphalt"), ("on the road", "on a road", "in the street"), "a "),
    Stuff(
        "brick wall", ("bricks",), ("in front of a brick wall", "by a brick wall", "on a brick wall"), "a "
    ),
    Stuff(
        "stone wall", ("stones",), ("in front of a stone wall", "by a stone wall", "on a stone wall"), "a "
    ),
    Stuff("wood", ("wooden boards", "planks"), ("on wood", "on wooden boards", "on planks")),
    Stuff("wallpaper", ("papered wall",), ("in front of wallpaper", "on wallpaper"), ""),
    Stuff("tiles", ("tiled floor",), ("on tiles", "on a tiled floor")),
    Stuff("carpet", ("rug",), ("on a carpet", "on the carpet", "on a rug"), "a "),
    Stuff("hedge", ("bushes", "leaves"), ("in front of a hedge", "by a hedge", "on leaves"), "a "),
    Stuff("tablecloth", ("checked cloth",), ("on a tablecloth", "on the tablecloth"), "a "),
)
"""All stuff classes; in the class list they follow the nouns, in this order."""
