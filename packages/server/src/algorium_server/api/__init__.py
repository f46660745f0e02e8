"""HTTP faces: bytes in, one service call, bytes out."""
