"""The 21 joints of a hand from the 778 vertices of a MANO mesh.

Romero et al., "Embodied Hands: Modeling and Capturing Hands and Bodies Together", SIGGRAPH Asia 2017. The license of
MANO forbids shipping its regressor; users take it from their own copy. MANO_RIGHT.pkl is a pickle, which can run any
code and is never loaded here. Where its unpickling works (it needs chumpy and scipy), one line converts it:

    python -c "import numpy, pickle; m = pickle.load(open('MANO_RIGHT.pkl', 'rb'), encoding='latin1');
    numpy.save('J_regressor.npy', m['J_regressor'].toarray())"

The left hand of MANO is the mirror image of the right one, so the same regressor serves both.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from peclr.geometry.joints import FINGER_TIP_VERTICES, NUM_JOINTS, TIPS, convert
from peclr.untrusted.binary import read_array, read_arrays

NUM_VERTICES: Final = 778
NUM_REGRESSED: Final = 16  # the wrist and three joints a finger; tips are vertices
REGRESSOR_KEY: Final = "J_regressor"

_CONVERSION = (
    f"expected {REGRESSOR_KEY} ({NUM_REGRESSED}, {NUM_VERTICES}) in an .npy or .npz file; peclr/data/sources/mano.py "
    "has the line that makes it from MANO_RIGHT.pkl"
)


def load_joint_regressor(path: str | Path) -> NDArray[np.float64]:
    """Read MANO's joint regressor (16, 778), whose product with vertices (778, D) are joints in order mano."""
    path = Path(path)
    if path.suffix not in {".npy", ".npz"}:
        raise ValueError(f"{path}: {path.suffix or 'no'} file; {_CONVERSION}")
    try:
        arrays = {REGRESSOR_KEY: read_array(path)} if path.suffix == ".npy" else read_arrays(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); {_CONVERSION}") from error
    if REGRESSOR_KEY not in arrays:
        raise ValueError(f"{path} holds {', '.join(arrays)}; {_CONVERSION}")
    regressor = arrays[REGRESSOR_KEY]
    if regressor.shape != (NUM_REGRESSED, NUM_VERTICES) or regressor.dtype.kind not in "fiu":
        raise ValueError(f"{path} has shape {regressor.shape} of {regressor.dtype}; {_CONVERSION}")
    sums = regressor.sum(axis=1, dtype=np.float64)
    # each joint is a weighted mean of vertices; otherwise it would not move with the hand
    if len(wrong := np.flatnonzero(~np.isclose(sums, 1, atol=1e-2))):
        raise ValueError(f"{path}: the weights of joint {wrong[0]} sum to {sums[wrong[0]]}, expected 1")
    return regressor.astype(np.float64)


def joints_from_vertices(vertices: NDArray[np.floating], regressor: NDArray[np.float64] | None) -> NDArray[np.float32]:
    """Joints (21, D), order freihand, of a mesh (778, D); without a regressor, all but the finger tips are NaN."""
    tips = vertices[list(FINGER_TIP_VERTICES)]
    if regressor is None:
        joints = np.full((NUM_JOINTS, vertices.shape[1]), np.nan, np.float32)
        joints[list(TIPS)] = tips
        return joints
    return convert(np.concatenate([regressor @ vertices, tips]).astype(np.float32), "mano", "freihand")
