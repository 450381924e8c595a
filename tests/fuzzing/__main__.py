"""Random command lines and damaged files: python tests/fuzzing [--lines 2000] [--files 700] [--seed 0] [--share 0/2] [--only KIND:NUMBER]

Every case has a process, a folder and a random number generator of its own, so that it can be done again alone. What is
found is printed as it is found; at the end come the counts. Exit code 1 if anything was found:

    traceback   an exception escaped, or a signal ended the process
    hang        it took longer than LIMIT seconds
    unnamed     a refusal without a message, or, of a damaged file, one that does not name it
    silent      a damaged file was read, and something came out as if nothing were wrong with it
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

import damage    # noqa: E402
import lines     # noqa: E402
import ground    # noqa: E402

FOUND = ("traceback", "hang", "unnamed", "silent")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--files", type=int, default=700)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", default="0/1", help="i/n: only every n-th case, from i on, for n processes")
    parser.add_argument("--only", help="a case, as it is printed: lines:17 or files:3")
    chosen = parser.parse_args()
    first, step = map(int, chosen.share.split("/"))
    wanted = [(kind, number) for kind, count in (("lines", chosen.lines), ("files", chosen.files))
              for number in range(first, count, step)]
    if chosen.only:
        kind, _, number = chosen.only.partition(":")
        wanted = [(kind, int(number))]
    begun, found = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="minifl-fuzzing-") as folder:
        folder = Path(folder)
        ground.lay(folder / "ground")
        for kind, module in (("lines", lines), ("files", damage)):
            numbers, counts, since = [n for k, n in wanted if k == kind], Counter(), time.monotonic()
            for number in numbers:
                verdict, what = module.case(f"{chosen.seed}/{kind}/{number}", folder)
                counts[verdict] += 1
                if verdict in FOUND or chosen.only:
                    found += verdict in FOUND
                    print(f"{verdict} {kind}:{number} {what}", flush=True)
            if numbers:
                print(f"{kind}: {len(numbers)} in {time.monotonic() - since:.0f} s: "
                      + ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()), flush=True)
    print(f"{found} findings, {time.monotonic() - begun:.0f} s")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
