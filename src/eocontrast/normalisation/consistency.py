"""Audit rules that compare patches: another size, or the same pixels twice."""

from __future__ import annotations

from eocontrast.modalities import SENSORS, Sensor
from eocontrast.normalisation.audit import Finding, has_error
from eocontrast.normalisation.pairs import Patch
from eocontrast.normalisation.places import sizes_differ


class Consistency:
    """Compares each patch with those before it, in the order of the manifest.

    Args:
        first: Id of the patch whose size all others must have.
        side: Its side in pixels.
    """

    def __init__(self, first: str, side: int) -> None:
        self.first, self.side = first, side
        self.seen: dict[tuple[Sensor, int, bytes], Patch] = {}

    def findings(self, patch: Patch) -> list[Finding]:
        """Return all findings on a patch: its own, and those that need the patches before it."""
        if has_error(patch.findings):
            return patch.findings
        across = [*self._size(patch), *self._duplicates(patch)]
        if not has_error(across):
            self._remember(patch)
        return patch.findings + across

    def _size(self, patch: Patch) -> list[Finding]:
        size, expected = patch.size, (self.side, self.side)
        if size[0] != size[1]:
            message = f"{patch.id} is not square: {size[0]} x {size[1]} pixels; cut it to squares"
            return [Finding(patch.id, "size", "error", message)]
        if size == expected:
            return []
        message = sizes_differ("it", size, f"the first patch {self.first}", expected)
        return [Finding(patch.id, "size", "error", message)]

    def _duplicates(self, patch: Patch) -> list[Finding]:
        """Find pixels of an earlier patch; it is an error if only one of the two is a test patch.

        The later one is left out, so that no scored pixel was trained on.
        """
        found = []
        for sensor in SENSORS:
            other = self.seen.get(_pixels(patch, sensor))
            if other is None:
                continue
            message = f"{sensor} holds the same pixels as {other.id}"
            if (other.split == "test") == (patch.split == "test"):
                found.append(Finding(patch.id, "duplicate", "warning", message))
            else:
                message += (
                    f", which is in split {other.split}, this one in {patch.split}; give both one "
                    "group"
                )
                found.append(Finding(patch.id, "duplicate", "error", message))
        return found

    def _remember(self, patch: Patch) -> None:
        for sensor in SENSORS:
            self.seen.setdefault(_pixels(patch, sensor), patch)


def _pixels(patch: Patch, sensor: Sensor) -> tuple[Sensor, int, bytes]:
    """Return a key that equal pixels share.

    Other pixels with the same sums in every band have the same CRC-32 in one of 2^32 cases.
    """
    return sensor, patch.checksums[sensor], patch.sums[sensor].tobytes()
