"""How an image comes into a model's input: stretched, cut or letterboxed; its boxes with it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calaudit.formats.importers.manifest_settings import ImageSettings


@dataclass(frozen=True, slots=True)
class Placement:
    """A part of an image, scaled and laid on a canvas. All in pixels: widths before heights."""

    part: tuple[float, float, float, float]
    """left, top, right, bottom of what is taken of the image."""
    scaled: tuple[int, int]
    """What it is scaled to."""
    at: tuple[int, int]
    """Where its left upper corner comes to lie on the canvas; negative where it is cut."""
    canvas: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the canvas for each pixel of the image, across and down."""
        left, top, right, bottom = self.part
        return self.scaled[0] / (right - left), self.scaled[1] / (bottom - top)

    @property
    def unit_area(self) -> float:
        """Pixels² of the image for each pixel² of the canvas."""
        across, down = self.scale
        return 1.0 / (across * down)

    @property
    def cuts(self) -> bool:
        """Whether parts of the image don't come onto the canvas."""
        shown = (
            max(0, -self.at[0]) + max(0, self.at[0] + self.scaled[0] - self.canvas[0]),
            max(0, -self.at[1]) + max(0, self.at[1] + self.scaled[1] - self.canvas[1]),
        )
        return any(shown) or self.part[:2] != (0.0, 0.0)

    @property
    def corner(self) -> tuple[int, int]:
        """Where the left upper corner of what is shown of the image lies on the canvas."""
        return max(0, self.at[0]), max(0, self.at[1])

    def shown(self, image: Image.Image, method: Image.Resampling) -> Image.Image:
        """What comes onto the canvas of the scaled image; the image itself where that is it."""
        scaled = image
        if (self.scaled, self.part) != (image.size, (0.0, 0.0, *map(float, image.size))):
            scaled = image.resize(self.scaled, method, box=self.part)
        left, top = max(0, -self.at[0]), max(0, -self.at[1])
        right = min(scaled.width, self.canvas[0] - self.at[0])
        bottom = min(scaled.height, self.canvas[1] - self.at[1])
        wanted = (left, top, right, bottom)
        return scaled if wanted == (0, 0, *scaled.size) else scaled.crop(wanted)

    def apply(self, image: Image.Image, method: Image.Resampling, *, fill: int) -> Image.Image:
        """The canvas with the image on it; `fill` is what stands around it."""
        part = self.shown(image, method)
        if part.size == self.canvas:
            return part
        canvas = Image.new(image.mode, self.canvas, fill)
        canvas.paste(part, self.corner)
        return canvas

    def move(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Boxes (m, 4) x1, y1, x2, y2 of the image on the canvas, not clipped to it."""
        across, down = self.scale
        scale = np.array([across, down, across, down])
        start = np.array([*self.part[:2], *self.part[:2]])
        moved: NDArray[np.float64] = (boxes - start) * scale + np.array([*self.at, *self.at])
        return moved


def place(width: int, height: int, settings: ImageSettings) -> Placement:
    """Where an image of so many pixels comes to lie in the model's input.

    Without a size it stays as it is. ``stretch`` scales both sides to the size. ``crop`` cuts the
    centre, after the shorter side was scaled where that is asked for. ``letterbox`` scales the
    longer side to fit and leaves a border, rounded to whole pixels.
    """
    whole = (0.0, 0.0, float(width), float(height))
    if settings.size is None:
        return Placement(whole, (width, height), (0, 0), (width, height))
    canvas = (settings.size[1], settings.size[0])
    if settings.fit == "stretch":
        return Placement(whole, canvas, (0, 0), canvas)
    if settings.fit == "letterbox":
        return _letterbox(width, height, canvas, centered=settings.align == "center")
    if settings.shorter_side is None:
        return Placement(_centre(width, height, canvas), canvas, (0, 0), canvas)
    ratio = settings.shorter_side / min(width, height)
    scaled = (round(width * ratio), round(height * ratio))
    at = (-((scaled[0] - canvas[0]) // 2), -((scaled[1] - canvas[1]) // 2))
    return Placement(whole, scaled, at, canvas)


def _letterbox(width: int, height: int, canvas: tuple[int, int], *, centered: bool) -> Placement:
    ratio = min(canvas[0] / width, canvas[1] / height)
    scaled = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    free = (canvas[0] - scaled[0], canvas[1] - scaled[1])
    # Of an odd number of free pixels the one more is at the end, as in Ultralytics' LetterBox.
    at = (free[0] // 2, free[1] // 2) if centered else (0, 0)
    return Placement((0.0, 0.0, float(width), float(height)), scaled, at, canvas)


def _centre(width: int, height: int, canvas: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest part of the canvas's shape, in the middle; as Pillow's ImageOps.fit cuts."""
    across, down = float(width), float(height)
    wanted, found = canvas[0] / canvas[1], width / height
    if found > wanted:
        across = wanted * height
    elif found < wanted:
        down = width / wanted
    left, top = (width - across) * 0.5, (height - down) * 0.5
    return left, top, left + across, top + down
