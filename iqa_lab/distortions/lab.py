"""CIE L*a*b* of sRGB values in [0, 1], with the white point D65 (0.95047, 1, 1.08883)."""

from __future__ import annotations

import numpy as np

WHITE = np.array([0.95047, 1.0, 1.08883])
PRIMARIES = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]])  # x, y of red, green, blue: ITU-R BT.709
EPSILON, KAPPA = 216 / 24389, 24389 / 27  # CIE 15: where the cube root meets the straight line


def rgb_to_xyz_matrix() -> np.ndarray:
    """Returns the matrix that maps linear red, green and blue to X, Y, Z, and (1, 1, 1) to the white point."""
    x, y = PRIMARIES.T
    colours = np.stack((x / y, np.ones(3), (1 - x - y) / y))
    return colours * np.linalg.solve(colours, WHITE)


RGB_TO_XYZ = rgb_to_xyz_matrix()
XYZ_TO_RGB = np.linalg.inv(RGB_TO_XYZ)


def rgb_to_lab(image: np.ndarray) -> np.ndarray:
    """Returns L* in [0, 100], a* and b* of an image of shape (H, W, 3)."""
    linear = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    relative = linear @ RGB_TO_XYZ.T / WHITE
    root = np.where(relative > EPSILON, np.cbrt(relative), (KAPPA * relative + 16) / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1)


def lab_to_rgb(lab: np.ndarray) -> np.ndarray:
    """Returns sRGB values clipped to [0, 1]: colours that no screen can show end on the surface of the cube."""
    y = (lab[..., 0] + 16) / 116
    root = np.stack((y + lab[..., 1] / 500, y, y - lab[..., 2] / 200), axis=-1)
    relative = np.where(root**3 > EPSILON, root**3, (116 * root - 16) / KAPPA)
    linear = np.clip(relative * WHITE @ XYZ_TO_RGB.T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
