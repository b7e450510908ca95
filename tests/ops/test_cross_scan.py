"""The four-direction scan of a picture: the orders, and the fused operator against the composition in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tapetum.errors import UsageError
from tapetum.ops.selective_scan import cross_merge, cross_scan, cross_selective_scan, operators

ERROR = 1e-5  # relative, against float64


def scan(backend: str) -> Callable[..., Tensor]:
    return lambda **tensors: cross_selective_scan(**tensors, backend=backend)


def test_orders_of_a_picture() -> None:
    x = torch.tensor([[[[1.0, 2, 3], [4, 5, 6]]]])
    assert cross_scan(x)[0, :, 0].tolist() == [
        [1, 2, 3, 4, 5, 6],
        [1, 4, 2, 5, 3, 6],
        [6, 5, 4, 3, 2, 1],
        [6, 3, 5, 2, 4, 1],
    ]
    assert torch.equal(cross_merge(cross_scan(x), 2, 3), 4 * x)


def test_gradients_of_the_composition(cross_inputs: Any) -> None:
    tensors = {name: t.requires_grad_() for name, t in cross_inputs(1, 2, 3, 2, 2, 1).items()}

    def call(*values: Tensor) -> Tensor:
        return scan("reference")(**dict(zip(tensors, values, strict=True)))

    assert torch.autograd.gradcheck(call, tuple(tensors.values()))


@pytest.mark.parametrize(
    ("batch", "channels", "height", "width", "states", "rank"),
    [
        (2, 6, 5, 3, 4, 2),
        (1, 16, 9, 15, 8, 3),  # blocks without a rest
        (2, 40, 17, 20, 13, 3),  # several chunks and blocks, rests of both
        (2, 40, 40, 70, 32, 2),  # several stretches of the backward pass
        (1, 3, 1, 1, 1, 1),
        (1, 3, 1, 9, 2, 1),
        (1, 3, 150, 1, 2, 1),
    ],
)
def test_fused_equals_the_composition(
    cross_inputs: Any,
    gradients: Any,
    largest_error: Any,
    batch: int,
    channels: int,
    height: int,
    width: int,
    states: int,
    rank: int,
) -> None:
    tensors = cross_inputs(batch, channels, height, width, states, rank)
    expected = gradients(scan("reference"), tensors, torch.float64)
    found = gradients(scan("cpu"), tensors, torch.float32)
    assert max(map(largest_error, found, expected)) < ERROR


def test_rows_and_columns_differ(cross_inputs: Any) -> None:
    """The scan of a transposed picture, with the directions' weights exchanged, is the transposed scan."""
    tensors = cross_inputs(1, 16, 9, 14, 4, 2, dtype=torch.float32)
    expected = scan("cpu")(**tensors)
    exchanged = {
        name: t.unflatten(0, (4, -1))[[1, 0, 3, 2]].reshape(t.shape) for name, t in tensors.items() if name != "x"
    }
    exchanged["x"] = tensors["x"].transpose(2, 3)
    torch.testing.assert_close(scan("cpu")(**exchanged).transpose(2, 3), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(scan("cpu")(**{**tensors, "x": tensors["x"].transpose(2, 3)}).transpose(2, 3), expected)


def test_any_strides(cross_inputs: Any) -> None:
    tensors = cross_inputs(2, 17, 9, 14, 4, 2, dtype=torch.float32)
    expected = scan("cpu")(**tensors)
    assert expected.is_contiguous(memory_format=torch.channels_last)
    for x in (
        tensors["x"].to(memory_format=torch.channels_last),
        tensors["x"].permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0),
    ):
        assert torch.equal(scan("cpu")(**{**tensors, "x": x}), expected)


@pytest.mark.parametrize("shape", [(0, 6, 5, 3), (2, 6, 0, 3), (2, 6, 5, 0)])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_empty(cross_inputs: Any, backend: str, shape: tuple[int, ...]) -> None:
    tensors = {n: t.requires_grad_() for n, t in cross_inputs(*shape, dtype=torch.float32).items()}
    y = scan(backend)(**tensors)
    assert y.shape == shape
    y.sum().backward()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_half_precision_and_autocast(cross_inputs: Any, backend: str) -> None:
    tensors = cross_inputs(dtype=torch.float32)
    expected = scan(backend)(**tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(scan(backend)(**tensors), expected)
        mixed = scan(backend)(**{**tensors, "x": tensors["x"].bfloat16()})
    assert mixed.dtype == torch.bfloat16


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_nan_goes_on(cross_inputs: Any, backend: str) -> None:
    tensors = cross_inputs(dtype=torch.float32)
    tensors["x"][0, 0, 2, 1] = torch.nan
    y = scan(backend)(**tensors)
    assert y[0].isnan().all()  # some direction comes by before every pixel
    assert y[1].isfinite().all()


def test_threads_do_not_change_results(cross_inputs: Any, gradients: Any) -> None:
    tensors = cross_inputs(2, 40, 30, 50, 9, 3, dtype=torch.float32)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 3, 3):
            torch.set_num_threads(count)
            results.append(gradients(scan("cpu"), tensors, torch.float32))
    finally:
        torch.set_num_threads(threads)
    for others in results[1:]:  # torch's own matrix products round otherwise on other numbers of threads
        for one, other in zip(others, results[0], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))
    assert all(map(torch.equal, results[1], results[2]))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"x": (6, 5, 3)}, "x must be (batch, E, H, W), got (6, 5, 3)"),
        ({"x": (2, 5, 5, 3)}, "x_proj_weight must be (4, 10, 5)"),
        ({"x": (2, 0, 5, 3)}, "E, R and N must be at least 1"),
        ({"x_proj_weight": (4, 9, 6)}, "x_proj_weight must be (4, 10, 6)"),
        ({"dt_projs_weight": (2, 6, 2)}, "dt_projs_weight must be (4, 6, 2)"),
        ({"dt_projs_bias": (24,)}, "dt_projs_bias must be (4, 6)"),
        ({"A_logs": (6, 4)}, "A_logs must be (24, 4)"),
        ({"Ds": (6,)}, "Ds must be (24,) to fit the others, got (6,)"),
    ],
)
def test_wrong_shapes(cross_inputs: Any, changes: dict[str, tuple[int, ...]], text: str) -> None:
    tensors = cross_inputs() | {name: torch.zeros(shape, dtype=torch.float64) for name, shape in changes.items()}
    with pytest.raises(UsageError) as caught:
        cross_selective_scan(**tensors)
    assert text in str(caught.value)


@pytest.mark.parametrize("requires_grad", [True, False])
def test_opcheck(cross_inputs: Any, requires_grad: bool) -> None:
    tensors = [t.requires_grad_(requires_grad) for t in cross_inputs(dtype=torch.float32).values()]
    torch.library.opcheck(operators.cross_selective_scan, (*tensors, requires_grad, "cpu"))
    y, states = operators.cross_selective_scan(*tensors, True, "cpu")
    given = [t.detach() for t in (torch.ones_like(y), states, *tensors)]
    torch.library.opcheck(operators.cross_selective_scan_backward, (*given, "cpu"))


def test_compiled_as_one_operator(cross_inputs: Any, gradients: Any) -> None:
    tensors = cross_inputs(dtype=torch.float32)
    compiled = torch.compile(scan("auto"), fullgraph=True, backend="aot_eager")
    for found, expected in zip(
        gradients(compiled, tensors, torch.float32), gradients(scan("auto"), tensors, torch.float32), strict=True
    ):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("strict", [True, False])
def test_exported_as_one_operator(cross_inputs: Any, strict: bool) -> None:
    tensors = cross_inputs(dtype=torch.float32)
    x = tensors.pop("x")

    class Module(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return cross_selective_scan(x, **tensors)

    free = torch.export.Dim.AUTO
    program = torch.export.export(Module(), (x,), dynamic_shapes=[{0: free, 2: free, 3: free}], strict=strict)
    called = [str(node.target) for node in program.graph.nodes if "tapetum" in str(node.target)]
    assert called == ["tapetum.cross_selective_scan.default"]
    other = torch.randn(1, 6, 7, 30)
    assert torch.equal(program.module()(other), Module()(other))
