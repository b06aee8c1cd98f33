"""GPUs in figures: what a cost is predicted from where nothing can be measured.

One GPU stands for each architecture that there is code for. The figures are those of NVIDIA's
datasheets and architecture papers: dense products, no sparsity, sums in float32. How much of a peak
a kernel gets is none of them: the parts below are assumptions, to be replaced by measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from .architecture import KIB, PREFIX

CACHE_BYTES_PER_CLOCK = 64
"""That a multiprocessor reads from the second-level cache. Source: NVIDIA A100 whitepaper (2020):
5120 bytes per clock for 80 slices, 64 of each."""

SHARED_CACHE_PART = 0.45
"""Of what all multiprocessors could read of that cache together. Source: 5.5 to 6 TB/s measured on
an H100 with 114 of them at 1.755 GHz, Chips and Cheese, "Nvidia's H100" (2023)."""

CACHE_LATENCY_CYCLES, MEMORY_LATENCY_CYCLES = 262, 479
"""Of a load from the second-level cache, and of one from memory, on an H100. Source: Luo et al.,
"Benchmarking and Dissecting the Nvidia Hopper GPU Architecture" (2024), arXiv 2402.13499."""

NEAR_LATENCY_CYCLES = 41
"""Of a load from the cache next to a multiprocessor, where all is that a persistent loop holds.
Source: the same."""

TURN_CYCLES = 100
"""From one kernel of a persistent loop to the next: an assumption. A barrier of one block, the
indices behind it and one instruction after the other of a tree over lanes."""

LAUNCH_US = 1.3
"""From the end of one kernel to the begin of the next in a captured graph. Source: Spector et al.,
"Look Ma, No Bubbles!" (2025): 1.3 us of an H100 (2.1 us without a graph)."""

HOST_STEP_US = 5.0
"""Of the host for each step: a launch of a graph and a small copy before it. Source: NVIDIA,
"Constant Time Launch for Straight-Line CUDA Graphs" (2024): 2.5 us and 1 ns a node for the first;
the copy is assumed to cost as much."""

HOST_ROUND_US = 15.0
"""Of a loop or a choice that the host runs, each round: an assumption. It waits for the device,
reads a number back, and launches again."""

MEMORY_PART, CORES_PART, FMA_PART = 0.9, 0.6, 0.6
"""Of peaks, what a good kernel gets of memory, of tensor cores and of multiply-adds: assumptions.
A peak of memory is never all to be had for refreshing and turning around; tiles copied without TMA
leave tensor cores waiting."""


@dataclass(frozen=True)
class Peaks:
    """One GPU.

    gbs              of its memory
    cache_mib        of its second-level cache
    multiprocessors  how many there are, with `fma_lanes` multiply-adds of float32 a clock each
    boost_ghz        the highest clock
    tflops           dense products in float64, and in tensor cores in tf32 and 16-bit floats
    """

    name: str
    gbs: float
    cache_mib: float
    multiprocessors: int
    fma_lanes: int
    boost_ghz: float
    tflops: MappingProxyType[str, float]

    @property
    def fma_tflops(self) -> float:
        """Of multiply-adds in float32, which count twice."""
        return 2e-3 * self.multiprocessors * self.fma_lanes * self.boost_ghz

    def rate(self, unit: str) -> float:
        """FLOP/us at the peak of a unit: "fma", or a name of `tflops`."""
        return 1e6 * (self.fma_tflops if unit == "fma" else self.tflops[unit])

    def cache_rate(self, multiprocessors: int) -> float:
        """Bytes/us that so many multiprocessors read from the second-level cache."""
        one = CACHE_BYTES_PER_CLOCK * self.boost_ghz * 1e3
        return min(multiprocessors, SHARED_CACHE_PART * self.multiprocessors) * one

    @property
    def cache_bytes(self) -> float:
        return self.cache_mib * KIB * KIB

    def latency_us(self, cycles: int) -> float:
        return cycles / self.boost_ghz * 1e-3


def _peaks(
    name: str,
    gbs: float,
    cache_mib: float,
    multiprocessors: int,
    fma_lanes: int,
    boost_ghz: float,
    tflops: tuple[float, float, float],
) -> Peaks:
    units = MappingProxyType(dict(zip(("f64", "tf32", "16 bits"), tflops, strict=True)))
    return Peaks(name, gbs, cache_mib, multiprocessors, fma_lanes, boost_ghz, units)


PEAKS = MappingProxyType(
    {
        "sm_80": _peaks("A100 SXM 80 GB", 2039, 40, 108, 64, 1.41, (9.7, 156, 312)),
        "sm_86": _peaks("A40", 696, 6, 84, 128, 1.74, (0.58, 74.8, 149.7)),
        "sm_89": _peaks("L40S", 864, 96, 142, 128, 2.52, (1.4, 183, 362)),
        "sm_90": _peaks("H200 SXM", 4800, 50, 132, 128, 1.98, (34, 494.7, 989.4)),
        "sm_100": _peaks("B200", 8000, 126, 148, 128, 1.98, (40, 1100, 2250)),
        "sm_120": _peaks("RTX 5090", 1792, 96, 170, 128, 2.41, (1.6, 104.8, 209.5)),
    }
)  # fmt: skip
"""By architecture. Sources: NVIDIA's datasheets of A100 (2021), A40 (2021), L40S (2023) and H200
(2024; multiprocessors and cache as in "H100 Tensor Core GPU Architecture", 2022), of Blackwell
(2024), "RTX Blackwell GPU Architecture" (2025). The cache of a B200 is what its driver reports."""

assert all(name.startswith(PREFIX) for name in PEAKS)
