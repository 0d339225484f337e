"""What a classifier calls the generator's classes."""

import json

import pytest

from linkjax.errors import InputError
from linkjax.outside import class_map

SEEN = ("cat", "Collie, Border", "pug")


def of(classes=(4, 9), names=("Pug", "border collie"), count=10, seen=SEEN, seen_count=3, given=None, needed=True):
    return class_map.of(classes, names, count, seen, seen_count, given, needed)


def test_names_are_matched_however_they_are_spelled():
    assert of(names=("PUG", "collie_border")) == (2, 1)
    with pytest.raises(InputError, match=r"class 9, 'border collie', is none of the classifier's 3 classes by name"):
        of()
    assert of(needed=False) == (2, class_map.NONE)


def test_one_list_is_taken_where_names_are_not_known_and_both_are_as_long_and_never_else():
    assert of(names=(), count=3, classes=(0, 2)) == (0, 2)
    assert of(names=(), seen=(), seen_count=10) == (4, 9)
    with pytest.raises(
        InputError, match=r"the generator has 10 classes, the classifier 3.*class 4 is; give --class-map"
    ):
        of(names=())
    assert of(names=(), needed=False) == (-1, -1)
    assert of(given="same", classes=(2,), names=()) == (2,)
    assert of(seen_count=0, seen=(), needed=False) == (-1, -1)  # no class head


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("map.csv", "4,2\n9,1\n"),
        ("map.csv", "\ufeff9, 1\r\n4, 2\r\n\r\n"),
        ("map.csv", 'Pug,pug\n"border collie","Collie, Border"\n'),
        ("map.json", '{"4": 2, "border-collie": "collie border", "7": 0}'),
    ],
)
def test_a_file_maps_ids_or_names(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert of(given=str(tmp_path / name)) == (2, 1)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("map.csv", "4,3\n", "expected a class of the classifier from 0 to 2, found 3"),
        ("map.csv", "10,2\n", "expected a class of the generator from 0 to 9, found 10"),
        ("map.csv", "4,dog\n", "expected a class of the classifier, found 'dog'; known are cat"),
        ("map.csv", "4 2\n", "expected lines GENERATOR,CLASSIFIER"),
        ("map.csv", "4,2\n4,1\n", "class 4 is both 2 and 1"),
        ("map.csv", "4,2\n", "class 9, 'border collie', is none"),
        ("map.json", "[4, 2]", "expected a table such as"),
        ("map.json", "{", "damaged JSON"),
        ("map.json", "[" * 100000, "damaged JSON"),
        ("map.txt", "", "is none of the classifier's"),
    ],
)
def test_a_file_that_is_no_map_is_one_sentence(tmp_path, name, text, said):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        of(given=str(tmp_path / name))


def test_a_file_that_is_not_there_and_one_that_is_no_text_are_named(tmp_path):
    with pytest.raises(InputError, match="found none"):
        of(given=str(tmp_path / "nowhere.csv"))
    (tmp_path / "map.csv").write_bytes(json.dumps("4,2").encode("utf-16"))
    with pytest.raises(InputError, match="another encoding"):
        of(given=str(tmp_path / "map.csv"))
