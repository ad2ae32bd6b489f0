"""From a hand and a scene to images: the hand is drawn once and laid over one background per version."""

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np

from peclr.synthetic.arrays import Bytes, Floats, Floats32
from peclr.synthetic.props import draw_prop
from peclr.synthetic.raster import Fragments, rasterize
from peclr.synthetic.scene import Hand, Scene
from peclr.synthetic.shading import openness, shade_hand
from peclr.synthetic.skinning import Skin, deform, hand_skin
from peclr.synthetic.texture import texture_coordinates

VersionKind: TypeAlias = Literal["gs", "hom", "sample", "auto"]
# FreiHAND's four versions of a training image, in file order.
VERSION_KINDS: Final[tuple[VersionKind, ...]] = ("gs", "hom", "sample", "auto")

# Edges are drawn on a finer grid and averaged. At this factor linear interpolation weighs neighbors 3 : 1, nearly as
# their areas would (2 : 1), in a fifth of the time.
_SUPERSAMPLING: Final = 1.5
# Sizes of the skin's triangles, mm, for images of at least so many (fine) pixels and below.
FINE_MM, COARSE_MM = 4.7, 5.4
_COARSE_BELOW: Final = 240
_SLEEVE_THICKNESS, _BAND_THICKNESS = 0.005, 0.0018


@dataclass(frozen=True)
class Layer:
    """The hand, its arm and props, cut out."""

    color: Floats32  # (S, S, 3), RGB 0–1, already multiplied by `alpha`
    alpha: Floats32  # (S, S), 0–1: coverage by hand and props
    mask: Floats32  # (S, S), 0–1: coverage by what is seen of hand and arm


def draw_hand(hand: Hand, scene: Scene, size: int) -> Layer:
    """Draw a hand, its sleeve and its props in a scene's light, size × size pixels."""
    fine = round(size * _SUPERSAMPLING)
    K = hand.K * (fine / size)
    K[:2, 2] = (hand.K[:2, 2] + 0.5) * (fine / size) - 0.5  # pixel centers are integers in both
    K[2, 2] = 1
    seen, values = _visible_skin(hand, scene, K, fine)
    along = values[4]
    wears = along < hand.cuff
    if hand.band:
        wears &= along > hand.cuff - hand.band
    colors = shade_hand(values, scene.light, scene.tone, scene.cloth, wears)

    image = np.zeros((4, fine * fine), np.float32)  # R, G, B, mask
    image[:3, seen.pixels] = colors
    image[3, seen.pixels] = 1
    nearest = np.zeros(fine * fine, np.float32)
    nearest[seen.pixels] = seen.inverse_depth
    for prop in hand.props:
        pixels, inverse_depth, paint = draw_prop(prop, K, fine, scene.light)
        front = np.flatnonzero(inverse_depth > nearest[pixels])
        nearest[pixels[front]] = inverse_depth[front]
        image[:3, pixels[front]] = paint[:, front]
        image[3, pixels[front]] = 0
    covered = (nearest > 0).astype(np.float32)
    planes = [cv2.resize(plane.reshape(fine, fine), (size, size)) for plane in (*image, covered)]  # linear
    return Layer(cv2.merge(planes[:3]), planes[4], planes[3])


def _visible_skin(hand: Hand, scene: Scene, K: Floats, size: int) -> tuple[Fragments, Floats32]:
    """Visible parts of hand and arm, and there (8, N): normals (camera frame), texture coordinates, openness."""
    skin, coordinates = _model(COARSE_MM if size < _COARSE_BELOW else FINE_MM)
    vertices, normals = deform(skin, _dressed(skin, hand), hand.skeleton)
    rotation = hand.rotation.astype(np.float32)
    camera = np.einsum("ij,jv->iv", rotation, vertices) + hand.translation.astype(np.float32)[:, None]
    focal, center = np.float32(K[0, 0]), K[:2, 2].astype(np.float32)
    seen = rasterize(camera[:2] / camera[2] * focal + center[:, None], 1 / camera[2], skin.faces, size)

    used = np.zeros(vertices.shape[1], np.bool_)
    used[seen.corners] = True
    open_to = np.ones((2, vertices.shape[1]), np.float32)
    lamp = rotation.T @ scene.light.direction
    open_to[:, used] = openness(vertices[:, used], normals[:, used], hand.skeleton, hand.subject, lamp)
    turned = np.einsum("ij,jv->iv", rotation, normals)
    values = seen.interpolate(np.concatenate([turned, coordinates, open_to]))
    values[:3] /= np.sqrt(np.maximum((values[:3] ** 2).sum(axis=0), 1e-12))
    return seen, values


def compose(layer: Layer, backdrop: Bytes, kind: VersionKind, rng: np.random.Generator) -> Bytes:
    """Lay the hand over a part of a backdrop: (S, S, 3), RGB.

    As in FreiHAND, `gs` is the green screen as recorded; `hom` has a smooth background and a hand harmonized with it;
    `sample` and `auto` have other places behind them, `auto` with a little of their color on the hand.
    """
    size = len(layer.alpha)
    background = _window(backdrop, size, rng)
    if kind == "hom":
        background = np.asarray(cv2.GaussianBlur(background, (0, 0), size / 16), np.uint8)
    tint = rng.normal(1, 0.02, 3) * rng.normal(1, 0.04)
    strength = {"gs": 0.0, "hom": 0.30, "sample": 0.0, "auto": 0.18}[kind]
    tint *= ((np.array(cv2.mean(background)[:3]) + 25) / 128) ** strength
    tint = 255 * np.clip(tint, 0.6, 1.3)
    image: Floats32 = layer.color * tint.astype(np.float32)
    image += background * (1 - layer.alpha)[..., None]
    x, y = rng.integers(0, 64, 2)
    image += np.float32(rng.uniform(0.5, 3.0)) * _grain_sheet(size + 64)[y : y + size, x : x + size]
    return np.clip(image, 0, 255).astype(np.uint8)


@cache
def _model(cell_mm: float) -> tuple[Skin, Floats32]:
    skin = hand_skin(cell_mm)
    return skin, texture_coordinates(skin)


def _dressed(skin: Skin, hand: Hand) -> Floats32:
    """Rest vertices (3, V), moved out by the cloth's thickness where there is cloth."""
    thickness = np.float32(_BAND_THICKNESS if hand.band else _SLEEVE_THICKNESS)
    along = skin.vertices[1] - np.float32(hand.cuff)
    covered = along < 0.002
    if hand.band:
        covered &= along > -hand.band - 0.002
    dressed: Floats32 = skin.vertices + thickness * covered * skin.normals
    return dressed


def _window(canvas: Bytes, size: int, rng: np.random.Generator) -> Bytes:
    """A turned, scaled and perhaps mirrored part of a canvas."""
    # a rig's cameras are rolled any way; upright places would show how a view of them was turned
    angle, zoom = rng.uniform(-180, 180), rng.uniform(0.85, 1.3)
    middle = len(canvas) / 2 + (len(canvas) - size / zoom) / 2 * rng.uniform(-1, 1, 2)
    view = np.asarray(cv2.getRotationMatrix2D(middle.tolist(), angle, zoom), np.float64)
    view[:, 2] += size / 2 - middle
    if rng.random() < 0.5:
        view[0] = -view[0]
        view[0, 2] += size - 1
    window = cv2.warpAffine(canvas, view, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(window, np.uint8)


@cache
def _grain_sheet(side: int) -> Floats32:
    """A sheet of sensor noise to cut pieces from."""
    return np.random.default_rng(11).normal(0, 1, (side, side, 3)).astype(np.float32)
