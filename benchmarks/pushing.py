"""Pushes images by several clients at once: `python -m benchmarks.pushing [OPTIONS] URL [URL…]`.

All content is new: `--seed` tells this run from others. Each client has a connection of its own; the first
goes to the first URL, the next to the next.
"""

from __future__ import annotations

import argparse
import random
from concurrent.futures import ThreadPoolExecutor

from .registries import Pusher


def push(url: str, headers: dict[str, str], seed: str, images: list[int], layers: int, size: int) -> None:
    """What one client does. Raises OSError."""
    pusher = Pusher(url, headers)
    for number in images:
        chance = random.Random(f"{seed}-{number}")
        pusher.image(
            f"lib/app{number % 8}", f"{seed}-{number}", [chance.randbytes(size) for _ in range(layers)]
        )
    pusher.close()


def main() -> None:
    """Push all; raises what a client raises."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pushing")
    parser.add_argument("urls", nargs="+", metavar="URL")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--size", type=int, default=1 << 20)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", default="0")
    args = parser.parse_args()
    with ThreadPoolExecutor(args.clients) as pool:
        shares = [list(range(args.images))[first :: args.clients] for first in range(args.clients)]
        done = [
            pool.submit(push, args.urls[n % len(args.urls)], {}, args.seed, share, args.layers, args.size)
            for n, share in enumerate(shares)
        ]
        for each in done:
            each.result()


if __name__ == "__main__":
    main()
