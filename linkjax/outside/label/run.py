"""`linkjax label`: open the page, serve it until it is stopped."""

import contextlib
import dataclasses
import webbrowser
from pathlib import Path
from typing import Literal

from linkjax import numerics
from linkjax.config import PathName
from linkjax.errors import InputError
from linkjax.outside.label.learning import Learner, part_names
from linkjax.outside.label.server import Server
from linkjax.outside.label.store import UNLABELLED, Store
from linkjax.storage import manifest as manifests
from linkjax.storage.claim import held


@dataclasses.dataclass(frozen=True)
class Config:
    """Paint masks over the pictures of `linkjax segment --draw`, in a browser on this machine."""

    pictures: PathName
    """Folder that `linkjax segment --draw` made."""
    masks: PathName
    """Folder for the masks, made if missing; `linkjax segment --masks` reads it."""
    part_names: tuple[str, ...] = ()
    """Names by label, the background first; those of parts.txt in the folder of masks if not given."""
    unpainted: Literal["background", "unlabelled"] = "background"
    """What a pixel is that nobody painted: background, or not labelled, so that it does not count."""
    learn: bool = True
    """Train a linear head from the masks in the background whenever one was changed, and show what it predicts, how far
    that agrees with masks it has not seen, and which picture to paint next."""
    segmenter: PathName | None = None
    """Folder of a segmenter of the same parts whose prediction painting begins with; its names are taken if none are
    given."""
    generator: PathName | None = None
    """Folder of the generator that drew the pictures; none: the one they were drawn with."""
    port: int = 0
    """Port on 127.0.0.1; 0 takes a free one."""
    open: bool = True
    """Open the page in the browser; the address is printed either way."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise InputError(f"port: expected a number from 0 to 65535, found {self.port}")
        if self.segmenter is not None and not self.learn:
            raise InputError("segmenter: expected none with --no-learn, which predicts nothing")


@numerics.float32_default()
def run(config: Config) -> None:
    """Serve until Ctrl-C; every stroke is stored when it ends."""
    names = config.part_names or (() if config.segmenter is None else part_names(config.segmenter))
    unpainted = UNLABELLED if config.unpainted == "unlabelled" else 0
    store = Store(Path(config.pictures), Path(config.masks), names, unpainted)
    advice = "close it first, or give another --masks"
    with contextlib.ExitStack() as stack:
        stack.enter_context(held(store.folder, advice))
        learner = _learner(config, store)
        server = stack.enter_context(Server(store, config.port, learner))
        if learner is not None:
            stack.enter_context(learner)
        print(f"paint at {server.url}\nmasks go to {store.folder}; stop with Ctrl-C", flush=True)
        if config.open:
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(server.url)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    done = sum(store.labelled(stem) for stem in store.stems)
    print(f"{done} of {len(store.stems)} pictures have a mask")


def _learner(config: Config, store: Store) -> Learner | None:
    """What learns from the masks; none where the generator that drew the pictures is not at hand, which is said."""
    if not config.learn:
        return None
    drawn_by = Path(str(store.pictures.manifest["config"].get("generator") or "."))
    if config.generator is None and config.segmenter is None and not (drawn_by / manifests.FILE).is_file():
        print(f"no generator in {drawn_by}, so nothing is predicted; give the one of the pictures with --generator")
        return None
    return Learner(store, config.generator, config.segmenter)
