"""
Excerpts: what is kept of an output that may be endless.

Whoever prints too much has said what matters at the beginning (what was started) or at the end
(how it failed), so both are kept and the gap between them is counted.
"""


class Excerpt:
    """
    Beginning and end of a stream of bytes.

    Args:
        bytes_max: Kept of it; the note in the gap comes on top.
    """

    def __init__(self, bytes_max: int) -> None:
        self._head_bytes_max = bytes_max // 2
        self._tail_bytes_max = bytes_max - self._head_bytes_max
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped_bytes = 0

    def append(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        room = self._head_bytes_max - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        # Cut when it has doubled, not for every piece: most pieces are short lines.
        if len(self._tail) > 2 * self._tail_bytes_max:
            self._trim()

    def content(self) -> bytes:
        """Return what was kept, with a note where something is missing."""
        self._trim()
        if not self._dropped_bytes:
            return bytes(self._head + self._tail)
        gap = b"\n[... %d bytes of output left out ...]\n" % self._dropped_bytes
        return bytes(self._head + gap + self._tail)

    def _trim(self) -> None:
        excess = max(0, len(self._tail) - self._tail_bytes_max)
        self._dropped_bytes += excess
        del self._tail[:excess]
