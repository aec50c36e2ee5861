"""Train the speech example's two models on recordings and noise that no pool holds.

    python examples/speech/train.py --speech recordings/ --noise ESC-50/ [--out data/speech]

Needs the extra ``examples`` and the pools of ``build.py`` in `--out`. Writes ``power/model.onnx``
and ``log/model.onnx``: one architecture, two kinds of features. Plan for ten minutes per model on
two CPU cores.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from audio import FEATURES, SNRS_DB, Speech, mix, read_noise, read_speech
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F  # noqa: N812

from calaudit.formats.pool import open_pool

TAKES = range(15, 50)
FOLDS = (1, 2, 3)
OPSET = 18
BATCH = 64


class SqueezeExcite(nn.Module):
    """Scale channels by what the whole recording holds."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = x.mean((2, 3), keepdim=True)
        return x * F.hardsigmoid(self.excite(F.relu(self.squeeze(pooled))))


class Block(nn.Module):
    """Inverted residual: expand, depthwise, squeeze-and-excite, project."""

    def __init__(self, inner: int, outer: int, *, stride: int = 1) -> None:
        super().__init__()
        wide = 2 * inner
        self.body = nn.Sequential(
            *convolution(inner, wide, 1),
            *convolution(wide, wide, 3, stride=stride, groups=wide),
            SqueezeExcite(wide),
            nn.Conv2d(wide, outer, 1, bias=False),
            nn.BatchNorm2d(outer),
        )
        self.residual = stride == 1 and inner == outer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        return x + y if self.residual else y


def convolution(
    inner: int, outer: int, size: int, *, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Convolution, normalisation, hard-swish."""
    layer = nn.Conv2d(inner, outer, size, stride, size // 2, groups=groups, bias=False)
    return layer, nn.BatchNorm2d(outer), nn.Hardswish()


class DigitListener(nn.Module):
    """Features (b, 1, 40, 98) → logits (b, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *convolution(1, 16, 3, stride=2),
            Block(16, 16),
            Block(16, 32, stride=2),
            Block(32, 32),
            Block(32, 48, stride=2),
            Block(48, 48),
            *convolution(48, 96, 1),
        )
        self.classify = nn.Linear(96, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.body(x).mean((2, 3)))


def train(features: str, speech: Speech, noise: list, *, seed: int, epochs: int) -> DigitListener:
    """Fit; every epoch mixes every recording anew, at a random SNR and a shifted start."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    model = DigitListener()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    steps = epochs * (len(speech.waves) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(epochs):
        order = random.permutation(len(speech.waves))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            mixed = np.stack([heard(speech.waves[row], noise, random) for row in rows])
            logits = model(torch.from_numpy(FEATURES[features](mixed)))
            target = torch.from_numpy(speech.labels[rows])
            loss = F.cross_entropy(logits, target, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def heard(
    wave: NDArray[np.float32], noise: list, random: np.random.Generator
) -> NDArray[np.float32]:
    """A recording, shifted by at most 0.1 s, in noise."""
    shifted = np.roll(wave, random.integers(-800, 801))
    return mix(shifted, noise, SNRS_DB[random.integers(len(SNRS_DB))], random)


def accuracy(model: DigitListener, pool_path: Path) -> dict[float, float]:
    """FP32 accuracy on the evaluation split, by SNR."""
    with open_pool(pool_path) as pool, torch.no_grad():
        frame = pool.columns(["split", "snr_db", "label"])
        rows = np.flatnonzero((frame["split"] == "evaluation").to_numpy())
        x = torch.from_numpy(pool.read_inputs(rows)["x"])
        right = torch.cat([model(part) for part in x.split(256)]).argmax(1).numpy()
        right = right == frame["label"].to_numpy()[rows]
        snr_db = frame["snr_db"].to_numpy()[rows]
    return {snr: round(float(right[snr_db == snr].mean()), 4) for snr in SNRS_DB}


def export(model: DigitListener, path: Path) -> None:
    """One ONNX file with a dynamic batch; input ``x``, output ``y``."""
    torch.onnx.export(
        model,
        (torch.zeros(2, 1, 40, 98),),
        str(path),
        input_names=["x"],
        output_names=["y"],
        dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
        opset_version=OPSET,
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    onnx.checker.check_model(onnx.load(path), full_check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--speech", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--noise", type=Path, required=True, help="checkout of ESC-50")
    parser.add_argument("--out", type=Path, default=Path("data/speech"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    everything = read_speech(options.speech)
    speech = everything.where(np.isin(everything.takes, list(TAKES)))
    noise = read_noise(options.noise, FOLDS)
    for features in FEATURES:
        model = train(features, speech, noise, seed=options.seed, epochs=options.epochs)
        path = options.out / features / "model.onnx"
        print(path, accuracy(model, path.with_name("pool.h5")))
        export(model, path)


if __name__ == "__main__":
    main()
