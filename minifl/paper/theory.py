"""The paper's theory as a program: its claims, ours beside them, and the norms' Jacobians, in float64.

Each claim is a function of a random generator that yields Rows (theory_rows.py); its docstring says why the claim is
true, or where it is not. Networks are the package's own, small and random.
"""

import zlib
from collections.abc import Iterator

from minifl.errors import unknown
from minifl.paper import theory_errors, theory_jacobians, theory_norms, theory_theorem1, theory_training
from minifl.paper.theory_rows import FAILED, HOLDS, Row
from minifl.rng import CHECK, address

CLAIMS = {
    "lemma-1": theory_norms.lemma_1,
    "proposition-1": theory_norms.proposition_1,
    "proposition-2": theory_norms.proposition_2,
    "eps-in-root": theory_norms.eps_in_the_root,
    "resnet-fn": theory_norms.resnet_fn,
    "resnet-ln": theory_norms.resnet_ln,
    "proposition-3a": theory_errors.proposition_3a,
    "proposition-3b": theory_errors.proposition_3b,
    "corollary-1": theory_errors.corollary_1,
    "theorem-1": theory_theorem1.theorem_1,
    "theorem-1-constant": theory_theorem1.theorem_1_constant,
    "fn-floor": theory_theorem1.fn_floor,
    "scale-invariance": theory_training.scale_invariance,
    "fedavg-one-step": theory_training.fedavg_one_step,
    "vit": theory_training.vit,
    "jacobian-fn": theory_jacobians.jacobian_fn,
    "jacobian-mv": theory_jacobians.jacobian_mv,
    "jacobian-gn": theory_jacobians.jacobian_gn,
    "jacobian-affine": theory_jacobians.jacobian_affine,
}
COMPARED = 92   # characters of what was compared; longer ones push the rest of their line to the right


def rows(seed: int = 0, claim: str | None = None) -> Iterator[Row]:
    """The Rows of all claims, or of one, as they are found; each claim draws from an address of its own.

    Raises InputError for an unknown claim.
    """
    if claim is not None and claim not in CLAIMS:
        raise unknown("--claim", claim, CLAIMS)
    for name in CLAIMS if claim is None else [claim]:
        for row in CLAIMS[name](address(seed, CHECK, zlib.crc32(name.encode()))):
            yield row._replace(claim=name)


def header() -> str:
    """The first line of the table."""
    return _line("claim", "compared", "value", "expected", "verdict")


def line(row: Row) -> str:
    """A Row as a line of the table."""
    sign = "<=" if row.expects == HOLDS else "> "
    return _line(row.claim, row.compared, f"{row.value:.2e}", f"{sign} {row.bound:g}", row.verdict)


def verdicts(found: list[Row]) -> dict[str, int]:
    """verdict -> how many of the rows have it, FAILED last and always there."""
    names = [row.verdict for row in found]
    return {name: names.count(name) for name in dict.fromkeys(names) if name != FAILED} | {FAILED: names.count(FAILED)}


def _line(claim, compared, value, expected, verdict):
    return f"{claim:<18}  {compared:<{COMPARED}}  {value:>9}  {expected:<8}  {verdict}"
