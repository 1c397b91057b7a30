#include "elo/bradley_terry.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <iterator>

#include "sigmoid_constants.h"

namespace fastroute::elo {
namespace {

constexpr int kMostSteps = 200;
constexpr double kLastStep = 1e-9;  // the steps shrink quadratically: what is left after this one is below 1e-16

// Which sides are reached from `from` along wins, or against them.
std::vector<bool> reached(const double* wins, size_t n, size_t from, bool along) {
  std::vector<bool> seen(n, false);
  std::vector<size_t> next = {from};
  seen[from] = true;
  while (!next.empty()) {
    const size_t i = next.back();
    next.pop_back();
    for (size_t j = 0; j < n; ++j) {
      if (seen[j] || !(wins[along ? i * n + j : j * n + i] > 0)) continue;
      seen[j] = true;
      next.push_back(j);
    }
  }
  return seen;
}

void add(Sum& sum, double x) noexcept {
  const double total = sum.high + x;
  const double part = total - sum.high;
  sum.low += (sum.high - (total - part)) + (x - part);
  sum.high = total;
}

// Solves sum_j c_ij (x_i - x_j) = pull_i for all sides but the last, whose x is 0; c is symmetric, its upper triangle
// given, and not negative. Eliminating a side joins its neighbours to each other: nothing is subtracted from the
// pivots, so weights of any two sizes may meet. Returns false where a side has no neighbours left.
bool solve_laplacian(double* c, Sum* pull, double* x, size_t n) {
  for (size_t k = 0; k + 1 < n; ++k) {
    double* row = c + k * n;
    double total = 0;
    for (size_t j = k + 1; j < n; ++j) total += row[j];
    if (!(total > 0)) return false;
    row[k] = total;
    for (size_t i = k + 1; i < n; ++i) {
      const double share = row[i] / total;
      if (!(share > 0)) continue;
      add(pull[i], share * pull[k].high);
      add(pull[i], share * pull[k].low);
      for (size_t j = i + 1; j < n; ++j) c[i * n + j] += share * row[j];
    }
  }
  x[n - 1] = 0;
  for (size_t k = n - 1; k-- > 0;) {
    double sum = pull[k].high + pull[k].low;
    for (size_t j = k + 1; j < n; ++j) sum += c[k * n + j] * x[j];
    x[k] = sum / c[k * n + k];
  }
  return true;
}

}  // namespace

// -t = k ln 2 + r, |r| <= ln(2) / 2, and a Taylor polynomial in r, off by 1e-16.
double exp_of_minus(double t) noexcept {
  constexpr double kTaylor[] = {
      1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
      1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
  constexpr double kLongest = 700;
  const double x = -(t < kLongest ? t : kLongest);
  const double shifted = x * kernels::kLog2E + kernels::kRoundingShift;
  const double k = shifted - kernels::kRoundingShift;
  const double r = (x - k * kernels::kLn2High) - k * kernels::kLn2Low;
  double p = 0;
  for (size_t i = std::size(kTaylor); i-- > 0;) p = kTaylor[i] + p * r;
  return p * std::bit_cast<double>((std::bit_cast<uint64_t>(shifted) + 1023) << 52);
}

Solution solve_strengths(const double* wins, size_t n, double* strengths, SolverWorkspace& workspace) {
  if (n < 2) return {true, 0};
  for (int taken = 1; taken <= kMostSteps; ++taken) {
    workspace.curvature.assign(n * n, 0.0);
    workspace.pull.assign(n, {0.0, 0.0});
    workspace.step.resize(n);
    Sum* pull = workspace.pull.data();
    double* step = workspace.step.data();
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = i + 1; j < n; ++j) {
        const double won = wins[i * n + j];
        const double lost = wins[j * n + i];
        if (!(won + lost > 0)) continue;
        const double gap = strengths[i] - strengths[j];
        const double z = exp_of_minus(std::abs(gap));
        const double wins_it = (gap < 0 ? z : 1.0) / (1.0 + z);
        const double loses_it = (gap < 0 ? 1.0 : z) / (1.0 + z);
        const double excess = won * loses_it - lost * wins_it;
        add(pull[i], excess);
        add(pull[j], -excess);
        workspace.curvature[i * n + j] = (won + lost) * wins_it * loses_it;
      }
    }
    if (!solve_laplacian(workspace.curvature.data(), pull, step, n)) return {false, taken};
    if (!std::all_of(step, step + n, [](double x) { return std::isfinite(x); })) return {false, taken};
    const auto [least, most] = std::minmax_element(step, step + n);
    const double range = *most - *least;
    const double part = 1 / (1 + range / 2);
    for (size_t i = 0; i < n; ++i) strengths[i] += part * step[i];
    if (range < kLastStep) return {true, taken};
  }
  return {false, kMostSteps};
}

double win_rate(double a, double b) noexcept {
  const double gap = a - b;
  const double z = exp_of_minus(std::abs(gap));
  return (gap < 0 ? z : 1.0) / (1.0 + z);
}

Standing standing(const double* wins, size_t n, size_t a, size_t b) {
  const bool above = reached(wins, n, a, true)[b];
  const bool below = reached(wins, n, a, false)[b];
  if (above) return below ? Standing::kRated : Standing::kAbove;
  return below ? Standing::kBelow : Standing::kUnknown;
}

std::vector<size_t> connected_with(const double* wins, size_t n, size_t a) {
  const auto forth = reached(wins, n, a, true);
  const auto back = reached(wins, n, a, false);
  std::vector<size_t> sides;
  for (size_t i = 0; i < n; ++i) {
    if (forth[i] && back[i]) sides.push_back(i);
  }
  return sides;
}

}  // namespace fastroute::elo
