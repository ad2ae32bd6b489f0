"""Painted clutter: rooms, desks, outdoors, cloth, shelves, and FreiHAND's green screen."""

from typing import Final, TypeAlias

import cv2
import numpy as np

from peclr.synthetic.arrays import Bytes, Floats, Floats32, fractal_noise

Color: TypeAlias = Floats


def paint_clutter(rng: np.random.Generator, size: int) -> Bytes:
    """A random place (size, size, 3), RGB, a little out of focus."""
    painter = _PAINTERS[int(rng.integers(len(_PAINTERS)))]
    return _finish(rng, painter(rng, size))


def paint_green_screen(rng: np.random.Generator, size: int) -> Bytes:
    """Folds of green cloth, with the studio's gear at its edges, (size, size, 3), RGB."""
    green = np.array([rng.uniform(40, 80), rng.uniform(120, 165), rng.uniform(30, 60)])
    image = _slope(rng, size, green * 0.85, green * 1.12)
    image *= 1 + 0.05 * fractal_noise(rng, size, size, 3, 2)[..., None]
    for _ in range(int(rng.integers(0, 3))):  # seams between cloths
        corners = _far_line(rng, size)
        cv2.line(image, corners[0], corners[1], (green * 0.72).tolist(), max(size // 120, 1), cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 3))):  # lamps and cameras
        _place(rng, image, _gray(rng, 10, 60), edge=True)
    return _finish(rng, image)


def _finish(rng: np.random.Generator, image: Floats32) -> Bytes:
    size = len(image)
    image = cv2.GaussianBlur(image, (0, 0), size / 400 * rng.uniform(0.9, 2.8)).astype(np.float32)
    image *= np.float32(rng.uniform(0.75, 1.15))
    return np.clip(image, 0, 255).astype(np.uint8)


def _room(rng: np.random.Generator, size: int) -> Floats32:
    """Two walls, a floor, a window or frames, furniture."""
    wall = _pastel(rng)
    image = _slope(rng, size, wall * 0.8, wall * 1.1)
    corner, floor = int(size * rng.uniform(0.15, 0.85)), int(size * rng.uniform(0.6, 0.85))
    image[:, :corner] *= np.float32(rng.uniform(0.72, 0.95))
    slant = int(size * rng.uniform(-0.15, 0.15))
    ground = np.array([[0, floor + slant], [corner, floor], [size, floor + slant], [size, size], [0, size]], np.int32)
    cv2.fillPoly(image, [ground], (_earth(rng)).tolist(), cv2.LINE_AA)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0.0, 0.8, 2) * size
        width, height = rng.uniform(0.12, 0.35, 2) * size
        frame = np.array([x, 0.7 * y, x + width, 0.7 * y + height]).astype(int).tolist()
        cv2.rectangle(image, frame[:2], frame[2:], _any(rng).tolist(), -1)
        cv2.rectangle(image, frame[:2], frame[2:], _gray(rng, 30, 235).tolist(), max(size // 60, 1))
    for _ in range(int(rng.integers(3, 8))):
        _place(rng, image, _any(rng))
    return image


def _desk(rng: np.random.Generator, size: int) -> Floats32:
    """A table top from above, with paper, pens and round things."""
    wood = _earth(rng) if rng.random() < 0.7 else _pastel(rng)
    grain = fractal_noise(rng, size, size, 40, 4, stretch=12)
    image = _slope(rng, size, wood * 0.85, wood * 1.1) * (1 + 0.13 * grain[..., None])
    for _ in range(int(rng.integers(1, 4))):
        sheet = cv2.boxPoints(_box(rng, size, 0.25, 0.55)).astype(np.int32)
        cv2.fillPoly(image, [sheet + size // 80], (wood * 0.55).tolist(), cv2.LINE_AA)
        paper = _gray(rng, 190, 250)
        cv2.fillPoly(image, [sheet], paper.tolist(), cv2.LINE_AA)
        for step in np.linspace(0.1, 0.9, int(rng.integers(0, 12))):
            left, right = (sheet[i] + step * (sheet[(i + j) % 4] - sheet[i]) for i, j in ((0, 1), (3, -1)))
            ends = (0.9 * left + 0.1 * right).astype(int).tolist(), (0.1 * left + 0.9 * right).astype(int).tolist()
            cv2.line(image, *ends, (paper * 0.6).tolist(), max(size // 200, 1), cv2.LINE_AA)
    for _ in range(int(rng.integers(2, 6))):
        _place(rng, image, _any(rng))
    for _ in range(int(rng.integers(1, 5))):
        line = _far_line(rng, size, 0.35)
        cv2.line(image, *line, _any(rng).tolist(), max(int(size * rng.uniform(0.01, 0.03)), 1), cv2.LINE_AA)
    return image


def _outdoors(rng: np.random.Generator, size: int) -> Floats32:
    """Sky, hills, leaves, trunks or posts."""
    sky = np.array([rng.uniform(150, 220), rng.uniform(190, 230), rng.uniform(215, 250)])
    image = _slope(rng, size, sky, sky * 0.85 + 30, vertical=True)
    rows = np.arange(size)[:, None]
    horizon = size * rng.uniform(0.05, 0.5)
    for layer in range(3):
        line = fractal_noise(rng, 4, size, 3 + 4 * layer, 4)[1] * size * 0.08 + horizon
        green = np.array([rng.uniform(40, 110), rng.uniform(75, 135), rng.uniform(25, 70)])
        leaves = fractal_noise(rng, size, size, 14 + 20 * layer, 4)
        shade = green * (1 + 0.42 * leaves[..., None]) if layer or rng.random() < 0.6 else green * 1.2 + 35
        image = np.where((rows > line[None])[..., None], shade, image).astype(np.float32)
        horizon += size * rng.uniform(0.1, 0.35)
    for _ in range(int(rng.integers(0, 5))):
        x = int(size * rng.uniform(0, 1))
        trunk = _earth(rng) * 0.55
        foot = (int(x + size * rng.normal(0, 0.04)), int(size * rng.uniform(0.5, 1)))
        cv2.line(image, (x, 0), foot, trunk.tolist(), int(size * rng.uniform(0.01, 0.06)) + 1, cv2.LINE_AA)
    return image


def _cloth(rng: np.random.Generator, size: int) -> Floats32:
    """Stripes, checks or dots with folds: a shirt, a curtain, a table cloth."""
    base, second = _any(rng), _any(rng)
    angle, period = rng.uniform(0, np.pi), size * rng.uniform(0.04, 0.2)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    u = (x * np.cos(angle) + y * np.sin(angle)) / period
    v = (y * np.cos(angle) - x * np.sin(angle)) / period
    kind = int(rng.integers(4))
    if kind == 0:
        share = (np.mod(u, 1) < 0.45).astype(np.float32)
    elif kind == 1:
        share = ((np.mod(u, 1) < 0.5).astype(np.float32) + (np.mod(v, 1) < 0.5)) / 2
    elif kind == 2:
        share = (np.hypot(np.mod(u, 1) - 0.5, np.mod(v, 1) - 0.5) < 0.3).astype(np.float32)
    else:
        share = np.zeros_like(u)
    folds = fractal_noise(rng, size, size, 4, 3)
    image = base + share[..., None] * (second - base)
    folded: Floats32 = (image * (1 + 0.22 * folds[..., None])).astype(np.float32)
    return folded


def _shelf(rng: np.random.Generator, size: int) -> Floats32:
    """Boards with books or packets."""
    wood = _earth(rng)
    image = _slope(rng, size, wood * 0.35, wood * 0.6)
    board = max(int(size * 0.02), 1)
    top = 0
    while top < size:
        height = int(size * rng.uniform(0.18, 0.34))
        left = 0
        while left < size:
            width = max(int(size * rng.uniform(0.025, 0.12)), 2)
            tall = int(height * rng.uniform(0.65, 0.95))
            color = _any(rng)
            low = top + height
            cv2.rectangle(image, (left, low - tall), (left + width - 2, low), color.tolist(), -1)
            title = low - int(tall * rng.uniform(0.3, 0.8))
            cv2.rectangle(image, (left, title), (left + width - 2, title + tall // 8), (color * 0.5 + 90).tolist(), -1)
            left += width + int(size * max(rng.normal(0, 0.02), 0))
        cv2.rectangle(image, (0, top + height), (size, top + height + board), (wood * 1.1).tolist(), -1)
        top += height + board
    return image


_PAINTERS: Final = (_room, _desk, _outdoors, _cloth, _shelf)


def _slope(rng: np.random.Generator, size: int, start: Color, end: Color, *, vertical: bool = False) -> Floats32:
    """A color gradient in a random direction."""
    angle = np.pi / 2 if vertical else rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / size - 0.5
    t = np.clip(0.5 + x * np.cos(angle) + y * np.sin(angle), 0, 1)[..., None]
    gradient: Floats32 = (start + t * (end - start)).astype(np.float32)
    return gradient


def _place(rng: np.random.Generator, image: Floats32, color: Color, *, edge: bool = False) -> None:
    """Draw one thing with its shadow: a box, a disc or a blob."""
    size = len(image)
    center, extent, angle = _box(rng, size, 0.08, 0.3)
    if edge:
        center = (center[0], size * float(rng.choice([0.02, 0.98])))
    shadow = np.array([1, 1]) * size * 0.015
    for shift, paint in ((shadow, color * 0.3), (shadow * 0, color), (-shadow / 2, color * 0.9 + 25)):
        place = (center[0] + shift[0], center[1] + shift[1])
        smaller = 0.7 if shift[0] < 0 else 1.0
        shape = (extent[0] * smaller, extent[1] * smaller)
        if angle % 3 < 1.5:
            corners = cv2.boxPoints((place, shape, angle)).astype(np.int32)
            cv2.fillPoly(image, [corners], paint.tolist(), cv2.LINE_AA)
        else:
            cv2.ellipse(image, (place, shape, angle), paint.tolist(), -1, cv2.LINE_AA)


def _box(
    rng: np.random.Generator, size: int, low: float, high: float
) -> tuple[tuple[float, float], tuple[float, float], float]:
    x, y = rng.uniform(0, size, 2).tolist()
    width, height = (rng.uniform(low, high, 2) * size).tolist()
    return (x, y), (width, height), float(rng.uniform(0, 180))


def _far_line(rng: np.random.Generator, size: int, length: float = 1.5) -> tuple[list[int], list[int]]:
    start, angle = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi)
    end = start + length * size * np.array([np.cos(angle), np.sin(angle)])
    return start.astype(int).tolist(), end.astype(int).tolist()


def _any(rng: np.random.Generator) -> Color:
    """Any color, rarely a loud one."""
    gray, loud = rng.uniform(30, 225), rng.beta(1.2, 2.2)
    return np.clip(gray + loud * rng.uniform(-130, 130, 3), 8, 245)


def _pastel(rng: np.random.Generator) -> Color:
    return rng.uniform(140, 225) + rng.uniform(-28, 28, 3)


def _earth(rng: np.random.Generator) -> Color:
    return rng.uniform(0.55, 1.15) * np.array([165, 125, 90]) + rng.uniform(-18, 18, 3)


def _gray(rng: np.random.Generator, low: float, high: float) -> Color:
    return rng.uniform(low, high) + rng.uniform(-8, 8, 3)
