"""What can be learnt from the masks painted so far, in the background while more are painted."""

import dataclasses
import functools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linkjax import numerics
from linkjax.analysis.metrics import parts
from linkjax.analysis.segmenters import drawing, labelling, overlap, segmentation
from linkjax.analysis.segmenters.segmentation import UNLABELLED
from linkjax.analysis.segmenters.trainers import LinearHeadTrainer
from linkjax.devices import parallel
from linkjax.errors import InputError, LinkjaxError
from linkjax.ops.chunked import share_of
from linkjax.outside.label.store import Store
from linkjax.storage import artifacts, loading
from linkjax.storage import manifest as manifests

_FOLDS = 3
_PADDED = 4  # the number of masks is filled up to a multiple of it: one compiled program serves a few numbers
_AT_ONCE = 4  # pictures predicted before a look whether a mask was changed meanwhile
_QUIET = 1.5  # seconds without a change before learning begins: a stroke is followed by others


@dataclasses.dataclass(frozen=True)
class Learnt:
    """What the page is told; `prediction` has the pictures.

    `by` is "masks", "segmenter" (the one that was given) or "" where nothing is predicted; `iou` is the mean overlap of
    parts with masks that the predictor has not seen, or None.
    """

    version: int = 0
    by: str = ""
    masks: int = 0
    iou: float | None = None
    next: str | None = None
    said: str = ""


class Learner:
    """Trains a linear head from the masks of a store whenever one was changed, in a thread of its own.

    What it predicts is shown unless a segmenter was given that lies better over the masks than heads do over masks held
    out from them. The picture to paint next is one of which it is least sure, unlike those painted.

    Args:
      store: pictures and masks.
      generator: folder of the generator that drew the pictures; none: the one they name.
      segmenter: folder of a segmenter to begin with, of the same parts; or none.
      quiet: seconds without a change before learning begins.
    Raises: InputError if a model is not at hand, or does not fit.
    """

    def __init__(self, store: Store, generator: str | None = None, segmenter: str | None = None, quiet: float = _QUIET):
        self._store, self._quiet = store, quiet
        made = store.pictures.manifest
        path = generator or str(made["config"]["generator"])
        model, about = loading.load_with_manifest(path, ("generator",))
        artifacts.check_weights(made, "generator", about["sha256"], f"the pictures in {store.pictures.path}")
        self._generator = model.with_precision(made["config"].get("precision", "float32"))
        self._given = None if segmenter is None else _segmenter(segmenter, model, about["sha256"], store.part_names)
        self._trainer = LinearHeadTrainer(parts.linear_spec(model.spec, store.part_names, ()))
        self._w = store.pictures.read("w")
        self._features: dict[str, Any] = {}  # of painted pictures, as heads are trained on them
        self._of_given: dict[str, tuple[np.ndarray, float]] = {}  # predictions of the segmenter given
        self._predicted: dict[str, tuple[np.ndarray, float]] = {}  # labels, and how unsure it is
        self._learnt, self._learning, self._ended = Learnt(), False, False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, name="label: learning", daemon=True)

    def __enter__(self) -> "Learner":
        self._thread.start()
        self.changed()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._wake.set()
        self._thread.join()

    def changed(self) -> None:
        """A mask was stored or removed: learn again."""
        self._wake.set()

    def state(self) -> dict[str, Any]:
        """What was learnt last, and whether more is being learnt."""
        return {**dataclasses.asdict(self._learnt), "learning": self._learning or self._wake.is_set()}

    def prediction(self, stem: str) -> bytes | None:
        """Labels row by row, a byte each; None if nothing is predicted of the picture."""
        found = self._predicted.get(stem)
        return None if found is None else found[0].tobytes()

    def _work(self) -> None:
        with numerics.float32_default():
            while True:
                self._wake.wait()
                self._learning = True
                while not self._ended and self._wake.is_set():  # wait until no stroke has followed for a while
                    self._wake.clear()
                    time.sleep(self._quiet)
                if self._ended:
                    return
                try:
                    self._learn()
                except LinkjaxError as error:
                    self._tell(said=str(error))
                except Exception as error:  # the page goes on, with what was learnt before
                    self._tell(said=f"nothing could be learnt ({type(error).__name__}: {str(error)[:200]})")
                self._learning = False

    def _tell(self, **changes: Any) -> None:
        self._learnt = dataclasses.replace(self._learnt, version=self._learnt.version + 1, **changes)

    def _learn(self) -> None:
        store = self._store
        if self._given is not None and not self._of_given:
            for stems, found in self._predict(self._given, store.stems):
                self._of_given |= dict(zip(stems, found, strict=True))
            if len(self._of_given) < len(store.stems):
                self._of_given = {}
                return
        painted = [stem for stem in store.stems if store.labelled(stem)]
        labels = {stem: store.labels(stem) for stem in painted}
        rest = [stem for stem in store.stems if stem not in labels]
        given = _overlap([labels[each] for each in painted], [self._of_given[each][0] for each in painted],
                         len(store.part_names)) if self._of_given else None  # fmt: skip
        if not painted:
            self._predicted = dict(self._of_given)
            self._tell(
                by="segmenter" if self._of_given else "", masks=0, iou=None, next=self._next(rest, painted), said=""
            )
            return
        head, held_out = self._train(painted, np.stack(list(labels.values())))
        own = self._given is None or (held_out is not None and (given is None or held_out >= given))
        if not own:
            self._predicted = dict(self._of_given)
            self._tell(by="segmenter", masks=len(painted), iou=given, next=self._next(rest, painted), said="")
            return
        predicted: dict[str, Any] = {}
        for stems, found in self._predict(head, [*rest, *painted]):
            predicted |= dict(zip(stems, found, strict=True))
        if len(predicted) == len(store.stems):  # no mask was changed meanwhile
            self._predicted = predicted
            self._tell(by="masks", masks=len(painted), iou=held_out, next=self._next(rest, painted), said="")

    def _train(self, painted: list[str], labels: np.ndarray) -> tuple[Any, float | None]:
        """A head of all masks, and the overlap of heads with masks held out from them, if there are two or more."""
        for stem in painted:
            if stem not in self._features:
                step = functools.partial(drawing.draw_features, trainer=self._trainer)
                drawn = self._over(step, (self._generator,), [stem])
                self._features[stem] = jax.tree.map(lambda each: each[0], drawn["maps"])
        count = -(-len(painted) // _PADDED) * _PADDED
        kept = [self._features[stem] for stem in painted]
        kept += [jax.tree.map(np.zeros_like, kept[0])] * (count - len(painted))
        maps = jax.tree.map(lambda *each: jnp.stack(each), *kept)
        blank = np.full((count - len(painted), *labels.shape[1:]), UNLABELLED)
        used, size = np.arange(count) < len(painted), self._trainer.size
        targets = segmentation.training_targets(
            jnp.asarray(np.concatenate([labels, blank]), jnp.int32), len(self._store.part_names), size
        )
        held_out = None
        if len(painted) > 1:
            fold = np.zeros(count, np.int64)
            fold[used] = overlap.folds_of(len(painted), min(_FOLDS, len(painted)))
            predicted = segmentation.held_out_labels(maps, targets, fold, self._trainer.training, used)
            held_out = _overlap(segmentation.target_labels(targets), predicted, len(self._store.part_names))
        head = segmentation.train_linear(maps, targets, jnp.asarray(used), self._trainer.training)
        return segmentation.linear_segmenter(self._trainer.spec, head), held_out

    def _predict(self, segmenter: Any, stems: Any) -> Iterator[tuple[list[str], list[tuple[np.ndarray, float]]]]:
        """Labels and uncertainty of pictures, a few at a time; ends early where a mask is changed meanwhile."""
        for start in range(0, len(stems), _AT_ONCE):
            if self._wake.is_set():
                return
            some = list(stems[start : start + _AT_ONCE])
            found = self._over(drawing.draw_labels, (self._generator, segmenter), some)
            yield some, list(zip(found["labels"], np.nan_to_num(found["uncertainty"]).tolist(), strict=True))

    def _over(self, step: Any, models: Any, stems: list[str]) -> Any:
        """A program over a few pictures."""
        on = parallel.local_mesh()
        rows = [self._store.stems.index(stem) for stem in stems]
        size, share = parallel.round_up(_AT_ONCE, on), share_of(self._generator.spec.resolution)
        return parallel.map_items(step, parallel.replicate(models, on), {"w": self._w[rows]}, size, on, share=share)

    def _next(self, rest: list[str], painted: list[str]) -> str | None:
        """The picture to paint next, if anything is predicted of one that is not painted."""
        if not rest or not self._predicted:
            return None
        rows, done = ([self._store.stems.index(stem) for stem in stems] for stems in (rest, painted))
        unsure = np.array([self._predicted[stem][1] for stem in rest])
        [best] = labelling.suggest(unsure, self._w[rows], self._w[done], 1)
        return rest[int(best)]


def _segmenter(path: str, generator: Any, sha256: str, names: tuple[str, ...]) -> Any:
    """A segmenter of these parts on this generator's features."""
    model, about = loading.load_with_manifest(path, ("segmenter", "linear_segmenter"))
    parts.check_fit(generator.spec, model.spec)
    made_with = {"weights": (about.get("source") or {}).get("weights") or {}}
    artifacts.check_weights(made_with, "generator", sha256, f"the segmenter in {path}")
    found = part_names(path)
    if found != names:
        raise InputError(f"segmenter: expected one of the parts {', '.join(names)}, found {', '.join(found)}")
    return model


def part_names(segmenter: str) -> tuple[str, ...]:
    """Names of the parts of a segmenter in a folder; numbers where it has none."""
    spec = manifests.read(Path(segmenter), ("segmenter", "linear_segmenter"))["spec"]
    return tuple(spec.get("part_names") or (f"part {label}" for label in range(int(spec["num_parts"]))))


def _overlap(labels: Any, predicted: Any, num_parts: int) -> float | None:
    """Mean intersection over union of parts; None where there is none to tell."""
    if not len(labels):
        return None
    counts = overlap.confusion(jnp.asarray(np.stack(labels)), jnp.asarray(np.stack(predicted)), num_parts)
    return overlap.mean_of_parts(overlap.intersection_over_union(np.asarray(counts)))
