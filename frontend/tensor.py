"""The symbolic tensor: one node of the graph, with Python's operators and the usual methods.

A Tensor has a type and no values. Each operator builds nodes and returns a new Tensor; nothing is
computed until a graph is compiled. NumPy arrays and Python numbers are operands too: arrays keep
their dtype, numbers and NumPy scalars are weak and take the tensor's. `==` builds a comparison, so
tensors hash by identity. What needs values (`if x:`, `float(x)`, iterating) raises with a hint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError, UnknownNameError
from gradc.compiler.graph.ir import Node
from gradc.compiler.ops import arithmetic, comparison, elementwise, reduction
from gradc.compiler.ops.definition import OpDef
from gradc.compiler.types import DType, Shape, dtype_of, float32, product

from . import nodes, ordering, reductions
from .arguments import OPERANDS, public_methods
from .dimensions import element_count, with_dimensions
from .indexing import index
from .missing import missing_attribute
from .nodes import Operand
from .numpy_protocol import OPERATORS, refuse_numpy
from .spellings import TENSOR
from .tracing import fail, here, located

_LATER = "gc.input(name, shape) for what is given later"

Axis: TypeAlias = "int | Sequence[int] | None"
ShapeLike: TypeAlias = Any  # extents: a list or tuple of integers and names, or a single one
DTypeLike: TypeAlias = Any  # a gradc or NumPy dtype, or the name of one


@public_methods(
    "__getitem__", "transpose", "permute", "reshape", "flatten", "squeeze", "expand_dims",
    "broadcast_to", "astype",
    "sum", "prod", "mean", "var", "std", "max", "min", "all", "any", "argmax", "argmin",
    "sort", "argsort",
    "abs", "square", "sqrt", "exp", "log", "sin", "cos", "tan", "tanh", "sigmoid", "erf", "relu",
    "clip",
)  # fmt: skip
class Tensor:
    """A symbolic tensor. Made by gc.input, gc.parameter, gc.constant and by operations.

    node      the graph node that computes it
    declared  inputs that a program with this result takes though the node does not read them:
              the inputs of a function whose derivative is constant

    >>> x = gc.input("x", ("batch", 3))
    >>> y = (2 * x.exp()).sum(axis=1)
    >>> y.shape, y.dtype
    (('batch',), gradc.float32)
    """

    __slots__ = ("declared", "node")

    node: Node
    declared: frozenset[Node]

    def __init__(self, node: Node, declared: frozenset[Node] = frozenset()) -> None:
        given: Any = node
        if not isinstance(given, Node):
            problem = f"a tensor is not made of a {type(given).__name__}"
            fail(ArgumentError, "Tensor", problem, hint=f"write gc.constant(values); {_LATER}")
        object.__setattr__(self, "node", node)
        object.__setattr__(self, "declared", declared)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        problem = f"a tensor is immutable; {name} cannot be set"
        raise UnknownNameError(problem, source=here(), hint=TENSOR.get(name, ""))

    def __getattr__(self, name: str) -> Any:
        """Called for names that do not exist: those of other libraries get advice."""
        raise missing_attribute(type(self), name, TENSOR)

    def __copy__(self) -> Tensor:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A tensor never changes, so that it is its own copy; parameters differ (variables.py)."""
        return self

    def __reduce__(self) -> NoReturn:
        self._no_value("pickle", "str(gc.graph(x)) is a graph as text, which gc.parse reads")

    # ------------------------------------------------------------ facts

    @property
    def shape(self) -> Shape:
        """Extents: integers, or the names of dimensions that are bound later."""
        return with_dimensions(self.node.type.shape)

    @property
    def dtype(self) -> DType:
        return self.node.type.dtype

    @property
    def ndim(self) -> int:
        return self.node.type.rank

    @property
    def size(self) -> int:
        """Number of elements. Raises ShapeError while a named dimension is left."""
        return element_count(self.node.type.shape)

    def __repr__(self) -> str:
        name = self.node.attributes.get("name")
        what = f"{self.node.op.name} {name!r}" if name else self.node.op.name
        line = f", {self.node.source}" if self.node.source else ""
        return f"<{type(self).__name__} {self.node.type}: {what}{line}>"

    def __hash__(self) -> int:
        return id(self)

    # ------------------------------------------------------------ what needs values

    def _no_value(self, wanted: str, hint: str) -> NoReturn:
        fail(
            DTypeError,
            wanted,
            f"a tensor has no values before it is compiled: {self.node.type}",
            hint=hint,
        )

    def __bool__(self) -> NoReturn:
        self._no_value("bool", "choose between values with gc.where")

    def __float__(self) -> NoReturn:
        self._no_value("float", "compile the tensor and call it: gc.compile(tensor)(...)")

    def __int__(self) -> NoReturn:
        self._no_value("int", "compile the tensor and call it: gc.compile(tensor)(...)")

    def __index__(self) -> NoReturn:
        self._no_value("index", "pick elements with gc.take")

    def __complex__(self) -> NoReturn:
        self._no_value("complex", "compile the tensor and call it: gc.compile(tensor)(...)")

    def __array__(self, *arguments: Any, **options: Any) -> NoReturn:
        self._no_value("array", "compile the tensor and call it: gc.compile(tensor)(...)")

    def __iter__(self) -> NoReturn:
        hint = "gc.unstack(x) gives the slices; x[i] and gc.take pick some of them"
        if ordering.is_ordered(self.node):
            hint = "gc.sort gives the values alone; gc.argsort(x) gives their positions"
        self._no_value("iter", hint)

    def __len__(self) -> int:
        if not self.shape or isinstance(self.shape[0], str):
            hint = "x.shape[0] works as a number in tensor arithmetic" if self.shape else ""
            problem = f"the first extent of {self.node.type} is not an integer"
            fail(ShapeError, "len", problem, hint=hint)
        return int(self.shape[0])

    def __setitem__(self, key: object, value: object) -> NoReturn:
        problem = f"a tensor is immutable: {self.node.type}"
        hint = "gc.where(mask, value, x), gc.scatter_add and gc.concat make a new one"
        fail(DTypeError, "setitem", problem, hint=hint)

    def __round__(self, digits: int | None = None) -> Tensor:
        """round(x): to the nearest integer, halves to the even one, in the dtype of x."""
        if digits is not None:
            hint = "gc.round(x * 10**n) / 10**n"
            fail(ArgumentError, "round", "a number of digits is not offered", hint=hint)
        return unary(arithmetic.ROUND, self) if self.dtype.is_float else self

    # ------------------------------------------------------------ NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """`array * x`: NumPy hands its operators over. Its other functions are refused."""
        operators = OPERATORS.get(ufunc.__name__) if method == "__call__" else None
        if operators is None or options:
            refuse_numpy(ufunc.__name__, method, inputs, options)
        x, y = inputs
        if isinstance(x, Tensor):
            return getattr(x, operators[0])(y)
        return getattr(y, operators[1])(x)

    def __array_function__(self, function: Any, types: Any, given: Any, options: Any) -> Any:
        """np.shape and np.ndim are answered, other functions of NumPy refused."""
        if function.__name__ in ("shape", "ndim", "size") and len(given) == 1:
            return getattr(given[0], function.__name__)
        refuse_numpy(function.__name__, "", given, options)

    def __contains__(self, item: object) -> NoReturn:
        self._no_value("in", "use gc.any(x == item)")

    # ------------------------------------------------------------ operators

    def __add__(self, other: Any) -> Tensor:
        return _binary(arithmetic.ADD, self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _binary(arithmetic.ADD, other, self)

    def __sub__(self, other: Any) -> Tensor:
        return _binary(arithmetic.SUB, self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _binary(arithmetic.SUB, other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _binary(arithmetic.MUL, self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _binary(arithmetic.MUL, other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return _binary(arithmetic.DIV, self, other, floating=True)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _binary(arithmetic.DIV, other, self, floating=True)

    def __floordiv__(self, other: Any) -> Tensor:
        return _binary(arithmetic.FLOOR_DIV, self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return _binary(arithmetic.FLOOR_DIV, other, self)

    def __mod__(self, other: Any) -> Tensor:
        return _binary(arithmetic.MOD, self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return _binary(arithmetic.MOD, other, self)

    def __pow__(self, other: Any) -> Tensor:
        if _is_operand(other) and isinstance(other, (int, float)) and other == 2:
            return _binary(arithmetic.MUL, self, self)
        return _binary(elementwise.POW, self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return _binary(elementwise.POW, other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return _product(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return _product(other, self)

    def __and__(self, other: Any) -> Tensor:
        return _binary(comparison.AND, self, other)

    def __rand__(self, other: Any) -> Tensor:
        return _binary(comparison.AND, other, self)

    def __or__(self, other: Any) -> Tensor:
        return _binary(comparison.OR, self, other)

    def __ror__(self, other: Any) -> Tensor:
        return _binary(comparison.OR, other, self)

    def __xor__(self, other: Any) -> Tensor:
        return _binary(comparison.XOR, self, other)

    def __rxor__(self, other: Any) -> Tensor:
        return _binary(comparison.XOR, other, self)

    def __lshift__(self, other: Any) -> Tensor:
        return _binary(comparison.SHL, self, other)

    def __rlshift__(self, other: Any) -> Tensor:
        return _binary(comparison.SHL, other, self)

    def __rshift__(self, other: Any) -> Tensor:
        return _binary(comparison.SHR, self, other)

    def __rrshift__(self, other: Any) -> Tensor:
        return _binary(comparison.SHR, other, self)

    def __neg__(self) -> Tensor:
        return unary(arithmetic.NEG, self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return unary(arithmetic.ABS, self)

    def __invert__(self) -> Tensor:
        return unary(comparison.NOT, self)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return _binary(comparison.EQ, self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return _binary(comparison.NE, self, other)

    def __lt__(self, other: Any) -> Tensor:
        return _binary(comparison.LT, self, other)

    def __le__(self, other: Any) -> Tensor:
        return _binary(comparison.LE, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _binary(comparison.GT, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _binary(comparison.GE, self, other)

    def __getitem__(self, key: Any) -> Tensor:
        """x[i], x[a:b:c], x[..., None], x[i, j] with index arrays and x[mask], as in NumPy.

        A mask has fixed values; index arrays may be computed. See indexing.py.
        """
        entries = key if isinstance(key, tuple) else (key,)
        plain = [e.node if isinstance(e, Tensor) else e for e in entries]
        return derive(index(self.node, plain), self, *entries)

    # ------------------------------------------------------------ shape methods

    @property
    def T(self) -> Tensor:
        """All axes in reverse order."""
        return self.permute(*reversed(range(self.ndim)))

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        if self.ndim < 2:
            fail(ShapeError, "matrix_transpose", f"a matrix has two axes; this is {self.node.type}")
        return self.permute(*range(self.ndim - 2), -1, -2)

    def transpose(self, *axes: Any, dim0: int | None = None, dim1: int | None = None) -> Tensor:
        """Two integers: these axes exchanged, as in PyTorch. A sequence, or more integers: the
        axes in that order, as in NumPy. Nothing: in reverse order.

        `x.transpose(0, 1)` of a matrix is NumPy's x.transpose(1, 0); `permute` never exchanges.
        """
        if dim0 is not None or dim1 is not None:
            axes = (*axes, *(d for d in (dim0, dim1) if d is not None))
        if len(axes) == 1 and not isinstance(axes[0], (tuple, list)):
            if axes[0] is not None:
                hint = "x.transpose(i, j) exchanges two axes, x.mT the last two"
                fail(ArgumentError, "transpose", f"one axis is given: {axes[0]!r}", hint=hint)
            axes = ()
        if len(axes) == 2:
            first, second = (nodes.axis_of(a, self.ndim, "transpose") for a in axes)
            order = list(range(self.ndim))
            order[first], order[second] = second, first
            return self.permute(order)
        return self.permute(*(axes or (tuple(reversed(range(self.ndim))),)))

    def permute(self, *axes: Any) -> Tensor:
        """Axis i of the result is axis axes[i]: all axes, as integers or one sequence."""
        single = len(axes) == 1 and isinstance(axes[0], (tuple, list))
        return derive(nodes.transpose(self.node, axes[0] if single else axes), self)

    def reshape(self, *shape: Any) -> Tensor:
        """Another shape for the same elements; one extent may be -1."""
        single = len(shape) == 1 and isinstance(shape[0], (tuple, list))
        return derive(nodes.reshape(self.node, shape[0] if single else shape), self)

    def flatten(self, start_axis: int = 0, end_axis: int = -1) -> Tensor:
        """The axes from start_axis to end_axis, both included, made one."""
        if self.ndim == 0:
            return self.reshape(1)
        first = nodes.axis_of(start_axis, self.ndim, "flatten")
        last = nodes.axis_of(end_axis, self.ndim, "flatten")
        if first > last:
            problem = f"start_axis {start_axis} lies behind end_axis {end_axis}"
            fail(ArgumentError, "flatten", problem, [f"x is {self.node.type}"])
        shape = self.node.type.shape
        with located("flatten"):
            return self.reshape(
                (*shape[:first], product(shape[first : last + 1]), *shape[last + 1 :])
            )

    def squeeze(self, axis: Axis = None) -> Tensor:
        """Without the axes of extent 1 (all of them, or those named)."""
        return derive(nodes.squeeze(self.node, axis), self)

    def expand_dims(self, axis: int | Sequence[int] = 0) -> Tensor:
        """With new axes of extent 1 at these positions of the result."""
        return derive(nodes.expand_dims(self.node, axis), self)

    def broadcast_to(self, shape: ShapeLike) -> Tensor:
        """Stretched to `shape` by the broadcasting rules."""
        return derive(
            nodes.broadcast_checked(self.node, nodes.check_shape(shape, "broadcast_to")), self
        )

    def astype(self, dtype: DTypeLike) -> Tensor:
        """Converted to another dtype; floats to integers round toward zero."""
        return derive(nodes.cast(self.node, dtype_of(dtype)), self)

    # ------------------------------------------------------------ reductions

    def sum(
        self, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False
    ) -> Tensor:
        """Sum over axis (None: all). Integers and bools are summed in int64."""
        return derive(reductions.total(self.node, axis, dtype, keepdims), self)

    def prod(
        self, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False
    ) -> Tensor:
        """Product over axis (None: all). Integers and bools are multiplied in int64."""
        return derive(reductions.product(self.node, axis, dtype, keepdims), self)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Arithmetic mean over axis (None: all)."""
        return derive(reductions.mean(self.node, axis, keepdims), self)

    def var(
        self, axis: Axis = None, correction: bool | int | float = 0.0, keepdims: bool = False
    ) -> Tensor:
        """Variance over axis; the divisor is the number of elements less `correction`: 0 as in
        the Array API, where PyTorch's default is 1.

        Of no more elements than `correction` it is NaN; along a named dimension it is 0.
        """
        return derive(reductions.variance(self.node, axis, correction, keepdims), self)

    def std(
        self, axis: Axis = None, correction: bool | int | float = 0.0, keepdims: bool = False
    ) -> Tensor:
        """Standard deviation over axis: the root of `var`. Of equal elements the slope is 0."""
        return derive(reductions.root(self.var(axis, correction, keepdims).node), self)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Greatest element over axis (None: all); NaN if there is one. The values alone, not
        PyTorch's pair: `argmax` gives positions."""
        return derive(reductions.extremum(reduction.MAX, self.node, axis, keepdims), self)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Least element over axis (None: all); NaN if there is one. See `max`."""
        return derive(reductions.extremum(reduction.MIN, self.node, axis, keepdims), self)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Whether every element is true, or not zero."""
        return derive(reductions.truth(reduction.ALL, self.node, axis, keepdims), self)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Whether an element is true, or not zero."""
        return derive(reductions.truth(reduction.ANY, self.node, axis, keepdims), self)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Position of the first greatest element along axis (None: of all, row-major)."""
        return derive(reductions.position(reduction.ARGMAX, self.node, axis, keepdims), self)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Position of the first least element along axis (None: of all, row-major)."""
        return derive(reductions.position(reduction.ARGMIN, self.node, axis, keepdims), self)

    # ------------------------------------------------------------ order

    def sort(self, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
        """The elements in order along an axis, as a new tensor: see gc.sort."""
        return derive(ordering.ordered(self.node, axis, descending), self)

    def argsort(self, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
        """The positions of the elements in the order of `sort`, as int64."""
        return derive(ordering.order(self.node, axis, descending, "argsort")[0], self)

    # ------------------------------------------------------------ elementwise methods

    def abs(self) -> Tensor:
        return unary(arithmetic.ABS, self)

    def square(self) -> Tensor:
        return _binary(arithmetic.MUL, self, self)

    def sqrt(self) -> Tensor:
        return unary(elementwise.SQRT, self, floating=True)

    def exp(self) -> Tensor:
        return unary(elementwise.EXP, self, floating=True)

    def log(self) -> Tensor:
        return unary(elementwise.LOG, self, floating=True)

    def sin(self) -> Tensor:
        return unary(elementwise.SIN, self, floating=True)

    def cos(self) -> Tensor:
        return unary(elementwise.COS, self, floating=True)

    def tan(self) -> Tensor:
        return unary(elementwise.TAN, self, floating=True)

    def tanh(self) -> Tensor:
        return unary(elementwise.TANH, self, floating=True)

    def sigmoid(self) -> Tensor:
        return unary(elementwise.SIGMOID, self, floating=True)

    def erf(self) -> Tensor:
        return unary(elementwise.ERF, self, floating=True)

    def relu(self) -> Tensor:
        """max(x, 0), with derivative 0 at 0; NaN stays. Raises DTypeError for bools."""
        if self.dtype.is_bool:
            fail(DTypeError, "relu", f"needs numbers, not {self.node.type}")
        return derive(nodes.select((self <= 0).node, 0, self.node), self)

    def clip(self, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
        """Limited to min <= element <= max; a limit that is None does not apply.

        At a limit the derivative is that of the element, as in PyTorch; NaN stays.
        """
        result = self
        if min is not None:
            below = binary(comparison.LT, result, min).node
            result = derive(nodes.select(below, operand_of(min), result.node), result, min)
        if max is not None:
            above = binary(comparison.GT, result, max).node
            result = derive(nodes.select(above, operand_of(max), result.node), result, max)
        return result


TensorLike: TypeAlias = "Tensor | np.ndarray[Any, Any] | bool | int | float"


def derive(node: Node, *operands: Any) -> Tensor:
    """A tensor of `node` that takes every input which its operands declare."""
    declared = frozenset().union(*(t.declared for t in operands if isinstance(t, Tensor)))
    return Tensor(node, declared)


def operand_of(x: Any) -> Operand:
    """The node of a tensor; arrays and numbers as they are."""
    return x.node if isinstance(x, Tensor) else x


def as_tensor(x: Any) -> Tensor:
    """A tensor of anything that can be an operand."""
    return x if isinstance(x, Tensor) else Tensor(nodes.constant(x))


def separate(operands: Sequence[Any]) -> list[Tensor]:
    """The operands of a function of any number: one by one, or as PyTorch's one list of tensors."""
    if len(operands) == 1 and isinstance(operands[0], list):
        if any(isinstance(entry, Tensor) for entry in operands[0]):
            operands = operands[0]
    return [as_tensor(x) for x in operands]


def floating(x: Any) -> Tensor:
    """`as_tensor` for formulas in floating point: integers and bools become float32.

    A composition that computed with narrow integers first would wrap in silence.
    """
    tensor = as_tensor(x)
    return tensor if tensor.dtype.is_float else tensor.astype(float32)


def unary(op: OpDef, x: Any, floating: bool = False) -> Tensor:
    """One elementwise operation on one operand; `floating` moves integers to float32."""
    return derive(nodes.elementwise(op, operand_of(x), floating=floating), x)


def binary(op: OpDef, x: Any, y: Any, floating: bool = False) -> Tensor:
    """One elementwise operation on two operands, promoted and broadcast."""
    node = nodes.elementwise(op, operand_of(x), operand_of(y), floating=floating)
    return derive(node, x, y)


def _is_operand(x: object) -> bool:
    return isinstance(x, (Tensor, *OPERANDS))


def _binary(op: OpDef, x: Any, y: Any, floating: bool = False) -> Tensor:
    """`binary` for an operator: what it does not know is left to the other operand's class."""
    if not (_is_operand(x) and _is_operand(y)):
        return NotImplemented
    return binary(op, x, y, floating)


def _product(x: Any, y: Any) -> Tensor:
    if not (_is_operand(x) and _is_operand(y)):
        return NotImplemented
    x, y = as_tensor(x), as_tensor(y)
    return derive(nodes.matmul(x.node, y.node), x, y)
