"""Input specifications, and the scaling of stored integers in training and in maps alike.

By default each band has fixed statistics from the pretraining data. Both papers divide each channel
of each crop by its own maximum instead, which loses the radiometry: one bright roof rescales the
image. That scaling is there for their weights and for comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eocontrast.modalities import Modality, Scaling, Units, implausible
from eocontrast.runtime.errors import UserError

Batch = dict[str, Tensor]
"""Stored integers (B, bands, H, W) by sensor, and the targets of pixels, if any, as `label`.

Floats on the same scale work as well, since augmentation does not round.
"""

PIXEL = 10.0
"""Metres of a pixel of Sentinel-1 and of Sentinel-2's finest bands."""


@dataclass(frozen=True)
class InputSpec:
    """Expected input of one sensor's backbone.

    Attributes:
        modality: Names of the bands, units, and the range to which values are clipped.
        mean: Mean per band in these units, over all patches outside the test split.
        sd: Standard deviation per band, over the same patches.
        patch_size: Side in pixels of the patches that the weights were trained on.
        scaling: Scaling of clipped values to the range of a network.
        pixel: Size of a pixel on the ground in metres.
    """

    modality: Modality
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    patch_size: int
    scaling: Scaling = "band_statistics"
    pixel: float = PIXEL

    def select(self, bands: Sequence[str]) -> InputSpec:
        """Return the specification of some bands, in this order.

        Raises:
            UserError: a band is not among these.
        """
        places = self._places(bands)
        return replace(
            self,
            modality=replace(self.modality, bands=tuple(bands)),
            mean=tuple(self.mean[place] for place in places),
            sd=tuple(self.sd[place] for place in places),
        )

    def channels(self, data: Modality) -> list[int]:
        """Return the positions in `data` of the expected bands, found by name.

        Raises:
            UserError: the data have other units, or lack a band.
        """
        wanted = self.modality
        if data.storage != wanted.storage:
            raise UserError(f"these weights expect {wanted.units}, but the data are {data.units}")
        missing = [band for band in wanted.bands if band not in data.bands]
        if missing:
            raise UserError(
                f"these weights expect the bands {', '.join(wanted.bands)}, but the data lack "
                f"{', '.join(missing)}; they have {', '.join(data.bands)}: pretrain without "
                f"{', '.join(missing)} (normalise.drop_bands in params.yaml), or take the mean of "
                "what was pretrained on in its place (normalise.fill_bands)"
            )
        return [data.bands.index(band) for band in wanted.bands]

    def encode(
        self,
        values: NDArray[Any] | Tensor,
        *,
        bands: Sequence[str],
        units: Units,
        check_scale: bool = True,
    ) -> NDArray[np.integer]:
        """Encode physical values as the integers of a patch store, in the expected bands.

        Bands are found by name, whatever their order, and others are left out. Linear power and dB
        are converted into one another; reflectance and DN are not, for the products' offset differs
        by their age.

        Args:
            values: Values (C, H, W) or (B, C, H, W) in `units`; NaN is missing.
            bands: Names of the C bands.
            units: Units of all bands.
            check_scale: Refuse values that are implausible in these units.

        Returns:
            (B, bands, H, W), B = 1 for a single image.

        Raises:
            UserError: units or shape differ, a band is missing, or the scale is implausible.
        """
        data = Modality(tuple(bands), units, self.modality.valid_range)
        selected = _images(values, bands)[:, self._channels_of(data)]
        if check_scale:
            _refuse_implausible(selected, data)
        return data.encode(selected)

    def prepare(
        self,
        values: NDArray[Any] | Tensor,
        *,
        bands: Sequence[str],
        units: Units,
        check_scale: bool = True,
    ) -> Tensor:
        """Scale physical values for the network, through the store's integers as in training.

        Arguments and errors are those of `encode`.

        Returns:
            (B, bands, H, W) float32 on the device of `values`, B = 1 for a single image.
        """
        device = values.device if isinstance(values, Tensor) else None
        stored = self.encode(values, bands=bands, units=units, check_scale=check_scale)
        # as a `Backbone` lays out its images, for the same features to the bit
        scaled: Tensor = Scale(self).to(device)(torch.from_numpy(stored).to(device))
        return scaled.contiguous(memory_format=torch.channels_last)

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can hold."""
        own = {"mean": self.mean, "sd": self.sd, "patch_size": self.patch_size}
        pixel = {} if self.pixel == PIXEL else {"pixel": self.pixel}
        return {**asdict(self.modality), **own, "scaling": self.scaling, **pixel}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> InputSpec:
        """Invert `to_dict`."""
        modality = Modality(tuple(fields["bands"]), fields["units"], tuple(fields["valid_range"]))
        mean, sd = tuple(fields["mean"]), tuple(fields["sd"])
        pixel = fields.get("pixel", PIXEL)
        return cls(modality, mean, sd, fields["patch_size"], fields["scaling"], pixel)

    def _channels_of(self, data: Modality) -> list[int]:
        if {data.units, self.modality.units} == {"DN", "reflectance"}:
            raise UserError(
                f"these weights expect {self.modality.units}, but the values are {data.units}: "
                "convert them first, DN = 10000 x reflectance without a product's offset"
            )
        return self.channels(data)

    def _places(self, bands: Sequence[str]) -> list[int]:
        known = self.modality.bands
        unknown = [band for band in bands if band not in known]
        if unknown:
            raise UserError(f"there is no band {', '.join(unknown)} among {', '.join(known)}")
        return [known.index(band) for band in bands]


def _images(values: NDArray[Any] | Tensor, bands: Sequence[str]) -> NDArray[np.float64]:
    """Return values as (B, C, H, W) and check that all C bands have names."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    images = np.asarray(values, np.float64)
    if images.ndim not in (3, 4) or images.shape[-3] != len(bands):
        raise UserError(
            f"values have the shape {images.shape}, but {len(bands)} bands are named: give "
            "(bands, height, width), or (images, bands, height, width)"
        )
    return images[None] if images.ndim == 3 else images


def _refuse_implausible(values: NDArray[np.float64], data: Modality) -> None:
    """Refuse values in other units: they raise no error later and only cost accuracy."""
    finite = values[np.isfinite(values)]
    if finite.size and (reason := implausible(finite, data)):
        low, high = data.valid_range
        valid = f"{low:g} to {high:g} {'dB' if data.units == 'linear' else data.units}"
        raise UserError(
            f"values in {data.units} lie between {finite.min():.4g} and {finite.max():.4g}: "
            f"{reason}; expected {valid}, and NaN for no data. Convert the values or name their "
            "units; if they are right, pass check_scale=False"
        )


class Scale(nn.Module):
    """A layer that scales stored integers (B, C, H, W) to float32; missing pixels become 0.

    With band statistics 0 is the mean of the band, so a missing pixel is neutral, and a sensor
    without any pixel looks like one that is not there.
    """

    scale: Tensor
    shift: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.storage = spec.modality.storage
        self.of_crop = spec.scaling == "crop_maximum"
        low, high = spec.modality.valid_range
        mean, sd = (torch.tensor(v).view(1, -1, 1, 1) for v in (spec.mean, spec.sd))
        if self.of_crop:  # from the lower end of the range, as the papers' clip to [-25, 0] + 25
            mean, sd = torch.full_like(mean, low), torch.ones_like(sd)
        # one multiplication and one addition a value; not persistent, because the spec in the
        # weight file's header is the one source of these numbers
        self.register_buffer("scale", self.storage.step / sd, persistent=False)
        self.register_buffer("shift", -mean / sd, persistent=False)
        self.register_buffer("low", (low - mean) / sd, persistent=False)
        self.register_buffer("high", (high - mean) / sd, persistent=False)

    def forward(self, stored: Tensor) -> Tensor:
        """Return the scaled bands in the same shape."""
        values = stored.float()
        missing = values == self.storage.nodata
        values = torch.addcmul(self.shift, values, self.scale).clamp_(self.low, self.high)
        values = values.masked_fill_(missing, 0)
        if self.of_crop:
            # 1e-5 as published: a crop of zeros stays zero
            values = values / (values.amax(dim=(2, 3), keepdim=True) + 1e-5)
        return values
