"""The operations of graphs, each as PyTorch defines it, on views; importing this fills their table."""

from linkjax.models.graph.operations import arithmetic, elementwise, network, normalising, pooling, reductions, shaping
from linkjax.models.graph.operations.table import OPERATIONS, Leaf, Operation, Value, check

__all__ = [
    "OPERATIONS",
    "Leaf",
    "Operation",
    "Value",
    "arithmetic",
    "check",
    "elementwise",
    "network",
    "normalising",
    "pooling",
    "reductions",
    "shaping",
]
