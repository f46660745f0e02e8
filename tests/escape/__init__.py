"""
Hostile algorithms against the whole product.

`hostile/` is the project of one algorithm that tries what its input names; `loading/` are those
that are hostile before any input. Each test lets them try and then looks from outside, too.
"""
