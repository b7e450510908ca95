"""Training grouped convolutions on a processor: forward and backward of torch's layer and of ours, in turns.

    python benchmarks/grouped.py

One thread; medians of core-seconds. Layers of the bundled MambaLLIE on patches of 320.
"""

from __future__ import annotations

from timing import measure, table

# channels, side, kernel, channels per group
LAYERS = [(32, 320, 5, 1), (32, 320, 3, 2), (128, 80, 5, 1), (128, 80, 3, 2)]


def seconds(layer: object, side: int, half: bool) -> float:
    import torch

    channels: int = layer.in_channels  # type: ignore[attr-defined]
    x = torch.randn(1, channels, side, side).contiguous(memory_format=torch.channels_last).requires_grad_()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            y = layer(x)  # type: ignore[operator]
        y.backward(torch.ones_like(y))

    return measure(step).cores


def main() -> None:
    import torch
    from torch import nn

    from tapetum.ops.grouped import GroupedConv2d

    torch.set_num_threads(1)
    rows = []
    for channels, side, kernel, per_group in LAYERS:
        groups = channels // per_group
        torchs = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups)
        ours = GroupedConv2d(channels, kernel, groups)
        for half in (False, True):
            took = [seconds(layer.to(memory_format=torch.channels_last), side, half) for layer in (torchs, ours)]
            precision = "bfloat16" if half else "float32"
            rows.append([channels, f"{side}x{side}", kernel, per_group, precision, *took, took[0] / took[1]])
    print(table(["channels", "picture", "kernel", "per group", "autocast", "torch", "ours", "ratio"], rows))


if __name__ == "__main__":
    main()
