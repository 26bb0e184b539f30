"""Three training loops as strangers write them, each with the lines that prune in it.

Lines that pruning adds say ``pruner``; ``test_loops`` counts them. The second and third have the
shape, and the names of the hooks, of Lightning's and Hugging Face's trainers.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from sw.training import Pruner
from tests.sw.training.toys import CLASSES, toy_images, toy_loader

# -- a script in plain PyTorch ------------------------------------------------------------------


class Net(nn.Module):
    """Convolutions, dropout of channels and of units, log-probabilities: a first tutorial's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3)
        self.conv2 = nn.Conv2d(8, 8, 3)
        self.dropout1 = nn.Dropout2d(0.1)
        self.fc1 = nn.Linear(32, 16)
        self.dropout2 = nn.Dropout(0.2)
        self.fc2 = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(x))
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = torch.flatten(self.dropout1(x), 1)
        x = self.dropout2(functional.relu(self.fc1(x)))
        return functional.log_softmax(self.fc2(x), dim=1)


def plain(epochs: int = 20) -> tuple[list[float], Any]:
    model, loader, losses = Net(), toy_loader(), []
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.97)
    pruner = Pruner(model, toy_images(8)[0], density=0.2, steps=epochs * len(loader))
    for _ in range(epochs):
        model.train()
        for data, target in loader:
            optimizer.zero_grad()
            loss = functional.nll_loss(model(data), target)
            loss.backward()
            optimizer.step()
            pruner.step()
            losses.append(loss.item())
        scheduler.step()
    return losses, pruner.finish()


# -- a module that is trained by a trainer with callbacks ---------------------------------------


class LightModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(8, 16, 3), nn.GELU(), nn.Conv1d(16, 8, 3))
        self.decoder = nn.ConvTranspose1d(8, 8, 5)

    def forward(self, rows: Tensor) -> Tensor:
        return self.decoder(self.encoder(rows))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        rows = batch[0][:, 0]
        return functional.mse_loss(self(rows), rows)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        return {
            "optimizer": optimizer,
            "lr_scheduler": torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=60),
        }


class PruningCallback:
    """What a user adds to Lightning: there its base is ``lightning.Callback``."""

    def setup(self, trainer: Any, module: Any, stage: str) -> None:
        self.pruner = Pruner(module, torch.rand(2, 8, 8), "taylor", 0.3, steps=trainer.max_steps)

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.pruner.step()

    def on_save_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["pruner"] = self.pruner.state_dict()

    def on_load_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        self.pruner.load_state_dict(checkpoint["pruner"])

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        self.result = self.pruner.finish()


class LightTrainer:
    """Calls hooks in the order in which Lightning does."""

    def __init__(self, max_steps: int, callbacks: list[Any], save_at: int | None = None) -> None:
        self.max_steps, self.callbacks, self.losses = max_steps, callbacks, []
        self.save_at, self.checkpoint = save_at, {}

    def fit(
        self, module: LightModule, loader: list[Any], ckpt: dict[str, Any] | None = None
    ) -> None:
        self._call("setup", module, "fit")
        stated = module.configure_optimizers()
        optimizer, scheduler = stated["optimizer"], stated["lr_scheduler"]
        step = 0
        if ckpt is not None:
            module.load_state_dict(ckpt["state_dict"])
            self._call("on_load_checkpoint", module, ckpt)
            optimizer.load_state_dict(ckpt["optimizer"])
            scheduler.load_state_dict(ckpt["scheduler"])
            step = ckpt["global_step"]
        module.train()
        while step < self.max_steps:
            for batch_idx, batch in enumerate(loader):
                if step == self.max_steps:
                    break
                if step == self.save_at:
                    self.checkpoint = {
                        "state_dict": copy.deepcopy(module.state_dict()),
                        "optimizer": copy.deepcopy(optimizer.state_dict()),
                        "scheduler": copy.deepcopy(scheduler.state_dict()),
                        "global_step": step,
                    }
                    self._call("on_save_checkpoint", module, self.checkpoint)

                def closure(batch: Any = batch, batch_idx: int = batch_idx) -> Tensor:
                    loss = module.training_step(batch, batch_idx)
                    optimizer.zero_grad()
                    loss.backward()
                    return loss

                loss = optimizer.step(closure)
                scheduler.step()
                self._call("on_train_batch_end", module, loss, batch, batch_idx)
                self.losses.append(float(loss.detach()))
                step += 1
        self._call("on_fit_end", module)

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self, *arguments)


def lightning_like(steps: int = 60) -> tuple[list[float], Any]:
    pruning = PruningCallback()
    trainer = LightTrainer(max_steps=steps, callbacks=[pruning])
    trainer.fit(LightModule(), list(toy_loader()))
    return trainer.losses, pruning.result


# -- a model that returns its loss, batches as dicts, accumulation, clipping ---------------------


@dataclass
class Output:
    loss: Tensor | None
    logits: Tensor


class Classifier(nn.Module):
    """Tokens to classes: embedding, attention, a feed-forward block."""

    def __init__(self, vocabulary: int = 9, width: int = 16, labels: int = 3) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(vocabulary, width)
        self.encoder = nn.TransformerEncoderLayer(width, 2, 32, batch_first=True)
        self.classifier = nn.Linear(width, labels)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> Output:
        logits = self.classifier(self.encoder(self.embeddings(input_ids)).mean(1))
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return Output(loss, logits)


def tokens(count: int = 96) -> list[dict[str, Tensor]]:
    """Return sentences whose label is the most frequent of the words 0, 1 and 2."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(count):
        label = torch.randint(3, (), generator=generator)
        words = torch.randint(9, (6,), generator=generator)
        words[:3] = label
        found.append({"input_ids": words, "labels": label})
    return found


class TrainerCallback:
    """What a user adds to Hugging Face's: there its base is ``transformers.TrainerCallback``."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        example = {"input_ids": torch.zeros(2, 6, dtype=torch.int64)}
        self.pruner = Pruner(model, example, "movement", 0.3, steps=state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.pruner.step()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.result = self.pruner.finish()


@dataclass
class State:
    max_steps: int


def hugging_face_like(epochs: int = 8, accumulation: int = 2) -> tuple[list[float], Any]:
    model, callback = Classifier(), TrainerCallback()
    loader = DataLoader(tokens(), batch_size=8, shuffle=True)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
    state, losses = State(epochs * len(loader) // accumulation), []
    callback.on_train_begin(None, state, None, model=model)
    for _ in range(epochs):
        for number, batch in enumerate(loader, start=1):
            loss = model(**batch).loss
            (loss / accumulation).backward()
            losses.append(loss.item())
            if number % accumulation == 0:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                callback.on_step_end(None, state, None)
                optimizer.zero_grad()
    callback.on_train_end(None, state, None)
    return losses, callback.result
