"""The command line: `linkjax COMMAND [--config FILE.toml] [--flag value …] --out DIR`.

Exit codes: 0 done, 2 wrong use or unusable input, 1 failed; the reason is one line on standard error. 141, without a
word, if whoever read what is printed left before the end (`| head -1`), as shells say it of other programs.
"""

import dataclasses
import importlib
import importlib.metadata
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import tyro
from tyro.conf import Positional

from linkjax import config as configs
from linkjax.devices import cluster, surroundings
from linkjax.devices.cluster import joining
from linkjax.errors import NO_ROOM, InputError, LinkjaxError
from linkjax.models.classifier_spec import Pool
from linkjax.ops.resize import Interpolation
from linkjax.stages import PIPELINE, settings_of_stages

READER_LEFT = 128 + 13  # what a shell says of a program that SIGPIPE ended


@dataclasses.dataclass(frozen=True)
class ConvertGenerator:
    """Convert a StyleGAN-XL or StyleGAN3 pickle; it is read as data, nothing in it is run."""

    src: Positional[Path]
    """The .pkl file, as its authors saved it."""
    out: Positional[Path]
    """Folder to make."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """How a network wants its images."""

    preprocessing: Path | None = None
    """File that says how images are prepared: config.json of timm, preprocessor_config.json of Hugging Face."""
    resize: int | None = None
    """Shorter side in pixels that images get, 0: none. This and what follows comes before the file; without either it
    is as in torchvision's first ImageNet weights: 256, 224, bilinear, their mean and std, RGB in 0 … 1."""
    crop: int | None = None
    """Side of the central square that is kept, in pixels, 0: all."""
    interpolation: Interpolation | None = None
    """Filter of the resize."""
    mean: tuple[float, float, float] | None = None
    """Subtracted from values in --range, per channel in the order of --channels."""
    std: tuple[float, float, float] | None = None
    """… which are then divided by this."""
    channels: Literal["rgb", "bgr"] | None = None
    """Order of the channels in which the network takes them."""
    range: tuple[float, float] | None = None
    """What the bytes 0 and 255 are before mean and std: 0 1, 0 255, -1 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Images(Seen):
    """How a classifier wants its images, and what its classes are called."""

    class_names: Path | None = None
    """File of the classes' names: one a line, or JSON."""


@dataclasses.dataclass(frozen=True)
class ConvertClassifier(Images):
    """Convert the weights of a torchvision classifier (.pth, .safetensors), read as data: nothing in them is run."""

    src: Positional[Path]
    """The .pth or .safetensors file."""
    out: Positional[Path]
    """Folder to make."""
    arch: str
    """Architecture: resnet18|34|50|101|152, wide_resnet50_2|101_2, resnext50_32x4d|101_32x8d|101_64x4d, vgg11|13|16|19
    (also with _bn), alexnet, densenet121|161|169|201, ipirm_resnet50."""
    features: Literal["penultimate", "original"] = "penultimate"
    """Which activations are r: the input of the last layer, or what the original program took (C,H,W flattened)."""
    key: str | None = None
    """Which of the file's networks: its key in the file, such as state_dict_ema, or the prefix of its names; none: the
    one as trained."""
    headless: bool = False
    """Leave the last layer out, or do without where there is none: no class scores."""


@dataclasses.dataclass(frozen=True)
class ConvertModule(Images):
    """Convert any PyTorch image classifier by torch.export: your function runs once, here; what is kept is data."""

    src: Positional[str]
    """PACKAGE.MODULE:FUNCTION (it returns the torch.nn.Module), timm:NAME, torchvision:NAME, or hf:FOLDER of a model of
    Hugging Face on this disk. Nothing is fetched."""
    out: Positional[Path | None] = None
    """Folder to make."""
    weights: Path | None = None
    """The network's own state dict (.pth, .safetensors), read as data; timm: and torchvision: need it."""
    key: str | None = None
    """Which of the file's networks, by its key in the file; none: the one as trained."""
    layer: str | None = None
    """Which layer is r: the path of a module, such as blocks.6.mlp.fc2; none: the input of the last layer."""
    pool: Pool | None = None
    """How r is had from a layer with positions: their mean or max, the first token (cls), the mean of all other tokens
    (tokens), or all values (none)."""
    headless: bool = False
    """The network gives features, not class scores; without --layer they are r."""
    list_layers: bool = False
    """Only print the layers and the shapes of what they give."""
    input_size: int | None = None
    """Side in pixels of what the network sees, where --resize and --crop leave it open."""


@dataclasses.dataclass(frozen=True)
class ConvertEmbedder(Seen):
    """Convert an image-text model (CLIP, SigLIP) you have as files, and the vectors of a list of words, for name."""

    src: Positional[str]
    """hf:FOLDER of a CLIPModel, SiglipModel … of Hugging Face (safetensors, tokenizer) on this disk, open_clip:FOLDER,
    open_clip:NAME with --weights, or PACKAGE.MODULE:FUNCTION, which returns (image tower, function of a list of texts).
    Nothing is fetched."""
    out: Positional[Path]
    """Folder to make."""
    words: Path
    """File of words or phrases that units may be called, one a line: long legs, a red coat …"""
    templates: Path | None = None
    """File of captions, one a line, with {} where the word goes; a word's vector is the mean over them. None: "{}",
    "a photo of {}", "a picture of {}"."""
    weights: Path | None = None
    """State dict (.pth, .safetensors), read as data; open_clip:NAME needs it."""
    key: str | None = None
    """Which of the file's networks, by its key in the file; none: the one as trained."""
    input_size: int | None = None
    """Side in pixels of what the image tower sees, where --resize and --crop leave it open."""


@dataclasses.dataclass(frozen=True)
class ConvertSegmenter:
    """Convert a state dict of the few-shot segmentation network."""

    src: Positional[Path]
    """The .pth file."""
    out: Positional[Path]
    """Folder to make."""
    size: Literal["S", "M", "L"]
    """Which of the three networks it is."""


@dataclasses.dataclass(frozen=True)
class EveryStage:
    """Flags that every stage has."""

    config: Path | None = None
    """TOML file of the experiment, a table for each stage; flags win over it. Paths in it count from the file."""
    coordinator: str | None = None
    """HOST:PORT where process 0 of several listens; else LINKJAX_COORDINATOR, or as Slurm, Open MPI or GKE tells."""
    processes: str | None = None
    """How many processes there are, or auto; else LINKJAX_PROCESSES."""
    process: int | None = None
    """Which of them this is, from 0; else LINKJAX_PROCESS."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    surroundings.forgive_streams()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(arguments)
    except BaseException as error:  # ours to fix: the traceback says where
        cluster.wait_for_lost_process(error)
        if cluster.count() > 1:  # `jax.distributed.shutdown` would block: it waits for the others
            print(f"linkjax: {cluster.process_prefix()}failed", file=sys.stderr)
            traceback.print_exc()
            return cluster.leave(1)
        raise
    surroundings.unheard()  # of work that is done a reader who left changes nothing
    return cluster.leave(code)


def _run(arguments: list[str]) -> int:
    try:
        return _dispatch(arguments)
    except LinkjaxError as error:
        if not error.already_reported:
            print(f"linkjax: {cluster.process_prefix()}{error}", file=sys.stderr)
        return error.exit_code
    except SystemExit as stop:  # tyro: 0 after --help, 2 on wrong flags; rich: 1 where a reader left
        if isinstance(stop.__context__, BrokenPipeError):
            return READER_LEFT
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt:
        print("linkjax: stopped; the same command goes on where it was", file=sys.stderr)
        return 1
    except (OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError) and surroundings.unheard():
            return READER_LEFT
        print(f"linkjax: {cluster.process_prefix()}{_failure(error)}", file=sys.stderr)
        return 1


def _failure(error: OSError | MemoryError) -> str:
    """One sentence for what the system refused."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        where = f" for {error.filename}" if error.filename else ""
        return f"no room on the disk{where} ({error.strerror}); make some and repeat this: what was finished is kept"
    return f"failed: {error or type(error).__name__}"


def _dispatch(arguments: list[str]) -> int:
    commands: dict[str, Callable[[list[str]], None]] = {
        "atlas": _atlas,
        "convert": _convert,
        "demo": _demo,
        "doctor": _doctor,
        "label": _label,
        "run": _experiment,
        **{stage.name: lambda rest, stage=stage: _stage(stage.name, rest) for stage in PIPELINE},
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        _print_help()
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(importlib.metadata.version("linkjax"))
        return 0
    command = arguments[0]
    if command not in commands:
        raise InputError(f"unknown command '{command}'{configs.nearest(command, commands)}; see linkjax --help")
    if not {"-h", "--help"} & set(arguments):  # help starts no device
        from linkjax.devices import compile_cache

        surroundings.allow_nans()
        compile_cache.enable()
    try:
        commands[command](arguments[1:])
    except (RuntimeError, AssertionError):
        surroundings.check_devices()  # the sentence for it, if this is why; not before, or a job could not be joined
        raise
    return 0


def _stage(name: str, arguments: list[str]) -> None:
    module = next(stage for stage in PIPELINE if stage.name == name).module
    settings: dict[str, object] = {}
    file, arguments = _joined(arguments)
    if file is not None:
        # a plan is of the other stages, so it reads their tables too
        settings = configs.read_toml(file, name, settings_of_stages(), alone=name != "plan")
        if name == "plan":
            settings["experiment"] = str(file.absolute())
    module.run(configs.from_command_line(module.Config, arguments, settings, f"linkjax {name}", EveryStage))


def _experiment(arguments: list[str]) -> None:
    from linkjax.commands import experiment

    file, arguments = _joined(arguments)
    settings = {} if file is None else {"experiment": str(file)}
    experiment.run(configs.from_command_line(experiment.Config, arguments, settings, "linkjax run", EveryStage))


def _joined(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """Take the flags of every stage and join the job they tell of; the experiment's file, and what flags are left."""
    given, arguments = joining.take_flags(arguments)
    if cluster.count() == 1 and not {"-h", "--help"} & set(arguments):
        job = joining.find(given)
        if job is not None:
            cluster.join(job)
    return _take_config(arguments)


def _take_config(arguments: list[str]) -> tuple[Path | None, list[str]]:
    for index, word in enumerate(arguments):
        if word.startswith("--config="):
            return Path(word.removeprefix("--config=")), arguments[:index] + arguments[index + 1 :]
        if word == "--config":
            if index + 1 == len(arguments):
                raise InputError("--config: expected a TOML file after it, found nothing")
            return Path(arguments[index + 1]), arguments[:index] + arguments[index + 2 :]
    return None, arguments


def _convert(arguments: list[str]) -> None:
    kinds = {
        "generator": ConvertGenerator,
        "classifier": ConvertClassifier,
        "module": ConvertModule,
        "embedder": ConvertEmbedder,
        "segmenter": ConvertSegmenter,
    }
    if arguments and arguments[0] in ("-h", "--help"):
        print("usage: linkjax convert KIND FILE OUT [--flag value …]\n")
        for kind, cls in kinds.items():
            print(f"  {kind:12}{(cls.__doc__ or '').splitlines()[0]}")
        print("\nlinkjax convert KIND --help tells more")
        return
    if not arguments or arguments[0] not in kinds:
        wrong = f", found '{arguments[0]}'{configs.nearest(arguments[0], kinds)}" if arguments else ""
        raise InputError(f"linkjax convert: expected {', '.join(kinds)}{wrong}; add --help to one of them")
    cls = kinds[arguments[0]]
    parsed = tyro.cli(cls, args=arguments[1:], prog=f"linkjax convert {arguments[0]}")
    module = importlib.import_module(f"linkjax_converters.{arguments[0]}")
    options = dataclasses.asdict(parsed)
    notes = getattr(module, f"convert_{arguments[0]}")(options.pop("src"), options.pop("out"), **options)
    for note in notes:
        print(note)
    if not getattr(parsed, "list_layers", False):
        print(f"wrote {parsed.out}")


def _demo(arguments: list[str]) -> None:
    from linkjax.demo import run

    run.run(configs.from_command_line(run.Config, arguments, {}, prog="linkjax demo"))


def _doctor(arguments: list[str]) -> None:
    from linkjax.commands import doctor

    if {"-h", "--help"} & set(arguments):
        print("usage: linkjax doctor [FOLDER …]\n\n" + (doctor.__doc__ or ""))
        return
    if flags := [word for word in arguments if word.startswith("-")]:
        raise InputError(f"linkjax doctor: expected folders of models and no flags, found {' '.join(flags)}")
    doctor.run(tuple(map(Path, arguments)))


def _atlas(arguments: list[str]) -> None:
    from linkjax.atlas import run

    if arguments and not arguments[0].startswith("-"):
        arguments = ["--run", *arguments]
    run.run(configs.from_command_line(run.Config, arguments, {}, prog="linkjax atlas"))


def _label(arguments: list[str]) -> None:
    from linkjax.outside.label import run

    run.run(configs.from_command_line(run.Config, arguments, {}, prog="linkjax label"))


def _print_help() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="linkjax COMMAND --help tells more", title_justify="left", box=None, pad_edge=False)
    table.add_column("command")
    table.add_column("what it does")
    table.add_row("demo", "the whole job on the embedded default, offline")
    table.add_row("atlas", "all units of a run with pictures and numbers, in a folder that a browser opens from disk")
    table.add_row("doctor", "this installation: versions, devices, memory, and a self-check against stored numbers")
    table.add_row("label", "paint masks over generated pictures, in a browser on this machine")
    table.add_row("convert generator", "read a StyleGAN-XL or StyleGAN3 .pkl as data")
    table.add_row("convert classifier", "read a torchvision .pth or .safetensors as data")
    table.add_row(
        "convert module", "any PyTorch classifier, exported once: yours, timm's, torchvision's, Hugging Face's"
    )
    table.add_row("convert embedder", "an image-text model you have (CLIP, SigLIP) and the vectors of a list of words")
    table.add_row("convert segmenter", "read a few-shot segmentation .pth")
    table.add_row("run", "all stages of an experiment in one folder, from pairs to the page; goes on where it was")
    for stage in PIPELINE:
        table.add_row(stage.name, stage.does)
    Console().print("usage: linkjax COMMAND [--config FILE.toml] [--flag value …] --out DIR\n", highlight=False)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
