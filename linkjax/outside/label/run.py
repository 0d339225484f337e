"""`linkjax label`: open the page, serve it until it is stopped."""

import contextlib
import dataclasses
import webbrowser
from pathlib import Path

from linkjax import numerics
from linkjax.config import PathName
from linkjax.errors import InputError
from linkjax.outside.label.server import Server
from linkjax.outside.label.store import Store
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
    port: int = 0
    """Port on 127.0.0.1; 0 takes a free one."""
    open: bool = True
    """Open the page in the browser; the address is printed either way."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise InputError(f"port: expected a number from 0 to 65535, found {self.port}")


@numerics.float32_default()
def run(config: Config) -> None:
    """Serve until Ctrl-C; every stroke is stored when it ends."""
    store = Store(Path(config.pictures), Path(config.masks), config.part_names)
    advice = "close it first, or give another --masks"
    with held(store.folder, advice), Server(store, config.port) as server:
        print(f"paint at {server.url}\nmasks go to {store.folder}; stop with Ctrl-C", flush=True)
        if config.open:
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(server.url)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    done = sum(store.labelled(stem) for stem in store.stems)
    print(f"{done} of {len(store.stems)} pictures have a mask")
