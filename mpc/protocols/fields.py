"""What each random word of an equation is for, in the protocols with a dealer. A word is named once and used once."""


class Field:
    """What a random word of an equation is for. 0..15 are the masks under which the equation's outputs may be opened.

    Plain numbers: every equation looks several of them up, and members of an Enum cost more than the word they name."""

    INPUT = 16
    ZERO = 17  # zero sharing of a reveal
    PRODUCT = 18  # dealt product of two masks
    RHO = 19  # masks the opening of a product
    HI = 20  # dealt r >> f
    TOP = 21  # dealt top bit of r, for truncation
    HOT = 22  # dealt one-hot planes; + 1: of the upper half of a wide word (+ 2: where its two tests have different digits)
    SIGN = 26  # dealt plane of r's top bit
    BETA = 27  # masks the opening of a bit
    BIT = 28  # dealt beta as a word
    BIT_R = 29  # dealt beta * r
    DELTA = 30  # mask of the difference in a select
    AND_X = 31
    AND_Y = 32
    AND_XY = 33
    CHAIN = 34  # dealt top bit of a truncation's mask * mask of the other operand
    # spline gate
    LOOKUP = 36  # one-hot vector
    SPLINE = 37  # + row: dealt sign * (r mod 2^t)^m, then column j's mask times those
    COLUMN = 51  # + j: masks the opening of coefficient j
    BIT_HI = 56  # dealt beta * (r >> f)
    BIT_TOP = 57  # dealt beta * top bit of r
    TREE = 64  # + 3k, 3k + 1, k < 52: factor masks of comparison k's tree, dealt products of all its levels
    # shuffle, + owner of the pass
    ROWS = 232  # masks the rows sent to the owner
    MOVED = 237  # dealt: those masks, in the owner's order
    ORDER = 242  # the owner's order; 247: that of both evaluators
    TAIL = 220  # + 5 * side: bit masks and words of what lies outside the window: beta, word; beta, word, word * r


def most_trees(bits: int) -> int:
    """Comparisons of so many bits for which an equation has random words: 3 fields each, 12 where words have a second limb."""
    return 52 if bits <= 64 else 13
