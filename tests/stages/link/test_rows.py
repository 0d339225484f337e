import dataclasses

import numpy as np
import pytest

from linkjax.stages import rows
from linkjax.storage import artifacts

UNITS, W_DIM = 5, 2
SCATTERED = [(at, at + 3) for at in range(0, 300, 10)]  # 90 rows of 30 places
SETTINGS = [(64, 32, 2**29), (16, 5, 2**29), (64, 8, 40 * 28)]  # rows a piece, pieces mixed, bytes (of 28 a row)


@dataclasses.dataclass(frozen=True)
class Config:
    out: str


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """300 pairs that hold the number of their row, in chunks of 4."""
    path = tmp_path_factory.mktemp("rows") / "pairs"
    with artifacts.Writer(path, "pairs", Config(str(path)), {}) as writer:
        for name, width in (("r", UNITS), ("w", W_DIM)):
            values = np.broadcast_to(np.arange(300, dtype=np.float32)[:, None], (300, width))
            writer.array(name, ("sample", name), (300, width), np.float32, (4, width))[...] = values
        writer.finish({"units": UNITS, "w_dim": W_DIM})
    return artifacts.Artifact(path, "pairs")


@pytest.fixture(params=SETTINGS)
def settings(request, monkeypatch):
    for name, value in zip(("PIECE", "MIXED", "BYTES"), request.param, strict=True):
        monkeypatch.setattr(rows, name, value)


def order(pairs, ranges, batch=7, epoch=0):
    """Numbers of the rows, batch by batch."""
    epoch = [*rows.shuffled(pairs, ranges, batch, 3, epoch)]
    assert {(r.shape, w.shape) for r, w in epoch} == {((batch, UNITS), (batch, W_DIM))}
    for r, w in epoch:
        assert (r == r[:, :1]).all() and (w == r[:, :1]).all()
    return np.concatenate([r[:, 0] for r, _ in epoch]).astype(int)


@pytest.mark.parametrize("ranges", [[(24, 72), (96, 220)], SCATTERED])
def test_every_epoch_shows_every_pair_once_in_an_order_of_its_own(pairs, settings, ranges):
    first, again, other = (order(pairs, ranges, epoch=epoch) for epoch in (0, 0, 1))
    assert (first == again).all() and (first != other).any()
    assert len(first) == len(set(first)) == rows.count(ranges) // 7 * 7
    assert set(first) <= {row for start, stop in ranges for row in range(start, stop)}


def test_rows_of_many_places_are_mixed_like_rows_that_lie_together(pairs, monkeypatch):
    """As many rows as are mixed at once are shuffled whole: the first places are no likelier to come first."""
    monkeypatch.setattr(rows, "PIECE", 16)
    monkeypatch.setattr(rows, "MIXED", 6)
    times = np.zeros(300)
    for epoch in range(50):
        found = order(pairs, SCATTERED, 9, epoch)
        times[found[:45]] += 1
        assert len({row // 10 for row in found[:9]}) > 4  # not three places of three rows
    assert times[times > 0].min() > 7 and times.max() < 43  # of 25 expected; 3.5 is a standard deviation


def test_rows_too_wide_for_the_bytes_are_mixed_in_fewer_and_from_smaller_pieces(pairs, monkeypatch):
    monkeypatch.setattr(rows, "BYTES", 40 * 28)  # 32 rows, of which a piece is a stored chunk
    assert rows.fitting(pairs, 32) == 32 and rows.fitting(pairs, 300) == 32 and rows.fitting(pairs, 5) == 5
    found = order(pairs, [(0, 300)], 32)
    for at in range(0, 288, 32):
        assert len({row // 4 for row in found[at : at + 32]}) == 8


def test_wide_and_narrow_rows_come_in_one_order_where_both_fit(pairs, monkeypatch):
    monkeypatch.setattr(rows, "PIECE", 10)
    monkeypatch.setattr(rows, "MIXED", 3)
    usual = order(pairs, [(0, 300)])
    monkeypatch.setattr(rows, "BYTES", 30 * 28)
    np.testing.assert_array_equal(order(pairs, [(0, 300)]), usual)
