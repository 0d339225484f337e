"""PyTorch networks as graphs, held against PyTorch."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linkjax
from linkjax import cli
from linkjax.commands import doctor
from linkjax.errors import ConversionError, InputError, LinkjaxError
from linkjax.models.graph import reference
from linkjax_converters.classifier import classifier_from_state_dict
from tests.tolerances import BATCHING, GRAPH, GRAPH_GRADIENT

torch = pytest.importorskip("torch")

from linkjax_converters.graph.imported import import_module  # noqa: E402
from tests.reference import torch_classifiers  # noqa: E402
from tests.reference import torch_families as families  # noqa: E402

SIDE = (families.SIDE, families.SIDE)
FACTORY = "tests.reference.torch_families:factory"
#: A module of each family whose maps or tokens are looked at too: [batch, channels, …] in PyTorch, or channels last.
TAPS = {
    "Residual": "block.2",
    "ConvNeXt": "mix",
    "ViT": "mlp.1",
    "Rotary": "gate",
    "Windows": "patch",
    "Mixer": "channels",
    "Squeezing": "deep",
    "Odds": "mix",
}
MAPS = {"Residual", "ConvNeXt", "Windows", "Squeezing", "Odds"}


def images(count, seed=1):
    return np.random.default_rng(seed).standard_normal((count, *SIDE, 3)).astype(np.float32)


def to_torch(x):
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def error(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def made():
    kept = {}

    def make(name):
        if name not in kept:
            network = families.make(name)
            kept[name] = network, import_module(network, SIDE)
        return kept[name]

    return make


@pytest.mark.parametrize("name", families.FAMILIES)
def test_an_imported_network_gives_pytorchs_numbers_gradients_and_layers(made, name):
    network, imported = made(name)
    model, x = imported.model, images(3)
    seen = []
    handle = network.get_submodule(TAPS[name]).register_forward_hook(
        lambda *three: seen.append(three[2].detach().clone())
    )
    given = to_torch(x).requires_grad_()
    logits = network(given)
    handle.remove()
    weights = np.random.default_rng(2).standard_normal(logits.shape).astype(np.float32)
    (logits * torch.from_numpy(weights)).sum().backward()

    def scored(x, leaves):
        found = model_with(model, leaves)(x, taps=(TAPS[name],))
        return (found.logits * weights).sum(), found

    leaves = jax.tree.leaves(model)
    both = jax.value_and_grad(scored, (0, 1), has_aux=True, allow_int=True)
    (_, found), (slope, by_leaf) = both(jnp.asarray(x), leaves)
    assert error(found.logits, logits.detach()) < GRAPH
    assert error(slope, given.grad.numpy().transpose(0, 2, 3, 1)) < GRAPH_GRADIENT
    expected = seen[0].numpy().transpose(0, 2, 3, 1) if name in MAPS else seen[0].numpy()
    assert error(found.stages[TAPS[name]], expected) < GRAPH
    assert found.penultimate.shape == (3, model.spec.num_units)
    np.testing.assert_allclose(model.head(found.penultimate), found.logits, rtol=1e-5, atol=1e-6)
    kernel = model.head_kernel
    assert kernel is not None and kernel.shape == (model.spec.num_units, families.CLASSES)
    bias = network.head.bias.detach().numpy()
    np.testing.assert_allclose(
        np.asarray(found.penultimate) @ np.asarray(kernel) + bias, found.logits, rtol=1e-5, atol=1e-5
    )
    head = next(each for each in by_leaf if each.shape == kernel.shape)
    assert error(head, network.head.weight.grad.numpy().T) < GRAPH_GRADIENT
    assert reference.deviations(model, imported.reference) == imported.errors


def model_with(model, leaves):
    return jax.tree.unflatten(jax.tree.structure(model), leaves)


def test_every_layer_can_be_r_and_the_network_runs_on_from_it(made):
    network, _ = made("ViT")
    x = jnp.asarray(images(2))
    for layer, pool in (("mlp.1", "mean"), ("before", "tokens"), ("mlp.3", "cls"), ("patch", "max"), ("patch", "none")):
        model = import_module(network, SIDE, layer=layer, pool=pool).model
        found = model(x)
        if pool == "none":  # all of what the rest of the network sees
            assert error(model.head(found.penultimate), found.logits) < GRAPH
        else:
            with pytest.raises(InputError, match="expected the images"):
                model.head(found.penultimate)
        assert model.head_kernel is None
        assert error(model.head(found.penultimate, x), found.logits) < GRAPH
        by = np.random.default_rng(3).standard_normal(found.penultimate.shape).astype(np.float32)
        expected = edited(network, layer, lambda value, by=by, pool=pool: value + step(by, value, pool), x)
        assert error(model.head(found.penultimate + by, x), expected) < GRAPH
        assert error(found.logits, expected) > 1e-3


def edited(network, layer, edit, x):
    """Class scores in PyTorch where a layer's value is edited."""
    handle = network.get_submodule(layer).register_forward_hook(lambda *three: edit(three[2]))
    scores = network(to_torch(np.asarray(x))).detach()
    handle.remove()
    return scores


def step(by, value, pool):
    """What is added to a layer's value in PyTorch so that its pooled value moves by so much."""
    by = torch.from_numpy(by)
    if value.ndim == 4:  # [B, C, H, W]
        return by.reshape(len(by), 4, 4, -1).permute(0, 3, 1, 2) if pool == "none" else by[:, :, None, None]
    seen = torch.ones(value.shape[1], dtype=torch.bool)
    if pool != "mean":
        seen = torch.arange(value.shape[1]) == 0 if pool == "cls" else torch.arange(value.shape[1]) > 0
    return by[:, None] * seen[None, :, None]


def test_what_is_not_known_is_refused_all_at_once_with_its_modules():
    class Strange(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cube, self.head = torch.nn.Conv3d(3, 4, 1), torch.nn.Linear(4, 5)

        def forward(self, x):
            x = self.cube(x[:, :, None])[:, :, 0]
            return self.head(torch.fft.fft(x).real.mean((2, 3)) + torch.cumsum(x, 1).mean((2, 3)))

    with pytest.raises(ConversionError) as refused:
        import_module(Strange(), SIDE)
    assert "conv3d: 1 times, first in cube" in str(refused.value)


def test_numbers_become_truth_values():
    """As EdgeNeXt's masks of where there is an image do."""

    class Masked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(3, 5)

        def forward(self, x):
            seen, whole = torch.relu(x).to(torch.bool), (x > 0).float().bool()
            place = (~whole).cumsum(2, dtype=torch.float32) / 10
            return self.head(torch.where(seen, x, place).mean((2, 3)))

    x = torch.randn(3, 3, *SIDE, generator=torch.manual_seed(0))
    net = Masked().eval()
    found = import_module(net, SIDE).model(jnp.asarray(x.permute(0, 2, 3, 1).numpy()))
    with torch.no_grad():
        assert error(found.logits, net(x).numpy()) < BATCHING


def test_single_numbers_stay_single_numbers():
    """A parameter without axes, and a constant filled up to the batch, as EdgeNeXt's mask begins."""

    class Single(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.head = torch.nn.Parameter(torch.tensor(1.5)), torch.nn.Linear(3, 5)

        def forward(self, x):
            mask = torch.zeros((x.shape[0], *x.shape[2:])).bool()
            seen = (~mask).cumsum(1, dtype=torch.float32)[:, None]
            return self.head((self.scale.exp() * x + seen / 10).mean((2, 3)))

    x = torch.randn(3, 3, *SIDE, generator=torch.manual_seed(0))
    net = Single().eval()
    found = import_module(net, SIDE).model(jnp.asarray(x.permute(0, 2, 3, 1).numpy()))
    with torch.no_grad():
        assert error(found.logits, net(x).numpy()) < BATCHING


def test_a_network_that_depends_on_its_numbers_has_no_graph():
    class Deciding(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))

    with pytest.raises(ConversionError, match="export has no graph"):
        import_module(Deciding(), SIDE)


def test_a_users_function_becomes_a_classifier_that_needs_no_pytorch(tmp_path, capsys, monkeypatch):
    """The command, with weights from a file, classes by name, and the numbers checked later."""
    own = {name: array.numpy() for name, array in families.make("ViT", seed=5).state_dict().items()}
    torch.save({name: torch.from_numpy(array) for name, array in own.items()}, tmp_path / "own.pth")
    (tmp_path / "names.txt").write_text("\n".join("abcde"))
    source, out = FACTORY, tmp_path / "vit"
    given = ["--weights", str(tmp_path / "own.pth"), "--resize", "18", "--crop", "16", "--mean", "0.5", "0.5", "0.5"]
    assert cli.main(["convert", "module", source, "--list-layers", *given]) == 0
    assert "mlp.1  [batch, 17, 32]" in capsys.readouterr().out
    assert cli.main(["convert", "module", source, str(out), *given, "--class-names", str(tmp_path / "names.txt")]) == 0
    said = capsys.readouterr().out
    assert "r: 16 values" in said and "5 class scores" in said and f"wrote {out}" in said
    model = linkjax.load(out, check=True)
    assert model.spec.class_names == tuple("abcde") and model.spec.preprocessing.mean == (0.5, 0.5, 0.5)
    x = images(2)
    assert error(model(jnp.asarray(x)).logits, families.make("ViT", seed=5)(to_torch(x)).detach()) < GRAPH
    assert "r within" in doctor.check(out)
    with np.load(out / reference.FILE) as kept:
        numbers = dict(kept)
    np.savez(out / reference.FILE, **{**numbers, "r": numbers["r"] * np.float32(1.01)})
    with pytest.raises(LinkjaxError, match="of the largest value from those"):
        linkjax.load(out, check=True)
    assert linkjax.load(out).spec == model.spec


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["timm:resnet18", "out"], "expected --weights FILE"),
        (["torchvision:resnet18", "out"], "expected --weights FILE"),
        (["resnet18.pth", "out"], "expected PACKAGE.MODULE:FUNCTION"),
        (["hf:nowhere", "out"], "hf:nowhere"),
        (["no.such.module:make", "out"], "cannot be imported here"),
        (["tests.reference.torch_families:nothing", "out"], "there is no 'nothing'"),
        (["tests.reference.torch_families:SIDE", "out"], "failed before there was a network"),
        ([FACTORY, "out", "--layer", "mlp.9", "--crop", "16"], "found 'mlp.9'; near it"),
        ([FACTORY, "out", "--layer", "mlp.1", "--crop", "16"], "with --pool mean, max"),
        ([FACTORY, "out", "--layer", "patch", "--pool", "cls", "--crop", "16"], "of tokens"),
        ([FACTORY, "out", "--resize", "0", "--crop", "0"], "--input-size"),
        ([FACTORY], "expected a folder to make"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_sentence_and_nothing_is_written(arguments, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    assert cli.main(["convert", "module", *arguments]) == 2
    message = capsys.readouterr().err
    assert says in message and message.count("\n") == 1, message
    assert not list(tmp_path.iterdir())


def test_the_hand_written_network_and_the_imported_one_give_the_same_numbers():
    """From one state dict, both ways."""
    plain = torch_classifiers.randomise(torch_classifiers.build("resnet18", divisor=16, classes=7), seed=0)
    arrays = {name: tensor.numpy() for name, tensor in plain.state_dict().items()}
    own, imported = classifier_from_state_dict(arrays, "resnet18"), import_module(plain, (40, 40)).model
    x = jnp.asarray(np.random.default_rng(4).standard_normal((3, 40, 40, 3)), jnp.float32)
    one, other = own(x, stages=True), imported(x, taps=("layer2", "layer4"))
    assert error(other.logits, one.logits) < BATCHING and error(other.penultimate, one.penultimate) < BATCHING
    for stage, value in other.stages.items():
        assert error(value, one.stages[stage]) < BATCHING
    np.testing.assert_array_equal(imported.head_kernel, own.head_kernel)
