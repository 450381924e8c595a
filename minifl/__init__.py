"""minifl: federated learning with layer and feature normalization under label skew, every gradient by hand.

The BLAS reads these variables when numpy is first imported, so they are set before; a value that is there already stays.
Why one thread, and what a run does where numpy came first: minifl/blas.py.
"""

import os

for _variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_variable, "1")

__version__ = "0.1.0"
