"""Tables for other programs: columns as CSV and as Parquet."""

from pathlib import Path

import xarray as xr

from linkjax.devices import cluster


def write_table(path: Path, table: xr.Dataset) -> None:
    """Columns of equal length as `path`.csv and `path`.parquet, of the same values and names."""
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    columns = {str(name): column.values.tolist() for name, column in table.items()}
    kinds = {"O": pyarrow.string(), "i": pyarrow.int64(), "b": pyarrow.bool_(), "f": pyarrow.float64()}
    if not cluster.first():
        return
    schema = pyarrow.schema([(str(name), kinds[column.dtype.kind]) for name, column in table.items()])
    made = pyarrow.table(columns, schema=schema)
    pyarrow.csv.write_csv(made, path.with_suffix(".csv"))
    pyarrow.parquet.write_table(made, path.with_suffix(".parquet"))
