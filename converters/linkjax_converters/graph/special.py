"""PyTorch's operations whose arguments have more to them than names."""

from typing import Any

from linkjax_converters.graph.aten import Constant, Made, Refused, Same, Special


def _shape(node: Any) -> tuple[Any, ...]:
    return tuple(node.meta["val"].shape)


def _rank(node: Any) -> int:
    return len(_shape(node))


def _cast(node: Any, given: dict[str, Any]) -> Made | Same:
    """A change of type: none, from whole numbers or truths to fractions, or from numbers to whether they are not 0."""
    import torch

    before, after = given["input"].meta["val"].dtype, node.meta["val"].dtype
    if before == after or (before.is_floating_point and after == torch.float32):
        return Same(given["input"])
    if after == torch.float32 and before == torch.bool:
        return Made("where", {"condition": given["input"], "input": 1.0, "other": 0.0})
    if after == torch.float32:
        return Made("multiply", {"input": given["input"], "other": 1.0})
    if after == torch.bool:
        return Made("not_equal", {"input": given["input"], "other": 0.0 if before.is_floating_point else 0})
    raise Refused(f"from {before} to {after}")


def _not(node: Any, given: dict[str, Any]) -> Made:
    """Truth values turned round; the bits of whole numbers are no operation here."""
    import torch

    if node.meta["val"].dtype != torch.bool:
        raise Refused("of whole numbers")
    return Made("logical_not", {"input": given["input"]})


def _transpose(node: Any, given: dict[str, Any]) -> Made:
    rank = _rank(node)
    dims = list(range(rank))
    names = ("dim0", "dim1") if "dim0" in given else ("axis0", "axis1")
    one, other = (given[name] % rank for name in names)
    dims[one], dims[other] = dims[other], dims[one]
    return Made("permute", {"input": given["input"], "dims": tuple(dims)})


def _t(node: Any, given: dict[str, Any]) -> Made | Same:
    rank = _rank(node)
    return Made("permute", {"input": given["input"], "dims": (1, 0)}) if rank == 2 else Same(given["input"])


def _movedim(node: Any, given: dict[str, Any]) -> Made:
    rank = _rank(node)
    source, target = (
        [each % rank for each in (value if isinstance(value, list | tuple) else [value])]
        for value in (given["source"], given["destination"])
    )
    dims = [axis for axis in range(rank) if axis not in source]
    for to, axis in sorted(zip(target, source, strict=True)):
        dims.insert(to, axis)
    return Made("permute", {"input": given["input"], "dims": tuple(dims)})


def _slice(node: Any, given: dict[str, Any]) -> Made | Same:
    shape, dim = _shape(given["input"]), given["dim"] % _rank(node)
    if _shape(node) == shape:
        return Same(given["input"])
    size = shape[dim]
    if not isinstance(size, int):
        raise Refused("of a part of the images")
    start, end = given["start"] or 0, size if given["end"] is None else given["end"]
    if not isinstance(start, int) or not isinstance(end, int):
        raise Refused("of a length that grows with the batch")
    start, end = (min(max(each + size if each < 0 else each, 0), size) for each in (start, end))
    return Made("slice", {"input": given["input"], "dim": dim, "start": start, "end": max(start, end),
                          "step": given["step"]})  # fmt: skip


def _select(node: Any, given: dict[str, Any]) -> Made:
    shape = _shape(given["input"])
    dim = given["dim"] % len(shape)
    if not isinstance(shape[dim], int):
        raise Refused("of one of the images")
    return Made("select", {"input": given["input"], "dim": dim, "index": given["index"] % shape[dim]})


def _expand(node: Any, given: dict[str, Any]) -> Made | Same:
    if _shape(node) == _shape(given["input"]):
        return Same(given["input"])
    return Made("expand", {"input": given["input"]})


def _repeat(node: Any, given: dict[str, Any]) -> Made | Same:
    """Along axes of length 1, where it may be as often as there are images; or a fixed number of times."""
    repeats = tuple(given["repeats"])
    own = (1,) * (len(repeats) - _rank(given["input"])) + _shape(given["input"])
    if all(size == 1 or count == 1 for size, count in zip(own, repeats, strict=True)):
        return _expand(node, given)
    return Made("repeat", {"input": given["input"], "repeats": repeats})


def _addmm(node: Any, given: dict[str, Any]) -> Made:
    """bias + a · b."""
    if given["beta"] != 1 or given["alpha"] != 1:
        raise Refused("with factors")
    names = ("mat1", "mat2") if "mat1" in given else ("batch1", "batch2")
    product = Made("matmul", {"input": given[names[0]], "other": given[names[1]]}, _shape(node))
    return Made("add", {"input": product, "other": given["input"]})


def _extreme(node: Any, given: dict[str, Any]) -> Made:
    """The larger of two values, or the largest of all."""
    name = node.target._schema.name.split("::")[-1]
    if "other" in given:
        return Made(f"{name}imum", {"input": given["input"], "other": given["other"]})
    if "dim" in given:
        raise Refused("with places")
    return Made(f"a{name}", {"input": given["input"]})


def _convolution(node: Any, given: dict[str, Any]) -> Made:
    if given["transposed"] or any(given["output_padding"]):
        raise Refused("transposed")
    sides = len(given["stride"])
    if sides not in (1, 2):
        raise Refused(f"of {sides} sides")
    kept = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    arguments = {name: tuple(given[name]) if isinstance(given[name], list | tuple) else given[name] for name in kept}
    return Made(f"conv{sides}d", {name: value for name, value in arguments.items() if value is not None})


def _conv2d(node: Any, given: dict[str, Any]) -> Made:
    """A convolution, of padding that may be a word."""
    kept = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    arguments = {name: given[name] for name in kept if given[name] is not None}
    for name in ("stride", "padding", "dilation"):
        if isinstance(arguments[name], list | tuple):
            arguments[name] = tuple(arguments[name]) * (2 // len(arguments[name]))
    if isinstance(arguments["padding"], str):
        kernel = _shape(given["weight"])[2:]
        across = [step * (size - 1) for step, size in zip(arguments["dilation"], kernel, strict=True)]
        if arguments["padding"] == "same" and any(each % 2 for each in across):
            raise Refused("with more padding on one side")
        arguments["padding"] = tuple(each // 2 for each in across) if arguments["padding"] == "same" else (0, 0)
    return Made("conv2d", arguments)


def _pool(operation: str) -> Special:
    def lowered(node: Any, given: dict[str, Any]) -> Made:
        names = ("kernel_size", "stride", "padding", "dilation")
        made: dict[str, Any] = {"input": given["input"]}
        for name in names:
            if name in given:
                value = tuple(given[name] or given["kernel_size"])
                made[name] = value * (2 // len(value))
        for name in ("ceil_mode", "count_include_pad"):
            if name in given:
                made[name] = given[name]
        if given.get("divisor_override") is not None:
            raise Refused("with a divisor")
        return Made(operation, made)

    return lowered


def _index(node: Any, given: dict[str, Any]) -> Made:
    places = [(axis, each) for axis, each in enumerate(given["indices"]) if each is not None]
    if (
        len(places) != 1
        or places[0][1].meta["val"].is_floating_point()
        or str(places[0][1].meta["val"].dtype) == "torch.bool"
    ):
        raise Refused("by several lists of places, or by a mask")  # fmt: skip
    return Made("take", {"input": given["input"], "dim": places[0][0], "index": places[0][1]})


def _embedding(node: Any, given: dict[str, Any]) -> Made:
    return Made("take", {"input": given["weight"], "dim": 0, "index": given["indices"]})


def _addcmul(node: Any, given: dict[str, Any]) -> Made:
    product = Made("multiply", {"input": given["tensor1"], "other": given["tensor2"]})
    return Made("add", {"input": given["input"], "other": product, "alpha": given["value"]})


def _masked_fill(node: Any, given: dict[str, Any]) -> Made:
    return Made("where", {"condition": given["mask"], "input": given["value"], "other": given["input"]})


def _variance(node: Any, given: dict[str, Any]) -> Made:
    dim = tuple(each % _rank(given["input"]) for each in given.get("dim") or ())
    correction = given.get("correction")
    if correction is None:
        correction = int(given.get("unbiased", True))
    made = {"input": given["input"], "dim": dim, "keepdim": given.get("keepdim", False)}
    return Made("variance", made | {"correction": correction})


def _constant(value_name: str | float) -> Special:
    def lowered(node: Any, given: dict[str, Any]) -> Made:
        value = given[value_name] if isinstance(value_name, str) else value_name
        if not isinstance(value, int | float):
            raise Refused("of a value that is not known beforehand")
        return Made("expand", {"input": Constant(float(value))})

    return lowered


def _selu(node: Any, given: dict[str, Any]) -> Made:
    return Made("elu", {"input": given["input"], "alpha": 1.6732632423543772, "scale": 1.0507009873554805})


def _relu6(node: Any, given: dict[str, Any]) -> Made:
    return Made("clamp", {"input": given["input"], "min": 0.0, "max": 6.0})


def _square(node: Any, given: dict[str, Any]) -> Made:
    return Made("power", {"input": given["input"], "exponent": 2.0})


def _prelu(node: Any, given: dict[str, Any]) -> Made:
    weight, rank = given["weight"], _rank(node)
    if weight.meta["val"].numel() > 1 and rank != 2:
        weight = Made("reshape", {"input": weight}, (1, weight.meta["val"].numel(), *(1,) * (rank - 2)))
    low = Made("minimum", {"input": given["input"], "other": 0.0})
    return Made("add", {"input": Made("relu", {"input": given["input"]}),
                        "other": Made("multiply", {"input": low, "other": weight})})  # fmt: skip


def _native_group_norm(node: Any, given: dict[str, Any]) -> Made:
    made = {"input": given["input"], "num_groups": given["group"], "eps": given["eps"]}
    return Made("group_norm", made | {name: given[name] for name in ("weight", "bias") if given[name] is not None})


def _rms_norm(node: Any, given: dict[str, Any]) -> Made:
    made = {"input": given["input"], "normalized_shape": tuple(given["normalized_shape"])}
    made |= {"eps": 1.1920928955078125e-07 if given["eps"] is None else given["eps"]}
    return Made("rms_norm", made | ({"weight": given["weight"]} if given["weight"] is not None else {}))


def _softmax(operation: str) -> Special:
    def lowered(node: Any, given: dict[str, Any]) -> Made:
        return Made(operation, {"input": given["input"], "dim": given["dim"] % _rank(node)})

    return lowered


def _cumsum(node: Any, given: dict[str, Any]) -> Made:
    import torch

    if node.meta["val"].dtype != torch.float32:
        raise Refused("to whole numbers")
    return Made("cumsum", {"input": given["input"], "dim": given["dim"] % _rank(node)})


SPECIAL: dict[str, Special] = {
    "to": _cast,
    "_to_copy": _cast,
    "type_as": _cast,
    "float": _cast,
    "bitwise_not": _not,
    "transpose": _transpose,
    "swapaxes": _transpose,
    "t": _t,
    "numpy_T": _t,
    "movedim": _movedim,
    "slice": _slice,
    "select": _select,
    "expand": _expand,
    "expand_as": _expand,
    "broadcast_to": _expand,
    "repeat": _repeat,
    "addmm": _addmm,
    "baddbmm": _addmm,
    "var": _variance,
    "max": _extreme,
    "min": _extreme,
    "convolution": _convolution,
    "conv2d": _conv2d,
    "max_pool2d": _pool("max_pool2d"),
    "max_pool2d_with_indices": _pool("max_pool2d"),
    "avg_pool2d": _pool("avg_pool2d"),
    "index": _index,
    "embedding": _embedding,
    "addcmul": _addcmul,
    "masked_fill": _masked_fill,
    "full": _constant("fill_value"),
    "full_like": _constant("fill_value"),
    "new_full": _constant("fill_value"),
    "zeros": _constant(0.0),
    "zeros_like": _constant(0.0),
    "new_zeros": _constant(0.0),
    "ones": _constant(1.0),
    "ones_like": _constant(1.0),
    "new_ones": _constant(1.0),
    "selu": _selu,
    "relu6": _relu6,
    "square": _square,
    "prelu": _prelu,
    "_prelu_kernel": _prelu,
    "native_group_norm": _native_group_norm,
    "rms_norm": _rms_norm,
    "cumsum": _cumsum,
    "softmax": _softmax("softmax"),
    "_softmax": _softmax("softmax"),
    "log_softmax": _softmax("log_softmax"),
    "_log_softmax": _softmax("log_softmax"),
}


def piece(producer: Any, place: int, given: dict[str, Any], name: str) -> Made | Same | None:
    """One of several things that an operation gives; None where it is the operation's own first one."""
    if name in ("unbind", "split", "split_with_sizes", "chunk", "tensor_split"):
        return _part(producer, place, given, name)
    if name in ("max", "min") and place == 0 and "dim" in given:
        dim = (given["dim"] % _rank(given["input"]),)
        return Made(f"a{name}", {"input": given["input"], "dim": dim, "keepdim": given["keepdim"]})
    if name == "var_mean":
        variance = _variance(producer, given)
        if place == 0:
            return variance
        return Made("mean", {key: value for key, value in variance.arguments.items() if key != "correction"})
    if place == 0:
        return None
    raise Refused(f"of which the result {place} is used")


def _part(producer: Any, place: int, given: dict[str, Any], name: str) -> Made | Same:
    shape = _shape(given["input"])
    dim = given["dim"] % len(shape)
    if not isinstance(shape[dim], int):
        raise Refused("of a part of the images")
    if name == "unbind":
        return Made("select", {"input": given["input"], "dim": dim, "index": place})
    lengths = [_shape_of(each)[dim] for each in producer.meta["val"]]
    start = sum(lengths[:place])
    if lengths[place] == shape[dim]:
        return Same(given["input"])
    return Made("slice", {"input": given["input"], "dim": dim, "start": start, "end": start + lengths[place]})


def _shape_of(tensor: Any) -> tuple[Any, ...]:
    return tuple(tensor.shape)
