"""Reflectance spectra of materials, as Sentinel-2A's thirteen bands see them.

Soils, built materials and dry plants are measured; green canopies are PROSAIL runs. All come from
the package `earthlib`. Water is modelled here.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Spectra = NDArray[np.float32]
"""Reflectance (n, 13) with bands in the order of `SENTINEL2_L1C`."""

# centre and width (nm) of Sentinel-2A's bands (ESA, spectral response functions 3.0)
CENTRES = np.array(
    [442.7, 492.4, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 945.1, 1373.5, 1613.7, 2202.4]
)
WIDTHS = np.array([20, 66, 36, 31, 15, 15, 20, 106, 21, 20, 31, 91, 175], dtype=float)

# nm; the library has gaps at the water absorption of the air, 1360-1450 and 1800-1950
WAVELENGTHS = np.concatenate(
    [np.arange(400, 1351, 10), np.arange(1460, 1791, 10), np.arange(1960, 2451, 10)]
)

# 1/m at the band centres: Pope and Fry (1997) to 705 nm, Kou et al. (1993) beyond, rounded
WATER_ABSORPTION = np.array(
    [0.007, 0.016, 0.062, 0.43, 0.70, 2.4, 2.2, 3.2, 4.6, 26.0, 350.0, 650.0, 2000.0]
)
# phytoplankton, relative to 443 nm (Lee et al. 1998, rounded)
ALGAE_ABSORPTION = np.array([1.0, 0.7, 0.22, 0.5, 0.05, 0, 0, 0, 0, 0, 0, 0, 0])

_CANOPY = re.compile(r"v-LAI-(?P<lai>[\d.e+]+)-LMA-(?P<lma>[\d.]+)-CHL-(?P<chl>[\d.]+)-N-[\d.]+")


def band_weights() -> NDArray[np.float64]:
    """Return the weight of each wavelength in each band, (180, 13); columns sum to 1.

    The super-Gaussian of order 6 has flat tops and steep sides like the published responses. B10
    lies in a gap of the library and uses 1350 nm; hardly any light from the ground reaches it.
    """
    distance = 2 * np.abs(WAVELENGTHS[:, None] - CENTRES) / WIDTHS
    weights = np.exp(-np.log(2) * distance**6)
    return np.asarray(weights / weights.sum(axis=0))


@dataclass(frozen=True)
class Library:
    """Spectra: reflectance (n, 13), material, and (LAI, LMA, CHL) of canopies (n, 3)."""

    bands: Spectra
    material: NDArray[np.str_]
    canopy: NDArray[np.float64]

    def draw(self, rng: np.random.Generator, count: int, *materials: str) -> Spectra:
        """Draw spectra (count, 13) of any of these materials."""
        rows = np.flatnonzero(np.isin(self.material, materials))
        return np.asarray(self.bands[rng.choice(rows, count)])

    def canopies(
        self,
        rng: np.random.Generator,
        count: int,
        lai: tuple[float, float],
        chl: tuple[float, float] = (20, 60),
        lma: tuple[float, float] = (0.005, 0.025),
    ) -> Spectra:
        """Draw canopy spectra (count, 13).

        Args:
            rng: random numbers.
            count: number of spectra.
            lai: range of the leaf area index.
            chl: range of chlorophyll in ug/cm2.
            lma: range of leaf mass per area in g/cm2.
        """
        low, high = np.array([lai, lma, chl]).T
        fits = (self.canopy >= low) & (self.canopy <= high)
        return np.asarray(self.bands[rng.choice(np.flatnonzero(fits.all(axis=1)), count)])


@cache
def load_library() -> Library:
    """Read the spectra of `earthlib` without importing it, which takes half a second."""
    spec = find_spec("earthlib")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the simulated source needs the package earthlib; install it with pip"
        )
    data = Path(spec.submodule_search_locations[0]) / "data"
    with (data / "spectra.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    values = np.fromfile(data / "spectra.sli", dtype="<f4").reshape(len(rows), len(WAVELENGTHS))
    canopy = np.full((len(rows), 3), np.nan)
    for number, row in enumerate(rows):
        if match := _CANOPY.fullmatch(row["NAME"]):
            canopy[number] = [float(match[key]) for key in ("lai", "lma", "chl")]
    # einsum adds in a fixed order; the order of BLAS depends on the number of threads
    bands = np.einsum("nw,wb->nb", values, band_weights())
    return Library(bands.astype(np.float32), np.array([row["LEVEL_3"] for row in rows]), canopy)


def wet_soil(soil: Spectra, moisture: float) -> Spectra:
    """Return soil (n, 13) as in the field: rougher and wetter than laboratory samples.

    Clods shade a quarter; water darkens most where it absorbs, down to about half of the visible
    and a third of the shortwave infrared at saturation (Lobell and Asner 2002).
    """
    darkening = np.interp(CENTRES, [400, 900, 1600, 2200], [0.65, 0.7, 0.95, 1.15])
    return np.asarray(0.75 * soil * np.exp(-moisture * darkening), dtype=np.float32)


def water(chlorophyll: float, sediment: float, cdom: float, sky: float) -> Spectra:
    """Return the reflectance (13,) of deep water (Gordon et al. 1988; Lee et al. 1998).

    Args:
        chlorophyll: concentration in mg/m3.
        sediment: suspended matter in g/m3.
        cdom: absorption of dissolved matter at 440 nm in 1/m.
        sky: reflectance of sky light and glint.
    """
    absorption = WATER_ABSORPTION + 0.06 * chlorophyll**0.65 * ALGAE_ABSORPTION
    absorption = absorption + cdom * np.exp(-0.015 * (CENTRES - 440))
    molecules = 0.00144 * (CENTRES / 500) ** -4.32  # backscatter of pure water (Morel 1974)
    particles = 0.0014 * chlorophyll**0.62 + 0.009 * sediment  # at 550 nm, 1/m
    scatter = molecules + particles * (550 / CENTRES) ** 0.7
    u = scatter / (absorption + scatter)
    below = 0.089 * u + 0.125 * u**2
    above = 0.52 * below / (1 - 1.7 * below)  # through the surface
    return np.asarray(np.pi * above + sky, dtype=np.float32)
