"""What only several patches together show: another size, or the same pixels twice."""

from __future__ import annotations

from eocontrast.modalities import Sensor
from eocontrast.normalisation.audit import Finding, has_error
from eocontrast.normalisation.audited import Audited
from eocontrast.normalisation.footprints import sizes_differ


class Consistency:
    """Compares each patch with those before it, in the order of the manifest.

    Args:
        first: id of the patch whose size all others must have.
        side: its side in pixels.
    """

    def __init__(self, first: str, side: int) -> None:
        self.first, self.side = first, side
        self.seen: dict[tuple[Sensor, str], tuple[str, str]] = {}

    def findings(self, patch: Audited) -> list[Finding]:
        """All findings on a patch: its own, and those that need the patches before it."""
        if has_error(patch.findings):
            return patch.findings
        across = [*self._size(patch), *self._duplicates(patch)]
        if not has_error(across):
            self._remember(patch)
        return patch.findings + across

    def _size(self, patch: Audited) -> list[Finding]:
        size, expected = patch.size, (self.side, self.side)
        if size[0] != size[1]:
            message = f"{patch.id} is not square: {size[0]} x {size[1]} pixels"
            return [Finding(patch.id, "size", "error", message)]
        if size == expected:
            return []
        message = sizes_differ("it", size, f"the first patch {self.first}", expected)
        return [Finding(patch.id, "size", "error", message)]

    def _duplicates(self, patch: Audited) -> list[Finding]:
        """Pixels of an earlier patch; an error where one of the two is scored, the other learnt.

        The later one is left out, so that no scored pixel was learnt from.
        """
        found = []
        for sensor, digest in patch.digests.items():
            other, split = self.seen.get((sensor, digest), ("", patch.split))
            if (split == "test") != (patch.split == "test"):
                message = (
                    f"{sensor} holds the same pixels as {other}, which is in split {split}, this "
                    f"one in {patch.split}; give both one group"
                )
                found.append(Finding(patch.id, "duplicate", "error", message))
            elif other:
                message = f"{sensor} holds the same pixels as {other}"
                found.append(Finding(patch.id, "duplicate", "warning", message))
        return found

    def _remember(self, patch: Audited) -> None:
        for sensor, digest in patch.digests.items():
            self.seen.setdefault((sensor, digest), (patch.id, patch.split))
