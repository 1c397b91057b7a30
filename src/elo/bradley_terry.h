// Bradley-Terry strengths by maximum likelihood, from a table of how often each side beat each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fastroute::elo {

struct Solution {
  bool converged;
  int steps;
};

// A sum and what rounding took from it. Pulls of heavy battles cancel, and what is left must still move a side that
// light ones hold.
struct Sum {
  double high, low;
};

// What one thread needs; keep it between calls to save allocations.
struct SolverWorkspace {
  std::vector<double> curvature, step;
  std::vector<Sum> pull;
};

// Strengths s under which i beats j with probability 1 / (1 + exp(s_j - s_i)); they maximise
// sum_ij wins[i * n + j] log(that). wins is n x n, not negative; a tie is half a win each way; the diagonal counts for
// nothing. Each side must reach every other along wins, or there is no maximum (Ford, 1957): see standing().
//
// Newton's method from the strengths given. A step is shortened by 1 + r / 2, r its range, less than the log(1 + r) / r
// under which the likelihood rises all the way (Bach, 2010, arXiv 0910.4627); near the maximum the steps are Newton's
// own. The last strength keeps its value: strengths matter up to a constant. Where the steps don't end or a number is
// not finite, the solution has not converged and the strengths are the last finite ones.
Solution solve_strengths(const double* wins, size_t n, double* strengths, SolverWorkspace& workspace);

// exp(-t) for t >= 0, in a fixed order of operations: the C library's own differs between processors in the last bit.
// Past 700 it stays what it is there.
double exp_of_minus(double t) noexcept;

// Win rate of strength a against strength b, in logits: 1 / (1 + exp(b - a)), never NaN for finite strengths.
double win_rate(double a, double b) noexcept;

// How two sides compare along wins of other sides.
enum class Standing : uint8_t {
  kRated,    // each reaches the other: the fit on what they are connected with tells
  kAbove,    // the first one reaches the second one and never the reverse: it wins in the limit
  kBelow,    // the reverse
  kUnknown,  // nothing compares them
};
Standing standing(const double* wins, size_t n, size_t a, size_t b);

// The sides that a reaches along wins and that reach a, a among them, ascending.
std::vector<size_t> connected_with(const double* wins, size_t n, size_t a);

}  // namespace fastroute::elo
