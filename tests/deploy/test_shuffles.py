"""Shuffles as convolutions: the same values to the last bit."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from tapetum.deploy.shuffles import translations


class Both(nn.Module):
    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, low: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.pixel_unshuffle(low, self.factor), nn.functional.pixel_shuffle(low, self.factor)


@pytest.mark.parametrize("factor", [2, 3])
def test_same_values_as_torch(factor: int) -> None:
    low = torch.randn(2, 2 * factor**2, 2 * factor, 3 * factor)
    table = translations()
    program = torch.onnx.export(Both(factor).eval(), (low,), dynamo=True, verbose=False, custom_translation_table=table)
    assert program is not None
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    results = session.run(None, {session.get_inputs()[0].name: low.numpy()})
    for result, expected in zip(results, Both(factor)(low), strict=True):
        assert np.array_equal(result, expected.numpy())
