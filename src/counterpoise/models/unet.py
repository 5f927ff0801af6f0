"""UNet in two dimensions, of any width and depth.

At width 64 and depth 4 the state dict has the names and shapes of the widely used milesial/Pytorch-UNet layout
(transposed convolutions), so a checkpoint loads into the CellMap toolbox's ``UNet_2D`` and the other way round.
Several input channels make it 2.5-D: adjacent sections in, the centre section's classes out.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["UNet2D"]


class _DoubleConv(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.double_conv(features)
        return out


class _Down(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), _DoubleConv(channels_in, channels_out))

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.maxpool_conv(features)
        return out


class _Up(nn.Module):
    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels_in, channels_in // 2, kernel_size=2, stride=2)
        self.conv = _DoubleConv(channels_in, channels_in // 2)

    def forward(self, coarse: Tensor, skipped: Tensor) -> Tensor:
        grown = self.up(coarse)
        rows, columns = skipped.shape[2] - grown.shape[2], skipped.shape[3] - grown.shape[3]
        if rows or columns:  # a side that is not a multiple of 2^depth lost a row or column on the way down
            grown = functional.pad(grown, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        out: Tensor = self.conv(torch.cat([skipped, grown], dim=1))
        return out


class _OutConv(nn.Module):
    def __init__(self, channels_in: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, classes, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.conv(features)
        return out


class UNet2D(nn.Module):
    """Encoder and decoder with skip connections.

    Parameters
    ----------
    slices : int
        Input channels: sections of the stack (1 for 2-D).
    classes : int
        Output channels: one logit per class.
    width : int
        Channels after the first convolution; doubled at every step down.
    depth : int
        Steps down (and up).

    References
    ----------
    .. [1] O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image segmentation",
       MICCAI 2015 (arXiv:1505.04597).
    """

    def __init__(self, slices: int, classes: int, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        if min(slices, classes, width, depth) < 1:
            raise ValueError(f"all of slices={slices}, classes={classes}, width={width}, depth={depth} must be >= 1")
        self.depth = depth
        self.inc = _DoubleConv(slices, width)
        for step in range(1, depth + 1):
            self.add_module(f"down{step}", _Down(width * 2 ** (step - 1), width * 2**step))
        for step in range(1, depth + 1):
            self.add_module(f"up{step}", _Up(width * 2 ** (depth - step + 1)))
        self.outc = _OutConv(width, classes)

    def forward(self, image: Float[Tensor, "batch slices row column"]) -> Float[Tensor, "batch class_ row column"]:
        """Compute one logit per class and pixel of the centre section."""
        skipped = [self.inc(image)]
        for step in range(1, self.depth + 1):
            skipped.append(self.get_submodule(f"down{step}")(skipped[-1]))
        features = skipped.pop()
        for step in range(1, self.depth + 1):
            features = self.get_submodule(f"up{step}")(features, skipped.pop())
        logits: Tensor = self.outc(features)
        return logits
