"""Zstandard, by which the text of a dump is packed: the same bytes as Python 3.14's own module and the program zstd.

Only what reads or writes a packed dump loads it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from ikoma.errors import BackupDamaged

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

MAGIC = b"\x28\xb5\x2f\xfd"
"""The first bytes of a packed file."""
_LEVEL = 1
"""Packs text quicker than pg_dump writes it; 3, the usual one, makes it a tenth smaller at a third of the speed."""
_PIECE = 256 << 10
_LARGEST_WINDOW = 27
"""In powers of two: no file of others makes us take more memory than 128 MiB."""


class Packer:
    """Packs pieces of a text, with a checksum at the end."""

    def __init__(self) -> None:
        wanted: dict[int, int] = {
            zstd.CompressionParameter.compression_level: _LEVEL,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        self._compressor = zstd.ZstdCompressor(options=wanted)

    def pack(self, piece: bytes) -> bytes:
        return self._compressor.compress(piece)

    def end(self) -> bytes:
        return self._compressor.flush()


def unpack(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The text of a packed file from where it is, in pieces.

    Args:
        name: as errors call it.

    Raises:
        BackupDamaged: it ends too early, or is not what was packed; all pieces before are given first.
    """
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW}
    decompressor = zstd.ZstdDecompressor(options=options)
    begun = False
    try:
        while piece := file.read(_PIECE):
            while piece:
                if decompressor.eof:  # whoever packs by several threads, or adds to a file, makes several frames
                    decompressor = zstd.ZstdDecompressor(options=options)
                begun = True
                text = decompressor.decompress(piece, _PIECE)
                piece = decompressor.unused_data
                if text:
                    yield text
                while not decompressor.eof and not decompressor.needs_input:
                    yield decompressor.decompress(b"", _PIECE)
                piece = piece or decompressor.unused_data
    except zstd.ZstdError as error:
        raise BackupDamaged(f"{name} cannot be unpacked: it is not as it was written.") from error
    if begun and not decompressor.eof:
        raise BackupDamaged(f"{name} has no end: it was cut off.")
