"""How Twilight learns: be right, be right apart from the overall brightness, and keep edges."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from tapetum.losses import at_brightness, number, total_variation


class TwilightObjective:
    """Supervised loss on pairs.

    loss = (1 - b) |e - t| + b |s e - t| + g |grad(s e) - grad(t)|, with s = mean(t) / mean(e) per picture.

    How bright the photographer wanted a picture is partly chance, and a plain L1 spends most of its gradient on it.
    The second term measures the picture at the target's brightness (the GT-mean protocol of the field made a loss,
    cf. Liao et al., "GT-Mean Loss", ICCV 2025); g weighs differences of neighbouring pixels.

    Args:
        brightness_free: b, in [0, 1].
        gradient: g, 0 or more.

    Raises:
        UsageError: a value out of range.
    """

    def __init__(self, brightness_free: float = 0.5, gradient: float = 0.25) -> None:
        self.brightness_free = number("brightness_free", brightness_free, most=1.0)
        self.gradient = number("gradient", gradient)

    def __call__(self, network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``batch``: low and target ``(N, 3, H, W)``, thumbnail ``(N, 3, 64, 64)``, all in [0, 1]."""
        target = batch["target"]
        enhanced = network(batch["low"], batch["thumbnail"]).float()
        matched = at_brightness(enhanced, target)
        plain = (enhanced - target).abs().mean()
        free = (matched - target).abs().mean()
        edges = total_variation(matched - target)
        loss = (1 - self.brightness_free) * plain + self.brightness_free * free + self.gradient * edges
        return {"loss": loss, "l1": plain.detach(), "l1_brightness_free": free.detach(), "edges": edges.detach()}
