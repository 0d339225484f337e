"""Fitting a link to pairs in memory, against scikit-learn where it is installed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from linkjax.analysis.links.fit import fit_link
from scripts.speed.bench_link import data
from scripts.speed.benchmarks.record import Row, row
from scripts.speed.benchmarks.timing import in_turns


def measure(samples: int, units: int, w_dim: int, repeats: int) -> list[Row]:
    """Whole fits against scikit-learn's; bench_link.py shows their parts."""
    r, w = data(samples, units, w_dim)
    fits: dict[str, Callable[[], Any]] = {
        f"{method}, {products} products|linkjax": (
            lambda method=method, products=products: fit_link(r, w, method, 1.0, products=products)
        )
        for method in ("ols", "ridge")
        for products in ("float64", "float32")
    }
    try:
        from sklearn.linear_model import LinearRegression, Ridge
    except ImportError:
        note = "scikit-learn is not installed"
    else:
        note = ""
        fits["ols|scikit-learn"] = lambda: LinearRegression().fit(r, w)
        fits["ridge|scikit-learn"] = lambda: Ridge(alpha=1.0).fit(r, w)
    found, results = in_turns(fits, repeats)
    # the normal equations: a product of symmetric result, one with w, a Cholesky factor
    operations = samples * units * (units + 2.0 * w_dim) + units**3 / 3
    traffic = 4.0 * samples * (units + w_dim)
    size, rows = f"{samples} × {units} → {w_dim}", []
    for name, seconds in found.items():
        what, side = name.split("|")
        if side == "linkjax":
            rows.append(
                row("link", f"{what}: {size}", side, seconds, 1, operations=operations, bytes=traffic, note=note)
            )
    for row_of_ours in list(rows):
        method = row_of_ours.what.split(",")[0]
        theirs = found.get(f"{method}|scikit-learn")
        if theirs is None:
            continue
        name = row_of_ours.what.split(":")[0]
        kernel = np.asarray(results[f"{name}|linkjax"].kernel[...])
        expected = results[f"{method}|scikit-learn"].coef_.T
        difference = float(np.abs(kernel - expected).max() / np.abs(expected).max())
        rows.append(row("link", row_of_ours.what, "scikit-learn", theirs, 1, difference=difference))
    return rows
