"""An LSTM that reads an image row by row, its gates as two matrices that every method prunes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sw.training.networks.definition import Definition, Recipe

__all__ = ["LSTM", "Lstm"]


class Lstm(nn.Module):
    """79,872 gate weights and 1,280 of the classifier; images are 28 x 28 with one channel.

    The cell of Hochreiter and Schmidhuber, Neural Computation 1997, with the forget gate of Gers
    et al., Neural Computation 2000. The gates of a step, in PyTorch's order i, f, g, o, are
    ``input_gates(x) + hidden_gates(h)``, where x is the step's row and h the hidden state.

    Parameters
    ----------
    inputs : int
        Pixels of a row.
    hidden : int
        Units of the state.
    hidden_threshold : float
        Hidden values of at most this magnitude are set to zero. The attribute may be changed
        when the network is trained.
    """

    def __init__(
        self, inputs: int = 28, hidden: int = 128, classes: int = 10, hidden_threshold: float = 0.0
    ) -> None:
        super().__init__()
        self.hidden = hidden
        self.hidden_threshold = hidden_threshold
        self.input_gates = nn.Linear(inputs, 4 * hidden)
        self.hidden_gates = nn.Linear(hidden, 4 * hidden, bias=False)
        self.fc = nn.Linear(hidden, classes)
        with torch.no_grad():
            self.input_gates.bias[hidden : 2 * hidden] = 1  # remember, until trained to forget

    def forward(self, images: Tensor) -> Tensor:
        h = c = images.new_zeros((len(images), self.hidden))
        with parametrize.cached():  # a mask is applied once, not in every step
            for row in images.flatten(1, 2).unbind(1):
                i, f, g, o = (self.input_gates(row) + self.hidden_gates(h)).chunk(4, 1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                if self.hidden_threshold:
                    h = h * (h.abs() > self.hidden_threshold)
        return self.fc(h)


LSTM = Definition(
    name="lstm",
    summary="an LSTM of 128 hidden units over the 28 rows of an image",
    make=Lstm,
    recipe=Recipe(epochs=8, rate=0.5, retrain_rate=0.2),
    recurrent=True,
)
