"""Train the ranking example's model: an autoencoder that scores all items from a user's history.

    python examples/ranking/train.py [--pool data/ranking/pool.h5] [--out data/ranking/model.onnx]

Needs the extra ``examples``: ``pip install -e '.[examples]'``. About a minute on two CPU cores.
The model is a denoising autoencoder with a multinomial loss (Liang et al., "Variational
Autoencoders for Collaborative Filtering", WWW 2018, Mult-DAE), trained on the histories of all
users; what the pool holds out, it never sees.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F  # noqa: N812

from calaudit.formats.pool import open_pool

OPSET = 18
HIDDEN = 256


class Ranker(nn.Module):
    """History (b, items), 0 or 1 → scores (b, items)."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.encode = nn.Linear(items, HIDDEN)
        self.decode = nn.Linear(HIDDEN, items)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = (x * x).sum(1, keepdim=True).add(1e-12).sqrt()
        return self.decode(torch.tanh(self.encode(F.dropout(x / length, 0.5, self.training))))


def train(history: torch.Tensor, *, seed: int, epochs: int) -> Ranker:
    """Fit the histories (users, items)."""
    torch.manual_seed(seed)
    model = Ranker(history.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    for _ in range(epochs):
        for batch in torch.randperm(len(history)).split(64):
            seen = history[batch]
            loss = -(F.log_softmax(model(seen), 1) * seen).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def export(model: Ranker, path: Path) -> None:
    """One ONNX file with a dynamic batch; input ``x``, output ``y``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model,
        (torch.zeros(2, model.encode.in_features),),
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


def ndcg(scores: NDArray[np.float32], relevance: NDArray[np.uint8], k: int = 10) -> float:
    """Mean nDCG@k with linear gain (scores and relevance: (users, items))."""
    top = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    discount = 1 / np.log2(np.arange(2, k + 2))
    gain = (np.take_along_axis(relevance, top, 1) * discount).sum(1)
    ideal = (np.sort(relevance, 1)[:, ::-1][:, :k] * discount).sum(1)
    return float((gain / ideal).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pool", type=Path, default=Path("data/ranking/pool.h5"))
    parser.add_argument("--out", type=Path, default=Path("data/ranking/model.onnx"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    with open_pool(options.pool) as pool:
        rows = np.arange(len(pool), dtype=np.int64)
        history = torch.from_numpy(pool.read_inputs(rows)["x"])
        relevance = pool.read_target("relevance", rows)
        judged = (pool.columns(["split"])["split"] == "evaluation").to_numpy()
    model = train(history, seed=options.seed, epochs=options.epochs)
    with torch.no_grad():
        scores = model(history).masked_fill(history > 0, -torch.inf).numpy()
    export(model, options.out)
    found = ndcg(scores[judged], relevance[judged])
    print(f"{options.out}: nDCG@10 {found:.4f} over {judged.sum()} evaluated users")


if __name__ == "__main__":
    main()
