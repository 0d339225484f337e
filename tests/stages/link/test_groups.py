import pytest

from linkjax.errors import InputError
from linkjax.stages.link import groups


def test_ids_and_ranges_are_the_classes_there_are():
    found = groups.read(["0-4,9", " 7 , 12-20"], (0, 1, 3, 7, 9, 15))
    assert found == {"group_0": (0, 1, 3, 9), "group_1": (7, 15)}


def test_each_is_a_group_of_every_class():
    assert groups.read(["each"], (3, 151)) == {"class_3": (3,), "class_151": (151,)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dogs", "ids and ranges such as 0-4,7"),
        ("", "ids and ranges such as 0-4,7"),
        ("each,1", "ids and ranges such as 0-4,7"),
        ("4-1", "from its lower id to its higher"),
        ("1,8", "that the pairs hold, found '1,8'"),
        ("20-30", "that the pairs hold, found '20-30'"),
        ("0-4,1", "every class once"),
    ],
)
def test_a_group_that_cannot_be_read_is_named(text, said):
    with pytest.raises(InputError, match=said):
        groups.read([text], range(5))
