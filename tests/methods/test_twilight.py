"""The default network: its tone curve, its declared properties, its size."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tapetum.methods.twilight import METHOD, Twilight, TwilightConfig, TwilightObjective
from tapetum.methods.twilight.network import curve, recognise


def trained_like(config=None):
    """A network whose every branch is at work (fresh ones begin at the identity)."""
    torch.manual_seed(0)
    network = Twilight(config or TwilightConfig()).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return network


@given(slope=st.floats(0.05, 50), x=st.floats(0, 1))
def test_curve_keeps_black_white_and_order(slope, x):
    slope, x = torch.tensor(slope, dtype=torch.float64), torch.tensor(x, dtype=torch.float64)
    assert curve(torch.zeros(()), slope) == 0
    assert curve(torch.ones((), dtype=torch.float64), slope).item() == pytest.approx(1)
    assert -1e-12 <= curve(x, slope) <= 1 + 1e-12
    assert curve(x, slope) <= curve(torch.clamp(x + 0.01, max=1), slope) + 1e-12
    assert curve(x, torch.ones_like(x)) == x


def test_fresh_network_is_near_the_identity():
    torch.manual_seed(0)
    low = torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        assert (Twilight()(low) - low).abs().max() < 0.2


def test_size_budget():
    assert sum(p.numel() for p in Twilight().parameters()) <= 120_000


def test_receptive_field_is_as_declared():
    """An output pixel does not see further than declared (thumbnail given), and nearly as far."""
    network = trained_like()
    radius = network.properties.receptive_field
    side = 2 * radius + 80
    low = torch.rand(1, 3, side, side, requires_grad=True)
    thumbnail = torch.rand(1, 3, 64, 64)
    row, column = side // 2 + 3, side // 2 + 4
    network(low, thumbnail)[0, :, row, column].sum().backward()
    seen = low.grad[0].abs().amax(0).nonzero()
    reach = max((seen[:, 0] - row).abs().max().item(), (seen[:, 1] - column).abs().max().item())
    assert 0.75 * radius <= reach <= radius


def test_context_none_is_the_thumbnail_of_low():
    network = trained_like()
    low = torch.rand(2, 3, 40, 72)
    thumbnail = torch.nn.functional.adaptive_avg_pool2d(low, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(low), network(low, thumbnail), atol=0, rtol=0)


def test_the_thumbnail_matters():
    network = trained_like()
    low = torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        dark, bright = (network(low, torch.full((1, 3, 64, 64), v)) for v in (0.02, 0.9))
    assert (dark - bright).abs().mean() > 1e-3


@pytest.mark.parametrize("config", METHOD.configs.values(), ids=METHOD.configs)
def test_recognised_from_its_state(config):
    assert recognise(Twilight(config).state_dict()) == config
    assert recognise({"body.0.estimator.conv1.weight": torch.zeros(1)}) is None


def test_objective_ignores_brightness_where_told_to():
    target = torch.rand(2, 3, 32, 32) * 0.5 + 0.1
    batch = {"low": target, "target": target, "thumbnail": torch.zeros(2, 3, 64, 64)}

    def dimmed(low, context):
        return low * 0.5

    assert TwilightObjective(brightness_free=1.0)(dimmed, batch)["loss"] < 1e-6
    assert TwilightObjective(brightness_free=0.0)(dimmed, batch)["loss"] > 0.05
