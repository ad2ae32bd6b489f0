from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from peclr.data.sources.mano import joints_from_vertices, load_joint_regressor
from peclr.geometry.joints import JOINT_NAMES


def regressor() -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(778), 16)


@pytest.mark.parametrize("name", ["J_regressor.npy", "mano.npz"])
def test_npy_and_npz_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".npy":
        np.save(path, regressor())
    else:
        np.savez(path, J_regressor=regressor(), weights=np.ones(3))
    np.testing.assert_array_equal(load_joint_regressor(path), regressor())


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    pickle, objects = tmp_path / "MANO_RIGHT.pkl", tmp_path / "objects.npy"
    pickle.write_bytes(b"cos\nabort\n(tR.")
    np.save(objects, np.array([{}], object), allow_pickle=True)
    for path in (pickle, objects):
        with pytest.raises(ValueError, match=rf"{path.name}.*expected J_regressor \(16, 778\)"):
            load_joint_regressor(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (regressor().T, r"shape \(778, 16\)"),
        (regressor() * 2, r"joint 0 sum to 2\.0+\d*, expected 1"),
        (regressor() * np.nan, "joint 0 sum to nan"),
        (regressor().astype(str), "<U"),
    ],
)
def test_what_is_no_regressor_is_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    path = tmp_path / "J.npy"
    np.save(path, array)
    with pytest.raises(ValueError, match=message):
        load_joint_regressor(path)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", weights=np.ones(3))
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "text.npz").write_text("PK is how archives begin")
    for name in ("other.npz", "empty.npy", "text.npz", "absent.npy"):
        with pytest.raises(ValueError, match=name):
            load_joint_regressor(tmp_path / name)


def test_joints_have_any_dimension_and_tips_are_vertices() -> None:
    vertices = np.random.default_rng(1).normal(size=(778, 3))
    joints = joints_from_vertices(vertices, regressor())
    np.testing.assert_allclose(joints[JOINT_NAMES.index("thumb_tip")], vertices[744], rtol=1e-6)
    np.testing.assert_allclose(joints[JOINT_NAMES.index("little_tip")], vertices[672], rtol=1e-6)
    np.testing.assert_allclose(joints[0], regressor()[0] @ vertices, atol=1e-6)
    np.testing.assert_allclose(joints[:, :2], joints_from_vertices(vertices[:, :2], regressor()), rtol=1e-5)
