"""Train the demo's model on digits under sensor noise, export it to ONNX, write down its accuracy.

    python examples/digits/train.py [--out calaudit/demo] [--seed 0]

Needs the extra ``examples``: ``pip install -e '.[examples]'``. About two minutes on two CPU cores.
"""

import argparse
import hashlib
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import sklearn
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from calaudit.demo.digits import DARK_SIGNAL, NOISE_LEVELS, Digits, expose, read_digits

OPSET = 18
EMBEDDING = 32


class SqueezeExcite(nn.Module):
    """Scale channels by what the whole image holds (Hu et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = x.mean((2, 3), keepdim=True)
        return x * F.hardsigmoid(self.excite(F.relu(self.squeeze(pooled))))


class Block(nn.Module):
    """Inverted residual of MobileNetV3 (Howard et al., 2019): expand, depthwise, SE, project."""

    def __init__(self, inner: int, outer: int, *, expand: int = 3, stride: int = 1) -> None:
        super().__init__()
        wide = inner * expand
        self.expand = nn.Sequential(
            nn.Conv2d(inner, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.Hardswish()
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.Hardswish(),
        )
        self.gate = SqueezeExcite(wide)
        self.project = nn.Sequential(nn.Conv2d(wide, outer, 1, bias=False), nn.BatchNorm2d(outer))
        self.residual = stride == 1 and inner == outer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.gate(self.depthwise(self.expand(x))))
        return x + y if self.residual else y


class DigitNet(nn.Module):
    """Image (b, 1, 8, 8) → logits (b, 10) and an embedding of length 1 (b, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()
        )
        self.blocks = nn.Sequential(
            Block(16, 16), Block(16, 24, stride=2), Block(24, 24), Block(24, 40, stride=2)
        )
        self.embed = nn.Linear(40 * 4, EMBEDDING)
        self.dropout = nn.Dropout(0.2)
        self.classify = nn.Linear(EMBEDDING, 10)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.embed(self.dropout(self.blocks(self.stem(image)).flatten(1)))
        length = features.square().sum(1, keepdim=True).sqrt()
        return self.classify(F.hardswish(features)), features / (length + 1e-6)


def augment(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Rotate, scale, shear and shift a little, then add what the sensor adds at a random level."""
    n = len(images)
    uniform = lambda low, high: low + (high - low) * torch.rand(n, generator=random)  # noqa: E731
    angle, shear = uniform(-0.2, 0.2), uniform(-0.15, 0.15)
    size_x, size_y = uniform(0.9, 1.15), uniform(0.9, 1.15)
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack(
        [
            torch.stack([cos * size_x, (shear - sin) * size_x, uniform(-0.2, 0.2)], 1),
            torch.stack([sin * size_y, cos * size_y, uniform(-0.2, 0.2)], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [n, 1, 8, 8], align_corners=False)
    moved = F.grid_sample(images, grid, align_corners=False)
    levels = torch.tensor(NOISE_LEVELS)[torch.randint(len(NOISE_LEVELS), (n,), generator=random)]
    added = DARK_SIGNAL + torch.randn(moved.shape, generator=random)
    return moved + added * levels[:, None, None, None]


def train(digits: Digits, *, seed: int, steps: int, batch: int = 64) -> DigitNet:
    """Fit on the training split only."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    rows = digits.rows("train")
    images = torch.from_numpy(digits.images[rows])[:, None]
    labels = torch.from_numpy(digits.labels[rows])
    model = DigitNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    model.train()
    for _ in range(steps):
        picked = torch.randint(len(rows), (batch,), generator=random)
        logits, _ = model(augment(images[picked], random))
        loss = F.cross_entropy(logits, labels[picked], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def export(model: DigitNet, path: Path) -> None:
    """One ONNX file with a dynamic batch and without the exporter's notes."""
    torch.onnx.export(
        model,
        (torch.zeros(2, 1, 8, 8),),
        str(path),
        input_names=["image"],
        output_names=["logits", "embedding"],
        dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
        opset_version=OPSET,
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    exported = onnx.load(path)
    graph = exported.graph
    for part in (exported, graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in graph.initializer:
        tensor.ClearField("metadata_props")
        tensor.ClearField("doc_string")
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)


def measure(path: Path, digits: Digits, *, seed: int) -> dict[str, Any]:
    """FP32 accuracy on the evaluation split, per noise level and class group."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows = digits.rows("evaluation")
    labels = digits.labels[rows]
    group = class_groups(digits)[labels]
    right = {}
    for noise in NOISE_LEVELS:
        seen = expose(digits.images, noise, seed=seed)[rows][:, None]
        logits = session.run(["logits"], {"image": seen})[0]
        right[str(noise)] = logits.argmax(1) == labels
    everything = np.stack(list(right.values()))
    return {
        "all": mean(everything),
        "noise": {noise: mean(hits) for noise, hits in right.items()},
        "group": {name: mean(everything[:, group == name]) for name in ("head", "mid", "tail")},
        "noise and group": {
            noise: {name: mean(hits[group == name]) for name in ("head", "mid", "tail")}
            for noise, hits in right.items()
        },
        "label": {str(label): mean(everything[:, labels == label]) for label in range(10)},
    }


def mean(hits: np.ndarray) -> float:
    return round(float(hits.mean()), 4)


def class_groups(digits: Digits) -> np.ndarray:
    """Head, mid or tail per class: the digits that hold the first 50 %, up to 80 %, the rest."""
    collected = digits.collected()
    before = (np.cumsum(collected) - collected) / collected.sum()
    return np.array(["head", "mid", "tail"])[np.searchsorted([0.5, 0.8], before, side="right")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("calaudit/demo"), help="folder")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches, augmentation")
    parser.add_argument("--steps", type=int, default=4000, help="batches of 64")
    options = parser.parse_args()
    digits = read_digits()
    start = time.perf_counter()
    model = train(digits, seed=options.seed, steps=options.steps)
    seconds = time.perf_counter() - start
    path = options.out / "digits.onnx"
    export(model, path)
    accuracy = measure(path, digits, seed=0)
    about = {
        "model": "digits.onnx",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "trained_on": len(digits.rows("train")),
        "evaluated_on": len(digits.rows("evaluation")),
        "collected": digits.collected().tolist(),
        "accuracy": accuracy,
        "seed": {"data": 0, "training": options.seed},
        "steps": options.steps,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "onnxruntime": onnxruntime.__version__,
            "scikit-learn": sklearn.__version__,
            "opset": OPSET,
        },
    }
    path.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    print(f"{path}: {path.stat().st_size / 1024:.0f} KB, trained in {seconds:.0f} s")
    print(json.dumps(accuracy["noise and group"], indent=2))


if __name__ == "__main__":
    main()
