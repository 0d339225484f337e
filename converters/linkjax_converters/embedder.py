"""An image-text model (OpenCLIP, TinyCLIP, SigLIP, your own): its image tower as a graph, its texts as vectors.

What is needed of the text tower are the vectors of the words that pictures are held against, so these are computed
here, once, by the model's own program with its own tokenizer, and stored. A tokenizer of ours would have to agree with
theirs to the last byte, for byte pairs and for SentencePiece, and could only give the same numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from linkjax.errors import InputError, shown
from linkjax.storage import checkpoint, manifest, word_vectors
from linkjax.storage.claim import Claim
from linkjax_converters.class_names import read_class_names
from linkjax_converters.module import LICENCE, side_of
from linkjax_converters.preprocessing import read_preprocessing, resolve
from linkjax_converters.state_dict import read_weights

#: Captions that a word's vector is the mean of, where no others are given.
TEMPLATES = ("{}", "a photo of {}", "a picture of {}")
_MOST_TEMPLATES = 200


def convert_embedder(
    src: str,
    out: Path,
    *,
    words: Path,
    templates: Path | None = None,
    weights: Path | None = None,
    key: str | None = None,
    input_size: int | None = None,
    preprocessing: Path | None = None,
    **flags: Any,
) -> list[str]:
    """Convert an image-text model into a folder that `linkjax name` reads without PyTorch.

    Args:
      src: hf:FOLDER, open_clip:FOLDER, open_clip:NAME or PACKAGE.MODULE:FUNCTION.
      out: folder to make.
      words: file of words or phrases, one a line (or a JSON list).
      templates: file of captions, one a line, with {} where the word goes.
      weights: a state dict's file, read as data, for open_clip:NAME and a function's image tower; key: which of its
        networks.
      input_size: side of what the image tower sees, where the preprocessing leaves it open.
      preprocessing, flags: as for `convert_classifier`; they come before the model's own record.
    Returns: what was taken and assumed, in sentences.
    Raises: InputError or ConversionError, each with one message, before anything is written.
    """
    from linkjax.models.graph import reference
    from linkjax_converters.graph import imported, towers

    asked, captions = read_words(words), TEMPLATES if templates is None else read_templates(templates)
    read = None if weights is None else read_weights(weights, key)
    found = towers.towers_of(src, None if read is None else read.arrays)
    stated = found.stated if preprocessing is None else read_preprocessing(preprocessing)
    how, notes = resolve(flags, stated, {})
    side = side_of(how, input_size)
    with Claim(Path(out), resumable=False) as claim:
        made = imported.import_module(found.image, (side, side), headless=True, arch=src, preprocessing=how)
        spec = made.model.spec
        listed = vectors_of(found, asked, captions)
        if listed.vectors.shape[1] != spec.num_units:
            raise InputError(
                f"{src}: its images have {spec.num_units} numbers and its texts {listed.vectors.shape[1]}; expected "
                "the same: give towers that end in the common space"
            )
        notes = [
            f"image tower: {len(spec.program.nodes)} operations; within {max(made.errors.values()):.1e} of PyTorch's "
            "largest value",
            f"{len(asked)} words by {len(captions)} templates: vectors of {spec.num_units} numbers",
            *notes,
        ]
        source = {
            "network": src,
            "made_by": found.package,
            "file": None if weights is None else weights.name,
            "sha256": None if weights is None else manifest.file_sha256(weights),
            "words": {"count": len(asked), "templates": captions, "sha256": listed.sha256},
            "notes": notes,
            "licence": LICENCE,
        }

        def beside(folder: Path) -> None:
            reference.write(folder, made.reference)
            word_vectors.write(folder / word_vectors.FILE, listed)

        checkpoint.save_model(Path(out), made.model, source=source, claim=claim, files=beside)
    return notes


def vectors_of(towers: Any, words: Sequence[str], templates: Sequence[str]) -> word_vectors.WordVectors:
    """Each word's vector: mean over the templates of the text tower's unit vectors; neutral: that of no word at all."""
    texts = [template.replace("{}", word) for word in ("", *words) for template in templates]
    rows = towers.embedded([" ".join(text.split()) for text in texts])
    mean = rows.reshape(len(words) + 1, len(templates), -1).mean(axis=1)
    return word_vectors.checked(words, mean[1:], mean[0], "the text tower")


def read_words(path: Path) -> tuple[str, ...]:
    """Words or phrases of a file, one a line, or of a JSON list; empty lines and what follows # are passed over.

    Raises: InputError in one sentence.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return read_class_names(path)
    found = [line for line in _lines(path, "words") if line]
    twice = next((word for place, word in enumerate(found) if word in found[:place]), None)
    if twice is not None:
        raise InputError(f"{path}: {shown(twice)} stands there twice; words must differ")
    if not 1 <= len(found) <= word_vectors.MOST:
        raise InputError(f"{path}: expected 1 to {word_vectors.MOST} words, one a line, found {len(found)}")
    return tuple(found)


def read_templates(path: Path) -> tuple[str, ...]:
    """Captions with {} where a word goes, one a line.

    Raises: InputError in one sentence.
    """
    found = [line for line in _lines(Path(path), "templates") if line]
    wrong = [line for line in found if line.count("{}") != 1]
    if wrong or not 1 <= len(found) <= _MOST_TEMPLATES:
        what = f"{shown(wrong[0])} without one {{}}" if wrong else f"{len(found)} lines"
        raise InputError(f"{path}: expected 1 to {_MOST_TEMPLATES} captions, each with {{}} once, found {what}")
    return tuple(found)


def _lines(path: Path, what: str) -> list[str]:
    try:
        if path.stat().st_size > 1 << 24:
            raise InputError(f"{path}: expected {what}, one a line, found a file of {path.stat().st_size} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: expected {what}, one a line, found none ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected {what} in UTF-8, found another encoding") from None
    return [line.split("#", 1)[0].strip() for line in text.splitlines()]
