"""Hold names of planted units against the truth: the word of the factor, and its sign.

    linkjax name --sweep linkjax-demo/planted-sweep --embedder linkjax/demo/bundle/embedder --out names
    python scripts/methods/measure_names.py --names names [--units linkjax/demo/bundle/planted_units.json] [--json FILE]

A name is right if it is the phrase of a factor that the unit carries, for the sign in which it carries it. Noise units
carry none, though what raises one truly changes factors all the same (`linkjax.demo.truth`).
"""

import argparse
import json
from pathlib import Path

import linkjax
from linkjax.demo import names
from linkjax.demo.bundle import EMBEDDED, UNITS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", type=Path, required=True)
    parser.add_argument("--units", type=Path, default=EMBEDDED / UNITS, help="the truth")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    given = parser.parse_args()
    found = names.score(linkjax.open(given.names), json.loads(given.units.read_text(encoding="utf-8")))
    for each in found["units"]:
        print(f"{each['unit']:3} {each['kind']:7} {', '.join(each['truth']):38} raising: {each['name'] or '–':24}"
              f" (nearest {each['nearest']}, q {each['q']}) seen: {each.get('seen_name', '') or '–'}")  # fmt: skip
    print({name: value for name, value in found.items() if name != "units"})
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
