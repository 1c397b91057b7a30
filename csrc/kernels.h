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
//   sums of rows   each column in double, rows in order: |error| <= n * 2^-53 * sum |a_i|
//   clipped sums   each lane in float, features in order, multiply then add
//   sigmoid        in double, rounded once to float: <= 1 ULP over the whole range, denormal results included
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace fastroute::kernels {

enum class SimdLevel : uint8_t { kScalar, kAvx2, kAvx512 };

// Kinds of byte in UTF-8 text. A byte may be of several.
enum TextClass : uint8_t {
  kLetter,        // A-Z a-z
  kCapital,       // A-Z
  kDigit,         // 0-9
  kSpace,         // space \t \n \v \f \r
  kNewline,       // \n
  kLead,          // first byte of a character beyond ASCII: C0 and up
  kContinuation,  // 80 to BF
  kQuestionMark,
  kMathSymbol,  // = + - * / ^ < > ( )
  kTexSymbol,   // \ $ _ { }
  kSemicolon,
  kBacktick,
  kFullStop,
  kPercent,
  kQuotationMark,  // "
  kByteE2,         // first byte of the curly quotation marks, among others
  kTextClasses
};

constexpr size_t kTextBlock = 64;

struct KernelTable {
  SimdLevel level;

  // out[r] = sum_j rows[r * n + j] * v[j] for r < row_count
  void (*dot_rows_f32)(const float* rows, size_t row_count, const float* v, size_t n, float* out) noexcept;

  // out[r] = scales[r] * sum_j rows[r * n + j] * v[j] for r < row_count
  void (*dot_rows_i8)(const int8_t* rows, const float* scales, size_t row_count, const float* v, size_t n,
                      float* out) noexcept;

  // sum[j] += scale * row[j] for j < n
  void (*add_scaled_i8)(const int8_t* row, float scale, float* sum, size_t n) noexcept;

  // sums[j] = sum_i table[rows[i] * width + j] for j < width, i < row_count
  void (*sum_rows_f32)(const float* table, size_t width, const int32_t* rows, size_t row_count, double* sums) noexcept;

  // sums[k] += sum_j weight[j * n + k] * clip((x[j] - mean[j * n + k]) * scale[j * n + k], most[k]) for k < n,
  // j < count; clip(y, m) = y < -m ? -m : (y > m ? m : y). n is a multiple of 16.
  void (*add_clipped_f32)(const float* x, size_t count, const float* mean, const float* scale, const float* weight,
                          const float* most, size_t n, float* sums) noexcept;

  // Bit i of masks[c] says whether text[i] is of class c, for i < n <= kTextBlock; the other bits are 0.
  void (*classify_text)(const unsigned char* text, size_t n, uint64_t* masks) noexcept;

  // out[i] = 1 / (1 + exp(-x[i])) for i < n
  void (*sigmoid_f32)(const float* x, float* out, size_t n) noexcept;
};

// The highest level that this processor and this build have.
SimdLevel best_level() noexcept;

// The kernels of a level; of the best one below it where that level is not available.
const KernelTable& table_for(SimdLevel level) noexcept;

}  // namespace fastroute::kernels
