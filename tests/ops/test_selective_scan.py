"""The selective scan: every back end of processors against the naive loop in float64, bad input, torch's tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tapetum.errors import UsageError
from tapetum.ops.selective_scan import operators, selective_scan

BACKENDS = ["reference", "cpu"]
ERROR = 1e-5  # relative, against float64


def scan(backend: str, **options: Any) -> Callable[..., Tensor]:
    def call(**tensors: Tensor) -> Tensor:
        y = selective_scan(**tensors, backend=backend, **options)
        assert isinstance(y, Tensor)
        return y

    return call


@pytest.mark.parametrize("length", [1, 2, 7, 128, 129, 300])
def test_reference_equals_the_naive_loop(scan_inputs: Any, naive: Any, length: int) -> None:
    tensors = scan_inputs(length=length)
    y, last = selective_scan(**tensors, delta_softplus=True, return_last_state=True, backend="reference")
    expected, expected_last = naive(**tensors, delta_softplus=True)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(last, expected_last, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("softplus", [True, False])
def test_gradients_of_the_reference(scan_inputs: Any, softplus: bool) -> None:
    tensors = scan_inputs()
    tensors["delta"] *= 0.1  # without softplus Δ may be negative, and states grow
    tensors["delta_bias"] *= 0.1
    tensors = {name: t.requires_grad_() for name, t in tensors.items()}

    def call(*values: Tensor) -> Tensor:
        return scan("reference", delta_softplus=softplus)(**dict(zip(tensors, values, strict=True)))

    assert torch.autograd.gradcheck(call, tuple(tensors.values()))


@pytest.mark.parametrize("length", [1, 128, 129, 1025, 2100])
@pytest.mark.parametrize(("groups", "per_group", "states"), [(1, 16, 8), (2, 20, 13), (1, 1, 1), (1, 33, 32)])
def test_cpu_equals_the_reference(
    scan_inputs: Any, gradients: Any, largest_error: Any, length: int, groups: int, per_group: int, states: int
) -> None:
    """Lengths around the chunks and stretches, channels and states around the vectors and blocks."""
    tensors = scan_inputs(2, groups, per_group, states, length)
    expected = gradients(scan("reference", delta_softplus=True), tensors, torch.float64)
    found = gradients(scan("cpu", delta_softplus=True), tensors, torch.float32)
    assert max(map(largest_error, found, expected)) < ERROR


@settings(max_examples=25)
@given(data=st.data())
def test_any_shape_and_options(
    scan_inputs: Any, naive: Any, gradients: Any, sensitivity: Any, data: st.DataObject
) -> None:
    """Values, gradients and last state of both back ends, whatever is left out."""
    groups = data.draw(st.integers(1, 3), "groups")
    per_group, length = data.draw(st.integers(1, 20), "per_group"), data.draw(st.integers(1, 20), "length")
    sizes = per_group, data.draw(st.sampled_from([1, 5, 13, 16]), "states"), length
    batch, seed = data.draw(st.integers(1, 2), "batch"), data.draw(st.integers(0, 1000), "seed")
    options = {"delta_softplus": data.draw(st.booleans(), "softplus")}
    tensors = scan_inputs(batch, groups, *sizes, seed=seed)
    if not options["delta_softplus"]:  # then Δ may be negative, and states grow, but not beyond float32
        for name in ("delta", "delta_bias", "A"):
            tensors[name] *= 0.1
    for name in ("D", "delta_bias"):
        if not data.draw(st.booleans(), name):
            del tensors[name]
    if data.draw(st.booleans(), "z"):
        tensors["z"] = scan_inputs(batch, groups, *sizes, seed=seed + 1)["u"]
    if groups == 1 and data.draw(st.booleans(), "shared"):
        tensors["B"], tensors["C"] = tensors["B"][:, 0], tensors["C"][:, 0]

    def exact(**given: Tensor) -> list[Tensor]:
        return [
            *gradients(lambda **t: naive(**t, **options)[0], given, torch.float64),
            naive(**given, **options)[1],
        ]

    expected = exact(**tensors)
    moved = sensitivity(exact, tensors, expected)
    narrow = {name: t.float() for name, t in tensors.items()}
    for backend in BACKENDS:
        found = gradients(scan(backend, **options), tensors, torch.float32)
        _, last = selective_scan(**narrow, **options, return_last_state=True, backend=backend)
        for one, other, rounding in zip([*found, last], expected, moved, strict=True):
            assert one.shape == other.shape
            assert (one - other).abs().max() <= ERROR * other.abs().max() + 2 * rounding


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_strides(scan_inputs: Any, gradients: Any, largest_error: Any, backend: str) -> None:
    """Channels last, reversed order of axes in memory, expanded: the same as contiguous."""
    tensors = scan_inputs(2, 2, 17, 5, 150, dtype=torch.float32)
    tensors["u"] = tensors["u"][:1].expand(2, -1, -1)
    expected = gradients(scan(backend, delta_softplus=True), tensors, torch.float32)
    turned = {name: t.permute(*reversed(range(t.ndim))).contiguous() for name, t in tensors.items()}

    def call(**values: Tensor) -> Tensor:
        back = {name: t.permute(*reversed(range(t.ndim))) for name, t in values.items()}
        return scan(backend, delta_softplus=True)(**back)

    value, *found = gradients(call, turned, torch.float32)
    assert largest_error(value, expected[0]) < ERROR
    for one, other in zip(found, expected[1:], strict=True):
        assert largest_error(one.permute(*reversed(range(one.ndim))), other) < ERROR
    wide = torch.randn(2, 34, 300)[..., ::2]
    y = scan(backend, delta_softplus=True)(**{**tensors, "u": wide})
    assert largest_error(y, scan(backend, delta_softplus=True)(**{**tensors, "u": wide.contiguous()})) < ERROR


def test_gradient_that_comes_expanded(scan_inputs: Any) -> None:
    tensors = {name: t.requires_grad_() for name, t in scan_inputs(dtype=torch.float32).items()}
    scan("cpu")(**tensors).sum().backward()  # sum's gradient has strides of 0
    assert all(t.grad is not None and t.grad.isfinite().all() for t in tensors.values())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("extreme", [100.0, -100.0])
def test_extreme_steps(scan_inputs: Any, gradients: Any, largest_error: Any, backend: str, extreme: float) -> None:
    tensors = scan_inputs(states=32, length=40)
    tensors["delta"] = torch.full_like(tensors["delta"], extreme)
    expected = gradients(scan("reference", delta_softplus=True), tensors, torch.float64)
    found = gradients(scan(backend, delta_softplus=True), tensors, torch.float32)
    assert all(t.isfinite().all() for t in found)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=3e-5, atol=1e-5 * float(other.abs().max()) + 1e-30)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["u", "delta", "B", "C", "A"])
def test_nan_goes_on_and_stays_in_its_channels(scan_inputs: Any, backend: str, name: str) -> None:
    tensors = scan_inputs(batch=1, groups=2, per_group=2, length=40, dtype=torch.float32)
    tensors[name].flatten()[0] = torch.nan  # of the first channel or group, at the first step
    y = scan(backend, delta_softplus=True)(**tensors)
    assert y[:, 0, 0].isnan().all()
    assert name == "C" or y[:, 0].isnan().all()
    assert y[:, 2:].isfinite().all()
    leaves = {key: t.requires_grad_() for key, t in tensors.items()}
    scan(backend, delta_softplus=True)(**leaves).sum().backward()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("batch", "length"), [(0, 7), (2, 0), (0, 0)])
def test_empty(scan_inputs: Any, backend: str, batch: int, length: int) -> None:
    tensors = {n: t.requires_grad_() for n, t in scan_inputs(batch=batch, length=length, dtype=torch.float32).items()}
    y, last = selective_scan(**tensors, return_last_state=True, backend=backend)
    assert y.shape == (batch, 6, length)
    assert last.shape == (batch, 6, 5)
    y.sum().backward()
    assert tensors["A"].grad is not None
    assert not tensors["A"].grad.any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_and_autocast(scan_inputs: Any, backend: str) -> None:
    """The result has u's dtype; inside it is float32 also where autocast would not have it so."""
    tensors = scan_inputs(length=200, dtype=torch.float32)
    expected = scan(backend, delta_softplus=True)(**tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(scan(backend, delta_softplus=True)(**tensors), expected)
    half = {name: t.bfloat16() for name, t in tensors.items()}
    exact = scan(backend, delta_softplus=True)(**{name: t.float() for name, t in half.items()})
    y = scan(backend, delta_softplus=True)(**half)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, exact.bfloat16())


def test_last_state_has_no_gradient(scan_inputs: Any) -> None:
    tensors = {name: t.requires_grad_() for name, t in scan_inputs().items()}
    y, last = selective_scan(**tensors, return_last_state=True)
    assert y.requires_grad
    assert not last.requires_grad


def test_threads_do_not_change_results(scan_inputs: Any, gradients: Any) -> None:
    tensors = scan_inputs(2, 2, 40, 9, 2300, dtype=torch.float32)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 3, 3):
            torch.set_num_threads(count)
            results.append(gradients(scan("cpu", delta_softplus=True), tensors, torch.float32))
    finally:
        torch.set_num_threads(threads)
    for others in results[1:]:
        assert all(map(torch.equal, others, results[0]))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"delta": (2, 6, 8)}, "delta must be (2, 6, 7) to fit the others, got (2, 6, 8)"),
        ({"A": (5, 5)}, "A must be (6, 5)"),
        ({"A": (6,)}, "A must be (M, N), got (6,)"),
        ({"A": (6, 0)}, "M and N at least 1"),
        ({"B": (2, 2, 4, 7)}, "B must be (2, 2, 5, 7)"),
        ({"B": (2, 4, 5, 7)}, "the 6 channels of u do not divide into the 4 groups of B"),
        ({"B": (2, 5, 7)}, "C must be (2, 5, 7)"),
        ({"B": (7,)}, "B must be (2, 5, 7)"),
        ({"C": (2, 1, 5, 7)}, "C must be (2, 2, 5, 7)"),
        ({"D": (1,)}, "D must be (6,)"),
        ({"delta_bias": (6, 1)}, "delta_bias must be (6,)"),
        ({"z": (2, 6)}, "z must be (2, 6, 7)"),
        ({"u": (6, 7)}, "u must be (batch, M, L), got (6, 7)"),
    ],
)
def test_wrong_shapes(scan_inputs: Any, changes: dict[str, tuple[int, ...]], text: str) -> None:
    tensors = scan_inputs() | {name: torch.zeros(shape, dtype=torch.float64) for name, shape in changes.items()}
    with pytest.raises(UsageError) as caught:
        selective_scan(**tensors)
    assert text in str(caught.value)


def test_wrong_types_and_devices(scan_inputs: Any) -> None:
    tensors = scan_inputs()
    with pytest.raises(UsageError, match=r"A must be of a floating type, got torch\.int64"):
        selective_scan(**{**tensors, "A": tensors["A"].long()})
    with pytest.raises(UsageError, match="B must be a tensor, got ndarray"):
        selective_scan(**{**tensors, "B": tensors["B"].numpy()})
    for name in ("u", "B"):
        with pytest.raises(UsageError, match=f"{name} must be a tensor, got NoneType"):
            selective_scan(**{**tensors, name: None})
    with pytest.raises(UsageError, match="backend must be the name of one, or auto, got None"):
        selective_scan(**tensors, backend=None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="delta is on meta, but the input is on cpu"):
        selective_scan(**{**tensors, "delta": tensors["delta"].to("meta")})


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_opcheck(scan_inputs: Any, backend: str, requires_grad: bool) -> None:
    tensors = [t.requires_grad_(requires_grad) for t in scan_inputs(dtype=torch.float32).values()]
    arguments = (*tensors, True, requires_grad, backend)
    torch.library.opcheck(operators.selective_scan, arguments)
    y, _, states = operators.selective_scan(*tensors, True, True, backend)
    given = [t.detach() for t in (torch.ones_like(y), states, *tensors)]
    torch.library.opcheck(operators.selective_scan_backward, (*given, True, backend))


def test_compiled_as_one_operator(scan_inputs: Any, gradients: Any) -> None:
    tensors = scan_inputs(dtype=torch.float32)
    eager = scan("auto", delta_softplus=True)
    compiled = torch.compile(eager, fullgraph=True, backend="aot_eager")
    for found, expected in zip(
        gradients(compiled, tensors, torch.float32), gradients(eager, tensors, torch.float32), strict=True
    ):
        assert torch.equal(found, expected)


def test_exported_as_one_operator(scan_inputs: Any) -> None:
    class Module(torch.nn.Module):
        def forward(self, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
            return scan("auto")(u=u, delta=delta, A=A, B=B, C=C)

    def values(batch: int, length: int) -> tuple[Tensor, ...]:
        return tuple(scan_inputs(batch=batch, length=length, dtype=torch.float32).values())[:5]

    free, fixed = {0: torch.export.Dim.AUTO, -1: torch.export.Dim.AUTO}, None
    shapes = [{0: free[0], 2: free[-1]}] * 2 + [fixed] + [{0: free[0], 3: free[-1]}] * 2
    program = torch.export.export(Module(), values(2, 7), dynamic_shapes=shapes)
    called = [str(node.target) for node in program.graph.nodes if "tapetum" in str(node.target)]
    assert called == ["tapetum.selective_scan.default"]
    others = values(3, 200)
    assert torch.equal(program.module()(*others), Module()(*others))
