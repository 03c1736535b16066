"""Files of the user that each source reads, by digest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eocontrast.config.schema import Section
from eocontrast.config.sources import SourcesParams
from eocontrast.runtime.files import file_md5


def input_digests(params: SourcesParams) -> dict[str, dict[str, str]]:
    """Return MD5 digests of the user's tables, areas and labels, by source and key.

    DVC runs `download` of a source again if one of them changes. Folders of published data sets
    are left out, because hashing 500 GB takes hours.

    Raises:
        UserError: a file cannot be read.
    """
    return {
        name: {key: file_md5(path.expanduser()) for key, path in _files(getattr(params, name))}
        for name in SourcesParams.model_fields
    }


def _files(source: Section) -> Iterator[tuple[str, Path]]:
    for key in ("path", "area", "labels"):
        value: object = getattr(source, key, None)
        path = getattr(value, "path", value)
        if isinstance(path, Path) and path.expanduser().is_file():
            yield key, path
