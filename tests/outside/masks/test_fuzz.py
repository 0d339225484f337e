"""Damaged masks: whatever is changed in a file, reading it gives labels or one sentence."""

import json
import random
import re

import numpy as np
import pytest
from PIL import Image

from linkjax.errors import InputError
from linkjax.outside import masks
from tests.outside.masks.test_masks import CAP, STEM, compressed, labelme, of, run_lengths

JUNK = (b"null", b"-1", b"1e999", b"[]", b"{}", b'"x"', b"NaN", b"99999999999999999999", b"true", b"0.5")
VALUES = re.compile(rb'-?\d+(\.\d+)?|"[^"]*"|\[[^\[\]]*\]|\{[^{}]*\}')


def seeds(folder):
    labels = np.zeros((16, 16), np.uint8)
    labels[3:9, 4:8], labels[10] = 1, 2
    image = Image.fromarray(labels)
    image.putpalette([1, 2, 3] * 256)
    image.save(folder / "a.png")
    np.save(folder / "a.npy", labels.astype(int))
    runs = run_lengths(labels == 1)
    whole = (
        labelme([CAP, STEM]),
        of([[0, 0, 16, 0, 16, 8, 0, 8]]),
        of({"size": [16, 16], "counts": compressed(runs)}),
        of({"size": [16, 16], "counts": runs}),
    )
    return {
        ".png": [(folder / "a.png").read_bytes()],
        ".npy": [(folder / "a.npy").read_bytes()],
        ".json": [json.dumps(each).encode() for each in whole],
    }


def damaged(content, kind, chance):
    for _ in range(chance.randint(1, 4)):
        values = list(VALUES.finditer(content)) if kind == ".json" and chance.random() < 0.6 else []
        place = chance.randrange(len(content) + 1)
        if values:
            value = chance.choice(values)
            content = content[: value.start()] + chance.choice(JUNK) + content[value.end() :]
        elif chance.random() < 0.7:
            content = content[:place] + bytes([chance.randrange(256)]) + content[place + 1 :]
        else:
            content = content[:place] + (
                content[: chance.randrange(50)] + content[place:] if chance.random() < 0.5 else b""
            )
    return content


@pytest.mark.parametrize("kind", [".png", ".npy", ".json"])
def test_a_damaged_mask_gives_labels_or_one_sentence(kind, tmp_path):
    chance, whole = random.Random(7), seeds(tmp_path)[kind]
    file = tmp_path / "masks" / f"000000{kind}"
    file.parent.mkdir()
    refused = 0
    for _ in range(1500):
        file.write_bytes(damaged(chance.choice(whole), kind, chance))
        try:
            for labels in masks.read(file.parent, ("000000",), 16).labels.values():
                assert labels.shape == (16, 16) and labels.min() >= -1
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 300
