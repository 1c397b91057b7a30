"""RouteLLM's published figures: tables 1 to 3 and 7 of arXiv 2406.18665 v4.

Whole benchmarks, gpt-4-1106-preview against Mixtral-8x7B. CPT there is read off straight lines between ten cuts,
APGR is what `apgr_10` is here. "arena" is 65,000 Chatbot Arena battles, "judge" adds GPT-4's judgements, "gold"
adds answers of MMLU's validation questions: gold labels of the benchmark that is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PAPER", "PAPER_OVERHEAD", "PaperOverhead", "PaperRow"]


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One line of a table: the router, what it was trained on, and its figures as fractions of 1."""

    router: str
    training: str
    cpt_50: float
    cpt_80: float
    apgr: float


PAPER: dict[str, tuple[PaperRow, ...]] = {
    "mt-bench": (
        PaperRow("random", "", 0.4903, 0.7808, 0.500),
        PaperRow("BERT", "arena", 0.7809, 0.8764, 0.391),
        PaperRow("causal LLM", "arena", 0.2882, 0.7753, 0.573),
        PaperRow("MF", "arena", 0.2532, 0.7426, 0.580),
        PaperRow("SW ranking", "arena", 0.3785, 0.5899, 0.610),
        PaperRow("BERT", "arena+judge", 0.1958, 0.3402, 0.751),
        PaperRow("causal LLM", "arena+judge", 0.3150, 0.4875, 0.679),
        PaperRow("MF", "arena+judge", 0.1340, 0.3131, 0.802),
        PaperRow("SW ranking", "arena+judge", 0.2321, 0.3604, 0.759),
    ),
    "mmlu": (
        PaperRow("random", "", 0.5007, 0.7993, 0.500),
        PaperRow("BERT", "arena", 0.4943, 0.7780, 0.502),
        PaperRow("causal LLM", "arena", 0.4888, 0.7793, 0.499),
        PaperRow("MF", "arena", 0.4500, 0.7686, 0.524),
        PaperRow("SW ranking", "arena", 0.5582, 0.8025, 0.473),
        PaperRow("BERT", "arena+gold", 0.4130, 0.7220, 0.572),
        PaperRow("causal LLM", "arena+gold", 0.3549, 0.7031, 0.600),
        PaperRow("MF", "arena+gold", 0.3546, 0.7140, 0.597),
        PaperRow("SW ranking", "arena+gold", 0.3540, 0.7155, 0.603),
    ),
    "gsm8k": (
        PaperRow("random", "", 0.5000, 0.8008, 0.497),
        PaperRow("BERT", "arena", 0.5878, 0.8384, 0.438),
        PaperRow("causal LLM", "arena", 0.5609, 0.8356, 0.461),
        PaperRow("MF", "arena", 0.5359, 0.8524, 0.4746),
        PaperRow("SW ranking", "arena", 0.5443, 0.8211, 0.4753),
        PaperRow("BERT", "arena+judge", 0.4476, 0.7909, 0.531),
        PaperRow("causal LLM", "arena+judge", 0.3364, 0.6326, 0.622),
        PaperRow("MF", "arena+judge", 0.3882, 0.7262, 0.565),
        PaperRow("SW ranking", "arena+judge", 0.4121, 0.7220, 0.568),
    ),
}


@dataclass(frozen=True, slots=True)
class PaperOverhead:
    """One line of table 7: a router, dollars per million requests on the machine it ran on, requests per second."""

    router: str
    dollars_per_million: float
    per_second: float


PAPER_OVERHEAD: tuple[PaperOverhead, ...] = (
    PaperOverhead("SW ranking", 39.26, 2.9),
    PaperOverhead("MF", 3.32, 155.16),
    PaperOverhead("BERT", 3.19, 69.62),
    PaperOverhead("causal LLM", 5.23, 42.46),
)
