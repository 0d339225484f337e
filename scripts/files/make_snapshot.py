"""Write a snapshot of the ImageNet architecture with random weights, in the official layout.

  python scripts/files/make_snapshot.py RESOLUTION OUT.pkl [--seed K]

RESOLUTION is 16, 32, …, 1024; 256 makes a file of 0.93 GB. Its images are noise, its sizes and times are real.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from linkjax.models.generator_spec import imagenet_spec
from tests.reference.official_generator import official_network
from tests.reference.official_pickle import ForeignDiscriminator, Spelling, network_entries, write_snapshot


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("resolution", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    network = official_network(imagenet_spec(args.resolution), args.seed)
    write_snapshot(args.out, network_entries(network, D=ForeignDiscriminator()), Spelling(location="cuda:0"))
    print(f"wrote {args.out}: {args.out.stat().st_size / 1e9:.3f} GB")


if __name__ == "__main__":
    main()
