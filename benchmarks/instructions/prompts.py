"""Prompts of 20, 95 and some 400 tokens, and one of other scripts: counts are of the same bytes on every machine."""

from __future__ import annotations

SHORT = "Write a haiku about the first snow of winter, without using the word snow or the word cold."

MIDDLE = (
    "I have a CSV file with 3 columns: date, city and temperature (in °C). Some rows lack the temperature, and some "
    "dates are written as 2024-01-31, others as 31/01/2024. Using Python 3.11 and only the standard library, write a "
    "function that returns the mean temperature per city and month, skips rows that can't be read, and tells how many "
    "were skipped. Please explain each step briefly."
)

LONG = """You are reviewing a pull request. Here is the function that was changed:

```python
def percentile(values, q):
    values = sorted(values)
    k = (len(values) - 1) * q / 100
    lower, upper = math.floor(k), math.ceil(k)
    if lower == upper:
        return values[int(k)]
    return values[lower] * (upper - k) + values[upper] * (k - lower)
```

The author says: "It is equivalent to numpy.percentile with method='linear', and it runs in O(n log n)." Two \
users have reported that p99 of their latencies looks wrong since the last release, by 5% to 10% on Mondays; \
nobody has found out why.

1. Is the claim of equivalence true for q = 0, q = 100, an empty list, and lists that hold NaN? Give an example \
for each.
2. Suppose that $x_1 \\le x_2 \\le \\dots \\le x_n$ are drawn from an exponential distribution of rate \
$\\lambda$. Derive the expected value of the 99th percentile for n = 1000, and say how far the interpolated \
estimate is from $-\\ln(0.01) / \\lambda$.
3. Could one get the same answer without sorting everything? Sketch an algorithm that needs O(n) time on \
average, and state when you would prefer it.
4. What tests are missing? Write three of them with pytest; don't use any other package.

Answer for Zoë and Søren, who know Python well but have not read any statistics since school. Be precise: if \
something can't be decided from what is given here, say so instead of guessing, and name the measurement that \
would decide it.
"""

# Text that leaves the fast path of ASCII: accents to strip, letters of other scripts, a character a word.
OTHER_SCRIPTS = (
    "Объясни, пожалуйста, почему небо голубое. Où est passé l'été dernier, señor? "
    "请用简单的语言解释相对论。 Πόσο κοστίζει; 日本の首都はどこですか。 Größenordnungsmäßig, naïve façade…"
)

PROMPTS = {"20 tokens": SHORT, "95 tokens": MIDDLE, "400 tokens": LONG, "other scripts": OTHER_SCRIPTS}
