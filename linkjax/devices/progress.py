"""Progress of long stages on standard error: done, total, rate and time left."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from linkjax.devices import cluster


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.2f}/s" if task.speed else "", style="progress.data.speed")


_SHARED: list[Progress] = []  # of a run of several stages


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar for `total` items of `what`; call the given function with how many more are done.

    Within `view` it is one of the view's bars, as long as it lasts. Of several processes only process 0 shows it.
    """
    if _SHARED:
        bar = _SHARED[-1]
        task = bar.add_task(what, total=total)
        try:
            yield lambda count: bar.advance(task, count)
        finally:
            bar.remove_task(task)
        return
    with _bars() as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def view(stages: int) -> Iterator[Callable[[str], None]]:
    """One view of a run of several stages: how many are done, and the bars of the one at work.

    Call the given function with the name of the stage that begins.
    """
    with _bars() as bar:
        _SHARED.append(bar)
        task, begun = bar.add_task("stages", total=stages), 0

        def begin(name: str) -> None:
            nonlocal begun
            bar.update(task, description=name, completed=begun)
            begun += 1

        try:
            yield begin
            bar.update(task, description="stages", completed=stages)
        finally:
            _SHARED.pop()


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    # What stages print goes where it went before, also while the bars are drawn.
    return Progress(
        *columns,
        console=_console(),
        refresh_per_second=2,
        redirect_stdout=sys.stdout.isatty(),
    )


def _console() -> Console:
    """Standard error; a notebook without ipywidgets gets the finished bar alone, where rich would warn at each."""
    quiet = not cluster.first()
    console = Console(file=sys.stderr, quiet=quiet)
    if console.is_jupyter and find_spec("ipywidgets") is None:
        return Console(file=sys.stderr, quiet=quiet, force_jupyter=False, force_terminal=False)
    return console
