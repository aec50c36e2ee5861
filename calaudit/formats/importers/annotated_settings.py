"""How images with annotated boxes become a pool."""

from calaudit.formats.importers.manifest_settings import ImageSettings
from calaudit.runtime.errors import SettingsError
from calaudit.runtime.settings import setting

LETTERBOX = ImageSettings(fit="letterbox")


@setting
class AnnotatedSettings:
    """Everything an import of COCO's or YOLO's annotations needs to know.

    Paths are relative to the folder of the annotations.
    """

    input: str = "images"
    """The model's input."""
    target: str = "objects"
    """What the pool calls the objects."""
    image: ImageSettings = LETTERBOX
    """Preprocessing. Images are letterboxed where a size is asked for, unless `fit` says otherwise:
    detectors are mostly trained so."""
    images: str | None = None
    """Folder of the images, where they aren't where such annotations have them."""
    meta: str | None = None
    """Table with metadata of each image, found by its path or number."""
    columns: dict[str, str] | None = None
    """Metadata column in the pool → column of that table. None takes all."""
    classes: tuple[str, ...] | None = None
    """Names in the order of the model's outputs. By default COCO's categories by their number, or
    YOLO's names."""
    splits: tuple[str, ...] | None = None
    """Splits to take; None takes all."""
    most: dict[str, int] | None = None
    """Split → images to take at most, at even distances; ``"*"``: of every other split."""
    outside: bool = False
    """Whether paths may leave the folder of the images."""

    def __post_init__(self) -> None:
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise SettingsError("classes holds a name twice")
        for name, n in (self.most or {}).items():
            if n < 1:
                raise SettingsError(f"most must be at least 1, got {n} for {name}")
