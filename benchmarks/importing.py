"""Files decoded on import, beside what their decoders alone reach on all cores. Prints a table.

Images are photographs of 640 × 480 pixels, JPEG of quality 90 and some 120 kB each; recordings are
FLAC and WAV. The peers decode the same files by as many threads as there are cores, and drop what
they get: Pillow opens and resizes, soundfile reads. Ours writes a whole pool besides: values
normalised, checked, written, synced to the disk. In float32 a pool of images has four times their
bytes, which the disk has to take.

What an import can't leave out is a second peer of the images, without a goal of its own: Pillow
decodes and letterboxes or resizes, NumPy transposes and normalises, and the same threads write the
bytes into one file, which is synced to the disk. No labels, boxes, checks or HDF5. And as bytes of
640 × 640 pixels are more than many a disk takes in the time that Pillow needs to decode them, a
third peer decodes and drops, while as many bytes of nothing are written and synced.

    python benchmarks/importing.py [--repeats 5] [--files 200]

Threads or processes: both decode as many images a second, since Pillow and soundfile work outside
Python's lock; from a process each sample would have to be copied once more.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from figures import Figure, by_turns, seconds
from numpy.typing import NDArray
from PIL import Image, ImageOps

from calaudit.formats.importers.annotated import import_annotated
from calaudit.formats.importers.annotated_settings import AnnotatedSettings
from calaudit.formats.importers.coco import read_coco
from calaudit.formats.importers.manifest import import_manifest
from calaudit.formats.importers.manifest_settings import ManifestSettings
from calaudit.runtime.compiled import n_cores
from calaudit.runtime.settings import parse_settings

SHARE = 0.8
"""Of the decoders' rate."""
FILES = 200
SIZE = 224
RATE = 16_000
SECONDS = 10
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
Work = Callable[[], object]


def photograph(rng: np.random.Generator) -> Image.Image:
    """Blobs of several sizes in colour, which JPEG takes as long for as for a photograph."""
    sums = np.full((480, 640, 3), 128.0, np.float32)
    for cells, strength in ((8, 60.0), (32, 30.0), (128, 18.0), (640, 9.0)):
        blobs = rng.normal(0, strength, (480 * cells // 640, cells, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(blobs[..., channel])
            sums[..., channel] += np.asarray(layer.resize((640, 480), Image.Resampling.BICUBIC))
    return Image.fromarray(sums.clip(0, 255).astype(np.uint8))


def save_images(folder: Path, n: int) -> list[Path]:
    """`n` different files, a manifest (images.csv) and COCO's annotations (coco.json)."""
    rng = np.random.default_rng(0)
    few = [np.asarray(photograph(rng)) for _ in range(10)]
    paths = [folder / f"{i:05}.jpg" for i in range(n)]
    for i, path in enumerate(paths):
        Image.fromarray(np.roll(few[i % len(few)], 7 * i, axis=1)).save(path, quality=90)
    rows = [f"{path.name},{i % 10}" for i, path in enumerate(paths)]
    (folder / "images.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    images = [
        {"id": i, "file_name": path.name, "width": 640, "height": 480}
        for i, path in enumerate(paths)
    ]
    boxes = [
        {"id": i, "image_id": i // 7, "category_id": i % 80, "bbox": [9 + i % 99, 20, 50, 60]}
        for i in range(7 * n)
    ]
    kinds = [{"id": i, "name": f"kind {i}"} for i in range(80)]
    told = {"images": images, "annotations": boxes, "categories": kinds}
    (folder / "coco.json").write_text(json.dumps(told), encoding="utf-8")
    return paths


def save_recordings(folder: Path, n: int, suffix: str, rate: int) -> list[Path]:
    """`n` files of a tone in noise, and a manifest beside them."""
    rng = np.random.default_rng(0)
    time = np.arange(SECONDS * rate) / rate
    paths = [folder / f"{i:05}{suffix}" for i in range(n)]
    for i, path in enumerate(paths):
        wave = 0.3 * np.sin(2 * np.pi * (200 + i) * time) + rng.normal(0, 0.03, len(time))
        soundfile.write(path, wave, rate)
    rows = [path.name for path in paths]
    (folder / f"{suffix[1:]}.csv").write_text("\n".join(["path", *rows]), encoding="utf-8")
    return paths


def decode_image(path: Path, size: int = SIZE) -> None:
    """Pillow's part of an import."""
    with Image.open(path) as opened:
        opened.resize((size, size), Image.Resampling.BILINEAR)


def decode_boxed(path: Path) -> None:
    """Pillow's part of an import of 640 × 480 pixels in a square of 640."""
    with Image.open(path) as opened:
        opened.load()


def as_input(path: Path, *, size: int, boxed: bool, as_bytes: bool) -> NDArray[Any]:
    """What a model takes, as most would write it: (3, size, size), in bytes or normalised."""
    with Image.open(path) as opened:
        if boxed:
            image = ImageOps.pad(opened, (size, size), Image.Resampling.BILINEAR, (114,) * 3)
        else:
            image = opened.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
    if as_bytes:
        return pixels
    mean, std = (np.array(each, np.float32)[:, None, None] for each in (MEAN, STD))
    return (pixels.astype(np.float32) / np.float32(255) - mean) / std


def store_images(paths: list[Path], **how: Any) -> None:
    """Decode images by a thread for each core, and write them into one file."""
    out = paths[0].with_name("inputs.bin")
    with out.open("wb") as file:

        def store(row: int) -> None:
            values = as_input(paths[row], **how)
            os.pwrite(file.fileno(), values.data, row * values.nbytes)

        with ThreadPoolExecutor(n_cores()) as threads:
            list(threads.map(store, range(len(paths))))
        os.fsync(file.fileno())


def decode_beside_disk(paths: list[Path], n_bytes: int) -> None:
    """Decode images by a thread for each core, while one more writes as many bytes and syncs."""
    with (
        paths[0].with_name("inputs.bin").open("wb") as file,
        ThreadPoolExecutor(n_cores() + 1) as threads,
    ):
        disk = threads.submit(_fill, file.fileno(), n_bytes)
        list(threads.map(decode_boxed, paths))
        disk.result()


def _fill(descriptor: int, n_bytes: int) -> None:
    part = bytes(8 << 20)
    for start in range(0, n_bytes, len(part)):
        os.pwrite(descriptor, part[: n_bytes - start], start)
    os.fsync(descriptor)


def decode_recording(path: Path) -> None:
    """soundfile's part of an import."""
    soundfile.read(path, dtype="float32", always_2d=True)


def resample_recording(path: Path) -> None:
    """soundfile's and scipy's part of an import."""
    from scipy.signal import resample_poly

    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    resample_poly(wave[:, 0], 1, rate // RATE)


def all_cores(decode: Callable[[Path], None], paths: list[Path]) -> None:
    """Decode files by a thread for each core."""
    with ThreadPoolExecutor(n_cores()) as threads:
        list(threads.map(decode, paths))


def processes(decode: Callable[[Path], None], paths: list[Path]) -> None:
    """Decode files by a process for each core."""
    with ProcessPoolExecutor(n_cores()) as workers:
        list(workers.map(decode, paths, chunksize=8))


def manifest(source: Path, how: dict[str, Any]) -> None:
    """Import what a manifest lists."""
    settings = parse_settings({"inputs": {"x": how}}, ManifestSettings, where="benchmark")
    import_manifest(source, source.with_name("pool.h5"), settings)


def coco(source: Path, how: dict[str, Any]) -> None:
    """Import COCO's annotations."""
    settings = parse_settings({"image": how}, AnnotatedSettings, where="benchmark")
    import_annotated(read_coco(source, settings), source.with_name("pool.h5"), settings)


def anew(folder: Path, work: Work) -> float:
    """Seconds of work that writes a file which isn't there yet; it is removed afterwards."""
    took = seconds(work)
    for name in ("pool.h5", "inputs.bin"):
        (folder / name).unlink(missing_ok=True)
    return took


def compared(ours: Work, theirs: Work, n: int, repeats: int, folder: Path, **told: Any) -> Figure:
    """Rates of both, by turns."""
    both = by_turns(
        partial(anew, folder, ours), partial(anew, folder, theirs), repeats, lambda work: work()
    )
    ours_rate, theirs_rate = (tuple(n / each for each in side) for side in both)
    return Figure(ours=ours_rate, theirs=theirs_rate, more_is_better=True, **told)


def figures(repeats: int, folder: Path, files: int = FILES) -> Iterator[Figure]:
    """Rates of import, each beside its decoder's."""
    images = save_images(folder, files)
    listed, boxed = folder / "images.csv", folder / "coco.json"
    photo = {"size": [SIZE, SIZE], "mean": MEAN, "std": STD}
    as_bytes = {**photo, "as_bytes": True}
    square = {"size": [640, 640], "fit": "letterbox", "as_bytes": True}
    rate = partial(compared, n=files, repeats=repeats, folder=folder, unit="images/s")
    byte = {"size": SIZE, "boxed": False, "as_bytes": True}
    table = {"column": "path"}
    imports: tuple[tuple[str, Work, Callable[[Path], None], dict[str, Any]], ...] = (
        (
            "JPEG photographs, 224 × 224 float32",
            partial(manifest, listed, {**table, "image": photo}),
            decode_image,
            {**byte, "as_bytes": False},
        ),
        (
            "JPEG photographs, 224 × 224 bytes",
            partial(manifest, listed, {**table, "image": as_bytes}),
            decode_image,
            byte,
        ),
        (
            "COCO, 640 × 640 bytes",
            partial(coco, boxed, square),
            decode_boxed,
            {**byte, "size": 640, "boxed": True},
        ),
    )
    for name, ours, decode, how in imports:
        what = f"import of {name}"
        yield rate(
            ours,
            partial(all_cores, decode, images),
            what=what,
            peer="Pillow on all cores",
            goal=SHARE,
        )
        yield rate(
            ours,
            partial(store_images, images, **how),
            what=f"{what}, beside what it can't leave out",
            peer="Pillow, NumPy and a file",
        )
    yield rate(
        partial(coco, boxed, square),
        partial(decode_beside_disk, images, files * 3 * 640 * 640),
        what="import of COCO, 640 × 640 bytes, beside the disk",
        peer="Pillow, and a disk that takes as many bytes",
    )
    wave = {"column": "path", "audio": {"sample_rate": RATE, "length": SECONDS * RATE}}
    flac = save_recordings(folder, files, ".flac", RATE)
    rate = partial(rate, unit="recordings/s", goal=SHARE)
    yield rate(
        partial(manifest, folder / "flac.csv", wave),
        partial(all_cores, decode_recording, flac),
        what=f"import of FLAC recordings of {SECONDS} s",
        peer="soundfile on all cores",
    )
    wav = save_recordings(folder, files // 4, ".wav", 3 * RATE)
    yield rate(
        partial(manifest, folder / "wav.csv", wave),
        partial(all_cores, resample_recording, wav),
        n=len(wav),
        what="import of WAV recordings, 48 to 16 kHz",
        peer="soundfile and scipy on all cores",
    )


def main() -> None:
    """Print the figures, and threads beside processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--files", type=int, default=FILES)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        print("| what | ours | peer | peer's | ratio | goal |\n|---|---:|---|---:|---:|---|")
        for figure in figures(given.repeats, place, given.files):
            print(f"| {' | '.join(figure.cells())} |", flush=True)
        images = sorted(place.glob("*.jpg"))
        threads = compared(
            partial(all_cores, decode_image, images),
            partial(processes, decode_image, images),
            len(images),
            given.repeats,
            place,
            what="Pillow by threads",
            peer="by processes",
            unit="images/s",
        )
        print(f"| {' | '.join(threads.cells())} |")


if __name__ == "__main__":
    main()
