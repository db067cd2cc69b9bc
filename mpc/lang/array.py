"""`Array`: a value of a program under construction. It has a type; who may know its value is decided by `reveal` alone.

Operators and NumPy functions find their meaning in `dispatch.FUNCTIONS`, by NumPy's name; modules register theirs with
`@implements`. So `x + y`, `np.add(x, y)` and `mpc.add(x, y)` are one function.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..errors import MPCError, SecretBranchError, SecretValueError, SessionError, TypeMismatch
from ..ir.program import Program
from ..ir.trace import Graph, Node, user_line
from ..ir.types import INT64, DType, Type, fixed64
from ..ring.ring import Ring
from ..ring.rings import ring_of
from .dispatch import FUNCTIONS, Dispatching
from .dispatch import implements as implements

if TYPE_CHECKING:
    from .session import Session
    from .update import At

Axis = int | tuple[int, ...] | None


@dataclass(frozen=True)
class Settings:
    """What a session fixes for the meaning of programs."""

    rounding: str = "dither"
    dtype: DType = fixed64(16)  # of real numbers; its ring is that of all values

    @property
    def ring(self) -> Ring:
        return ring_of(self.dtype.ring)

    @property
    def bits(self) -> int:
        """Of a word."""
        return self.dtype.bits

    @property
    def real(self) -> DType:
        """What public fractions become. Raises TypeMismatch in a field."""
        self.dtype.refuse_field("a fraction (use x / 3, which is exact) or a function of real numbers")
        return self.dtype

    def own(self, dtype: DType, where: str = "") -> DType:
        """A dtype that a user names, in this session's ring. Raises TypeMismatch for numbers of another width."""
        if (dtype.kind == "fixed" or dtype.primes) and dtype.ring != self.dtype.ring:
            self.dtype.refuse_field(f"{dtype}{where}")
            if dtype.primes:
                raise TypeMismatch(f"{dtype}{where}: open the session with dtype={dtype}; this one computes with {self.dtype}")
            raise TypeMismatch(
                f"{dtype}{where}: this session computes with {self.dtype.bits} bits (its dtype is {self.dtype}). Write "
                f"mpc.fixed{self.dtype.bits}({dtype.fraction}), or open the session with dtype=mpc.fixed{dtype.bits}(f)"
            )
        return dtype.within(self.dtype.ring, where)


class Scope:
    """Where operations are recorded: a session's pending program, or a function being traced."""

    def __init__(self, graph: Graph, settings: Settings, session: Session | None) -> None:
        self.graph, self.settings, self.session = graph, settings, session


tracing: ContextVar[Scope | None] = ContextVar("tracing", default=None)


class Array(Dispatching):
    """A secret (or, inside a loop, a public index) of known shape and dtype. Nothing is computed before `reveal`."""

    __slots__ = ("__weakref__", "node", "scope")
    __array_priority__ = 1000

    def __init__(self, node: Node, scope: Scope) -> None:
        self.node, self.scope = node, scope
        if scope.session is not None:
            scope.session.remember(self)

    # ---- what it is ----
    @property
    def type(self) -> Type:
        return self.node.type

    @property
    def shape(self) -> tuple[int, ...]:
        return self.node.type.shape

    @property
    def dtype(self) -> DType:
        return self.node.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.node.type.size

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Array({self.type})"

    def __hash__(self) -> int:
        return id(self)

    # ---- what it refuses: a secret becomes plain by `reveal` alone ----
    def __bool__(self) -> NoReturn:
        raise SecretBranchError(
            f"a branch (`if`, `while`, `and`, `or`, `not`) would need the value of a secret ({self.type}) at {user_line()}.\n"
            "    Choose with mpc.where(condition, a, b), combine conditions with & | ~, "
            "or reveal the condition first if everyone may know it."
        )

    def _refuse(self, what: str) -> NoReturn:
        raise SecretValueError(
            f"{what} would need the value of a secret ({self.type}) at {user_line()}.\n"
            "    Compute on it with mpc functions, or call .reveal() first if everyone may know it."
        )

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        self._refuse("np.asarray(x)")

    def __float__(self) -> NoReturn:
        self._refuse("float(x)")

    def __int__(self) -> NoReturn:
        self._refuse("int(x)")

    def __index__(self) -> NoReturn:
        self._refuse("use as an index or in range()")

    def __complex__(self) -> NoReturn:
        self._refuse("complex(x)")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self._refuse("pickle (and copy.copy)")

    def item(self, *args: Any) -> NoReturn:
        self._refuse("x.item()")

    def tolist(self) -> NoReturn:
        self._refuse("x.tolist()")

    def __format__(self, spec: str) -> str:
        if spec:
            self._refuse(f"format with {spec!r}")
        return repr(self)

    def __contains__(self, item: Any) -> NoReturn:
        self._refuse("`in`")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise MPCError(
            f"arrays are immutable: `x[i] = y` at {user_line()}.\n"
            "    Write x = x.at[i].set(y), x = mpc.where(mask, y, x), or build the array with mpc.concatenate or mpc.stack."
        )

    def __iter__(self) -> Iterator[Array]:
        if not self.shape:
            self._refuse("iteration over a scalar")
        return (self[i] for i in range(self.shape[0]))

    # ---- results ----
    def reveal(self, to: int | str | Sequence[int | str] | None = None) -> Any:
        """The value as a NumPy array: float64, int64 or bool. Runs what is pending for it.

        `to`: the party or parties (numbers or names) that learn it; everyone by default. In a local session, where one
        user plays all parties, the value is returned in any case. Inside a function or program: marks an output.
        """
        if self.scope.session is None:
            raise SessionError(f"reveal inside a traced function or program, at {user_line()}: return the array instead")
        return self.scope.session.reveal(self, to=to)[0]

    @property
    def T(self) -> Array:
        return self.transpose()

    @property
    def mT(self) -> Array:
        """The last two axes exchanged."""
        return self._call("matrix_transpose")

    @property
    def at(self) -> At:
        """`x.at[key].set(y)` and `.add(y)`: x with other values at a public key; see `update.At`."""
        return FUNCTIONS["at"](self)  # type: ignore[no-any-return]

    def reshape(self, *shape: Any) -> Array:
        return self._call("reshape", shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)

    def transpose(self, *axes: Any) -> Array:
        return self._call("transpose", (axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes) or None)

    def ravel(self) -> Array:
        return self._call("reshape", (-1,))

    flatten = ravel

    def astype(self, dtype: Any) -> Array:
        if isinstance(dtype, DType):
            self.scope.settings.own(dtype, f" at {user_line()}")
        return self._call("astype", dtype)

    def copy(self) -> Array:
        return self  # it never changes

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Array:
        return self._call("sum", axis, keepdims=keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Array:
        return self._call("prod", axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Array:
        return self._call("mean", axis, keepdims=keepdims)

    def var(self, axis: Axis = None, keepdims: bool = False, **ddof: float) -> Array:
        return self._call("var", axis, keepdims=keepdims, **ddof)

    def std(self, axis: Axis = None, keepdims: bool = False, **ddof: float) -> Array:
        return self._call("std", axis, keepdims=keepdims, **ddof)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Array:
        return self._call("max", axis, keepdims=keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Array:
        return self._call("min", axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Array:
        return self._call("argmax", axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Array:
        return self._call("argmin", axis, keepdims=keepdims)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Array:
        return self._call("any", axis, keepdims=keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Array:
        return self._call("all", axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None) -> Array:
        return self._call("cumsum", axis)

    def cumprod(self, axis: int | None = None) -> Array:
        return self._call("cumprod", axis)

    def round(self, decimals: int = 0) -> Array:
        return self._call("round", decimals)

    def squeeze(self, axis: Axis = None) -> Array:
        return self._call("squeeze", axis)

    def swapaxes(self, axis1: int, axis2: int) -> Array:
        return self._call("swapaxes", axis1, axis2)

    def repeat(self, repeats: Any, axis: int | None = None) -> Array:
        return self._call("repeat", repeats, axis=axis)

    def take(self, indices: Any, axis: int | None = None) -> Array:
        return self._call("take", indices, axis=axis)

    def trace(self, offset: int = 0) -> Array:
        return self._call("trace", offset)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
        return self._call("diagonal", offset, axis1, axis2)

    def dot(self, other: Any) -> Array:
        return self._call("dot", other)

    def clip(self, min: Any = None, max: Any = None) -> Array:
        return self._call("clip", min, max)

    # ---- operators ----
    def _call(self, name: str, *args: Any, **kwargs: Any) -> Array:
        return FUNCTIONS[name](self, *args, **kwargs)  # type: ignore[no-any-return]

    def __getitem__(self, key: Any) -> Array:
        return self._call("getitem", key)

    def __add__(self, other: Any) -> Array:
        return self._call("add", other)

    def __radd__(self, other: Any) -> Array:
        return FUNCTIONS["add"](other, self)  # type: ignore[no-any-return]

    def __sub__(self, other: Any) -> Array:
        return self._call("subtract", other)

    def __rsub__(self, other: Any) -> Array:
        return FUNCTIONS["subtract"](other, self)  # type: ignore[no-any-return]

    def __mul__(self, other: Any) -> Array:
        return self._call("multiply", other)

    def __rmul__(self, other: Any) -> Array:
        return FUNCTIONS["multiply"](other, self)  # type: ignore[no-any-return]

    def __matmul__(self, other: Any) -> Array:
        return self._call("matmul", other)

    def __rmatmul__(self, other: Any) -> Array:
        return FUNCTIONS["matmul"](other, self)  # type: ignore[no-any-return]

    def __truediv__(self, other: Any) -> Array:
        return self._call("divide", other)

    def __rtruediv__(self, other: Any) -> Array:
        return FUNCTIONS["divide"](other, self)  # type: ignore[no-any-return]

    def __pow__(self, other: Any) -> Array:
        return self._call("power", other)

    def __rpow__(self, other: Any) -> Array:
        return FUNCTIONS["power"](other, self)  # type: ignore[no-any-return]

    def __floordiv__(self, other: Any) -> Array:
        return self._call("floor_divide", other)

    def __rfloordiv__(self, other: Any) -> Array:
        return FUNCTIONS["floor_divide"](other, self)  # type: ignore[no-any-return]

    def __mod__(self, other: Any) -> Array:
        return self._call("remainder", other)

    def __rmod__(self, other: Any) -> Array:
        return FUNCTIONS["remainder"](other, self)  # type: ignore[no-any-return]

    def __divmod__(self, other: Any) -> tuple[Array, Array]:
        return self._call("divmod", other)  # type: ignore[return-value]

    def __rdivmod__(self, other: Any) -> tuple[Array, Array]:
        return FUNCTIONS["divmod"](other, self)  # type: ignore[no-any-return]

    def __lshift__(self, other: Any) -> Array:
        return self._call("left_shift", other)

    def __rlshift__(self, other: Any) -> Array:
        return FUNCTIONS["left_shift"](other, self)  # type: ignore[no-any-return]

    def __rshift__(self, other: Any) -> Array:
        return self._call("right_shift", other)

    def __rrshift__(self, other: Any) -> Array:
        return FUNCTIONS["right_shift"](other, self)  # type: ignore[no-any-return]

    def __and__(self, other: Any) -> Array:
        return self._call("bitwise_and", other)

    def __rand__(self, other: Any) -> Array:
        return FUNCTIONS["bitwise_and"](other, self)  # type: ignore[no-any-return]

    def __or__(self, other: Any) -> Array:
        return self._call("bitwise_or", other)

    def __ror__(self, other: Any) -> Array:
        return FUNCTIONS["bitwise_or"](other, self)  # type: ignore[no-any-return]

    def __xor__(self, other: Any) -> Array:
        return self._call("bitwise_xor", other)

    def __rxor__(self, other: Any) -> Array:
        return FUNCTIONS["bitwise_xor"](other, self)  # type: ignore[no-any-return]

    def __lt__(self, other: Any) -> Array:
        return self._call("less", other)

    def __le__(self, other: Any) -> Array:
        return self._call("less_equal", other)

    def __gt__(self, other: Any) -> Array:
        return self._call("greater", other)

    def __ge__(self, other: Any) -> Array:
        return self._call("greater_equal", other)

    def __eq__(self, other: Any) -> Array:  # type: ignore[override]
        return self._call("equal", other)

    def __ne__(self, other: Any) -> Array:  # type: ignore[override]
        return self._call("not_equal", other)

    def __neg__(self) -> Array:
        return self._call("negative")

    def __abs__(self) -> Array:
        return self._call("absolute")

    def __invert__(self) -> Array:
        return self._call("invert")

    def __pos__(self) -> Array:
        return self


def scope_of(*values: Any) -> Scope:
    """Where an operation on these values is recorded."""
    inner = tracing.get()
    if inner is not None:
        return inner
    scopes = {id(v.scope): v.scope for v in values if isinstance(v, Array)}
    if len(scopes) != 1:
        raise SessionError(
            "arrays of different sessions cannot be combined" if scopes else "no secret array among the operands"
        )
    return next(iter(scopes.values()))


def bind(op: str, *operands: Array, body: Program | None = None, **params: Any) -> Any:
    """Records an operation: the doorway of everything. Returns its result, or a tuple if it has several."""
    scope = scope_of(*operands)
    try:
        nodes = scope.graph.bind(op, [x.node for x in operands], params, body)
    except IndexError:
        raise  # of a key; a LookupError itself is a foreign array
    except LookupError:
        raise SessionError("arrays of different sessions cannot be combined") from None
    except MPCError as error:
        if " at " not in str(error.args[0]):
            error.args = (f"{error.args[0]} (in {op} at {user_line()})", *error.args[1:])
        raise
    arrays = tuple(Array(n, scope) for n in nodes)
    return arrays[0] if len(arrays) == 1 else arrays


def whole(values: Any, scope: Scope) -> Array:
    """A public array of integers, modulo the ring."""
    return constant(scope.settings.ring.of(values), INT64, scope)


def constant(words: np.ndarray, dtype: DType, scope: Scope) -> Array:
    """A public array: encoded words, or uint8 bits; of the scope's ring, whatever the dtype's."""
    dtype = dtype.within(scope.settings.dtype.ring)
    return Array(scope.graph.constant(Type(words.shape, dtype, False), words), scope)
