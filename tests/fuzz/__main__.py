"""`python -m tests.fuzz`, `make fuzz`: damaged files to every reader; one JSON line each and a table of outcomes."""

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from tests.fuzz.engine import GOOD, run_all
from tests.fuzz.readers import READERS


def main() -> int:
    """Run as many inputs as asked for; the exit status is 0 only if all were read or refused."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default: %(default)s)")
    parser.add_argument("--count", type=int, default=10_000, metavar="N", help="inputs (default: %(default)s)")
    parser.add_argument("--reader", choices=READERS, action="append", help="one of these alone; may be repeated")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz.jsonl"), help="default: %(default)s")
    options = parser.parse_args()
    readers = {name: READERS[name] for name in options.reader or READERS}
    table: Counter[tuple[str, str]] = Counter()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", encoding="utf-8") as file:
        for outcome in tqdm(run_all(readers, options.seed, options.count), total=options.count, unit="input"):
            table[outcome.reader, outcome.outcome] += 1
            file.write(json.dumps(asdict(outcome)) + "\n")
    outcomes = sorted({kind for _, kind in table}, key=lambda kind: (kind not in GOOD, kind))
    width = max(map(len, readers))
    print(" " * width, *(f"{kind:>10}" for kind in outcomes))
    for name in readers:
        print(f"{name:<{width}}", *(f"{table[name, kind]:>10}" for kind in outcomes))
    faults = sum(count for (_, kind), count in table.items() if kind not in GOOD)
    print(f"seed {options.seed}: {faults} faults in {options.count} inputs; each is a line of {options.out}")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
