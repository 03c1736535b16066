"""Describe the images that a backbone expects: bands, units, range, statistics and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eocontrast.modalities import OFFSET, Modality, Scaling, Units, implausible
from eocontrast.runtime.errors import UserError

if TYPE_CHECKING:  # torch takes three seconds, and stages that write these numbers need none of it
    from torch import Tensor

Batch = dict[str, "Tensor"]
"""Stored integers (B, bands, H, W) by sensor, and the targets of pixels, if any, as `label`.

Floats on the same scale work as well, since augmentation does not round.
"""


@dataclass(frozen=True)
class InputSpec:
    """Expected input of one sensor's backbone.

    Attributes:
        modality: Names of the bands, units, and the range to which values are clipped.
        mean: Mean per band in these units, over all patches outside the test split.
        sd: Standard deviation per band, over the same patches.
        patch_size: Side in pixels of the patches that the weights were trained on.
        scaling: Scaling of clipped values to the range of a network.
        pixel: Size of a pixel on the ground in metres; None if unknown.
        with_offset: Whether the training data hold Sentinel-2's offset of 1000; None if unknown,
            and for radar.
        clip: Range of each band in these units; empty if all have the modality's.
        missing: Value of a missing pixel per band after scaling; empty for the neutral one.
        resize: Side in pixels to which images are resized after scaling, 0 for none.
    """

    modality: Modality
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    patch_size: int
    scaling: Scaling = "band_statistics"
    pixel: float | None = None
    with_offset: bool | None = None
    clip: tuple[tuple[float, float], ...] = ()
    missing: tuple[float, ...] = ()
    resize: int = 0

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """Return the range of each band to which values are clipped, in these units."""
        return self.clip or (self.modality.valid_range,) * len(self.modality.bands)

    @property
    def side(self) -> int:
        """Return the side in pixels of the images that the network sees."""
        return self.resize or self.patch_size

    @property
    def neutral(self) -> tuple[float, ...]:
        """Return the value of a missing pixel per band after scaling."""
        if self.missing:
            return self.missing
        if self.scaling == "division":  # 0 would be the darkest value
            return tuple(m / high for m, (_, high) in zip(self.mean, self.ranges, strict=True))
        middle = 0.5 if self.scaling in ("two_sd", "image_two_sd") else 0.0
        return (middle,) * len(self.modality.bands)

    def origin_and_unit(self) -> tuple[Sequence[float], Sequence[float]]:
        """Return the values per band that become 0 and 1 apart before a scaling by image."""
        low, high = zip(*self.ranges, strict=True)
        ones = [1.0] * len(low)
        match self.scaling:
            case "crop_maximum":  # from the lower end, as the papers' clip to [-25, 0] + 25
                return low, ones
            case "image_two_sd":
                return [0.0] * len(low), ones
            case "division":
                return [0.0] * len(low), high
            case "two_sd":
                pairs = zip(self.mean, self.sd, strict=True)
                return [mean - 2 * sd for mean, sd in pairs], [4 * sd for sd in self.sd]
            case "band_statistics":
                return self.mean, self.sd

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
            clip=tuple(self.clip[place] for place in places if self.clip),
            missing=tuple(self.missing[place] for place in places if self.missing),
        )

    def channels(self, data: Modality) -> list[int]:
        """Return the positions in `data` of the expected bands, found by name.

        Raises:
            UserError: the data have other units, or lack a band.
        """
        wanted = self.modality
        # by storage: linear power and dB are stored alike, so either serves
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
        from eocontrast.patches.scaling import prepared

        stored = self.encode(values, bands=bands, units=units, check_scale=check_scale)
        return prepared(stored, self, getattr(values, "device", None))

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can hold."""
        own = {"mean": self.mean, "sd": self.sd, "patch_size": self.patch_size}
        ground = {"pixel": self.pixel, "with_offset": self.with_offset}
        extra = {"clip": self.clip, "missing": self.missing, "resize": self.resize}
        extra = {name: value for name, value in extra.items() if value}
        return {**asdict(self.modality), **own, "scaling": self.scaling, **ground, **extra}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> InputSpec:
        """Invert `to_dict`."""
        modality = Modality(tuple(fields["bands"]), fields["units"], tuple(fields["valid_range"]))
        mean, sd = tuple(fields["mean"]), tuple(fields["sd"])
        spec = cls(modality, mean, sd, fields["patch_size"], fields["scaling"], fields.get("pixel"))
        return replace(
            spec,
            with_offset=fields.get("with_offset", spec._offset_by_means()),
            clip=tuple((low, high) for low, high in fields.get("clip", ())),
            missing=tuple(fields.get("missing", ())),
            resize=fields.get("resize", 0),
        )

    def _offset_by_means(self) -> bool | None:
        """Return False if the means exclude the offset, which older weights do not record."""
        modality = self.modality
        if modality.storage.dtype != "uint16" or self.scaling not in ("band_statistics", "two_sd"):
            return None
        # no value is below the offset where it is, so neither is a mean; filled bands have mean 0
        least = min((mean for mean in self.mean if mean > 0), default=OFFSET)
        return False if least / modality.storage.step < OFFSET else None

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
    if detach := getattr(values, "detach", None):  # of a tensor
        values = detach().cpu().double().numpy()
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
