"""Numbers: Z_2^64, packed bits, bilinear maps, fixed point, random words, and the native kernels under them."""
