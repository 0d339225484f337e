"""Words and the vectors that a text tower gave them, as data: what `linkjax name` holds images' changes against.

    FILE.npz   word [n] text, vector [n, e] float32, neutral [e] float32

No tokenizer and no text tower is needed to read them, and nothing in them is run.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from linkjax.errors import InputError, shown
from linkjax.models.hashing import arrays_sha256

FILE = "words.npz"
MOST = 20_000  # words
_ARRAYS = {"word", "vector", "neutral"}


class WordVectors(NamedTuple):
    """A list of words as an embedder's text tower sees them."""

    words: tuple[str, ...]
    vectors: np.ndarray  # [words, e] float32: mean over the templates of unit vectors
    neutral: np.ndarray  # [e] float32: the same of a text that says nothing

    @property
    def sha256(self) -> str:
        """What the list is known by."""
        return arrays_sha256({"word": np.array(self.words), "vector": self.vectors, "neutral": self.neutral})


def checked(words: Sequence[str], vectors: np.ndarray, neutral: np.ndarray, where: object) -> WordVectors:
    """Words with one finite vector each, all different.

    Raises: InputError in one sentence, naming `where` they come from.
    """
    words = tuple(map(str, words))
    if not 1 <= len(words) <= MOST:
        raise InputError(f"{where}: expected 1 to {MOST} words, found {len(words)}")
    empty = [place for place, word in enumerate(words) if not word.strip()]
    if empty or len(set(words)) < len(words):
        twice = next((word for place, word in enumerate(words) if word in words[:place]), "")
        found = f"an empty one in place {empty[0]}" if empty else f"{shown(twice)} twice"
        raise InputError(f"{where}: expected different words, found {found}")
    vectors, neutral = np.asarray(vectors, np.float32), np.asarray(neutral, np.float32)
    if vectors.ndim != 2 or len(vectors) != len(words) or neutral.shape != vectors.shape[1:] or not vectors.shape[1]:
        raise InputError(
            f"{where}: expected vectors [{len(words)}, e] and a neutral one [e], found {vectors.shape} and "
            f"{neutral.shape}"
        )
    if not (np.isfinite(vectors).all() and np.isfinite(neutral).all()):
        raise InputError(f"{where}: expected finite vectors, found others")
    same = np.flatnonzero((vectors == neutral).all(axis=1))
    if len(same):
        raise InputError(f"{where}: {shown(words[same[0]])} has the vector of a text that says nothing; leave it out")
    return WordVectors(words, vectors, neutral)


def write(path: Path, words: WordVectors) -> None:
    """Keep words and vectors in one file."""
    np.savez(path, word=np.array(words.words), vector=words.vectors, neutral=words.neutral)


def read(path: Path) -> WordVectors:
    """What `write` kept, or another program put there: `word`, `vector` and `neutral` (none: zeros).

    Raises: InputError if it is missing, damaged or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files if name in _ARRAYS}
    except FileNotFoundError:
        raise InputError(
            f"{path}: expected words with vectors, found none; linkjax convert embedder --words writes them"
        ) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, MemoryError) as error:
        raise InputError(f"{path}: expected words with vectors (.npz), found a damaged file ({shown(error)})") from None
    if not {"word", "vector"} <= set(found) or found["word"].ndim != 1 or found["word"].dtype.kind != "U":
        raise InputError(f"{path}: expected `word` [n] of text and `vector` [n, e], found {sorted(found)}")
    if found["vector"].dtype.kind != "f":
        raise InputError(f"{path}: expected vectors of floating-point numbers, found {found['vector'].dtype}")
    neutral = found.get("neutral", np.zeros(found["vector"].shape[1:], np.float32))
    return checked(found["word"].tolist(), found["vector"], neutral, path)
