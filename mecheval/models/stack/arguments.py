"""Arguments that families of architectures share: feed-forward parts, heads, scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mecheval.models.kernels.fla import PACKAGE
from mecheval.models.kernels.scan import Kernel, check_kernel
from mecheval.models.stack.architecture import Architecture
from mecheval.models.stack.shell import PAPER_STATE_SPACE, Shell

if TYPE_CHECKING:
    from collections.abc import Collection

EIGENVALUES = ((0, 1), (-1, 1))


@dataclass(frozen=True, kw_only=True)
class FeedForwardArchitecture(Architecture):
    """An architecture whose blocks are a mixer and a feed-forward part."""

    embedding_std: ClassVar[float] = 0.02
    later: ClassVar[frozenset[str]] = frozenset({"shell"})

    mlp_ratio: int = 4

    def kind_of(self, layer: int, pattern: str, kinds: Collection[str]) -> str:
        """Return the kind of a layer's mixer, by a pattern such as ``conv-attention``.

        Args:
            layer: Which layer; a pattern shorter than the stack is repeated.
            pattern: Kinds from the first layer on, joined by ``-``.
            kinds: Those that there are.

        Raises:
            UsageError: The pattern names another kind.
        """
        names = pattern.split("-")
        needs = f"a pattern of {', '.join(kinds)}, joined by -"
        self.check(all(name in kinds for name in names), needs)
        return names[layer % len(names)]


@dataclass(frozen=True, kw_only=True)
class LinearAttentionArchitecture(FeedForwardArchitecture):
    """Arguments of linear attention and the delta rule, with their kin.

    Attributes:
        heads: Number of heads; 1 in the study of retrieval.
        kernel: ``auto`` takes flash-linear-attention's on CUDA in half precision if installed,
            plain torch otherwise; ``reference`` is the definition, one position at a time;
            ``fused`` is flash-linear-attention's or an error.
    """

    heads: int = 1
    kernel: Kernel = "auto"

    def __post_init__(self) -> None:
        """Check the arguments."""
        super().__post_init__()
        self.check_heads(self.heads)
        check_kernel(self.kernel, PACKAGE)


@dataclass(frozen=True, kw_only=True)
class ImplicitFilterArchitecture(FeedForwardArchitecture):
    """Arguments of architectures with such filters.

    Attributes:
        filter_positions: Lags that the filter's input is a share of; the length of the sequences,
            as far as it can be known. The study has 1024.
        filter_std: Standard deviation of the filter network's weights. At 0 it is their number
            of inputs to the power of -1/2, and that of the last matrix is such that a sum over
            ``filter_positions`` lags starts of order 1. The study has 0.02.
    """

    filter_positions: int = 64
    filter_std: float = 0.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        super().__post_init__()
        self.check(self.filter_positions >= 1, "filter_positions of at least 1")
        self.check(self.filter_std >= 0, "filter_std of at least 0")


@dataclass(frozen=True, kw_only=True)
class StateSpaceArchitecture(Architecture):
    """Arguments of Mamba and Mamba-2.

    Attributes:
        expand: Channels of the scan per width of the stream.
        d_state: States N per channel.
        d_conv: Taps of the convolution, the present included: 1 is a scale and a bias per channel
            without lookback, 0 is no convolution at all.
        eigenvalues: Range of the decay: ``[0,1]``, or ``[-1,1]`` (arXiv:2411.12537).
        kernel: ``auto`` takes mamba-ssm's on CUDA if installed, C on the CPU if there is a
            compiler, plain torch otherwise; ``reference`` is the definition, one position at a
            time; ``fused`` is mamba-ssm's or an error.
    """

    embedding_std: ClassVar[float] = 0.02
    paper_shell: ClassVar[Shell] = PAPER_STATE_SPACE

    expand: int = 2
    d_state: int = 16
    d_conv: int = 4
    eigenvalues: tuple[int, int] = (0, 1)
    kernel: Kernel = "auto"

    def __post_init__(self) -> None:
        """Check the arguments."""
        super().__post_init__()
        self.check(self.expand >= 1 and self.d_state >= 1, "expand and d_state of at least 1")
        self.check(self.d_conv >= 0, "d_conv of at least 0")
        self.check(self.eigenvalues in EIGENVALUES, "eigenvalues=[0,1] or eigenvalues=[-1,1]")
        object.__setattr__(self, "eigenvalues", (int(self.eigenvalues[0]), 1))
        check_kernel(self.kernel)
        self.check(self.kernel != "fused" or not self.signed, "eigenvalues=[0,1] for kernel=fused")

    @property
    def signed(self) -> bool:
        """Return whether the decay can be negative."""
        return self.eigenvalues[0] < 0

    @property
    def channels(self) -> int:
        """Return the number of channels of the scan."""
        return self.expand * self.width
