"""What the embedded world's factors are called in captions: two phrases each, for little and for much."""

from linkjax.demo.factors import BREEDS, FACTORS

#: By factor, in the order of `FACTORS`: what is said of an animal with little of it, and with much.
PHRASES: dict[str, tuple[str, str]] = {
    "ear_size": ("small ears", "large ears"),
    "ear_droop": ("erect ears", "hanging ears"),
    "snout_length": ("a short snout", "a long snout"),
    "tail_angle": ("a level tail", "a raised tail"),
    "tail_length": ("a short tail", "a long tail"),
    "tail_thickness": ("a thin tail", "a thick tail"),
    "leg_length": ("short legs", "long legs"),
    "leg_thickness": ("thin legs", "thick legs"),
    "body_length": ("a short body", "a long body"),
    "body_height": ("a slender body", "a deep body"),
    "body_lightness": ("a dark coat", "a light coat"),
    "body_hue": ("a pink coat", "a yellow coat"),
    "eye_size": ("small eyes", "large eyes"),
    "head_size": ("a small head", "a large head"),
    "tongue_length": ("a short tongue", "a long tongue"),
    "position_x": ("standing to the left", "standing to the right"),
    "background_lightness": ("a dark background", "a light background"),
    "background_hue": ("a green background", "a blue background"),
}
assert tuple(PHRASES) == FACTORS
#: All that captions are made of: the phrases, and the breeds' names.
WORDS = (*(phrase for pair in PHRASES.values() for phrase in pair), *BREEDS)


def named(word: str) -> tuple[str, int] | None:
    """The factor that a phrase is of, and 1 for much of it, −1 for little; None for a breed's name."""
    for factor, pair in PHRASES.items():
        if word in pair:
            return factor, 2 * pair.index(word) - 1
    return None
