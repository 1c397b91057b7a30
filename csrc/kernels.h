// The kernels behind every score, and the table through which they are called.
//
// Contract of all of them: noexcept, no allocation, unaligned pointers, no read or write past the stated length,
// outputs never overlap inputs. NaN and Inf flow through as IEEE 754 has them.
//
// Numerical stability: each kernel fixes the order of its operations, and every instruction set follows that
// order without fused multiply-adds. So a result is the same bit for bit on every level and every processor, and a
// score can't cross a threshold because a service moved to another machine.
//   dot products   32 float lanes, element i in lane i mod 32, then lane k += lane k + 16, + 8, + 4, + 2, + 1.
//                  |error| <= (n/32 + 6) * 2^-24 * sum |a_i b_i|
//   sigmoid        in double, rounded once to float: <= 1 ULP over the whole range, denormal results included
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace fastroute::kernels {

enum class SimdLevel : uint8_t { kScalar, kAvx2, kAvx512 };

struct KernelTable {
  SimdLevel level;

  // out[r] = sum_j rows[r * n + j] * v[j] for r < row_count
  void (*dot_rows_f32)(const float* rows, size_t row_count, const float* v, size_t n, float* out) noexcept;

  // out[r] = scales[r] * sum_j rows[r * n + j] * v[j] for r < row_count
  void (*dot_rows_i8)(const int8_t* rows, const float* scales, size_t row_count, const float* v, size_t n,
                      float* out) noexcept;

  // sum[j] += scale * row[j] for j < n
  void (*add_scaled_i8)(const int8_t* row, float scale, float* sum, size_t n) noexcept;

  // out[i] = 1 / (1 + exp(-x[i])) for i < n
  void (*sigmoid_f32)(const float* x, float* out, size_t n) noexcept;
};

// The highest level that this processor and this build have.
SimdLevel best_level() noexcept;

// The kernels of a level; of the best one below it where that level is not available.
const KernelTable& table_for(SimdLevel level) noexcept;

}  // namespace fastroute::kernels
