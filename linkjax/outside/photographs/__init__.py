"""Photographs from outside: found in a folder or a prepared data set, decoded, and framed as a classifier wants them.

    from linkjax.outside.photographs import decode, folder, prepared

Nothing here downloads anything. A source has a length, group names, and `items(rows)`; `decode` makes
pixels of an item.
"""
