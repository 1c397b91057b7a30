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
//   integer dots   exact
//   weights        in float, multiply then add: relative error <= 3e-7 of the power, 1e-7 * |exponent| from its
//   exponent sums           16 double lanes, element i in lane i mod 16, then lane k += lane k + 8, + 4, + 2, + 1
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

// Rows of an index lie 16 at a time, interleaved by groups of 4 elements, each plus 128: byte 64 g + 4 r + k of a block
// is element 4 g + k of its row r.
constexpr size_t kBlockRows = 16;
constexpr size_t kGroup = 4;

// Weights are not smaller than 2 to this power.
constexpr float kLeastExponent = -40;

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

  // dots[q * stride + 16 b + r] = starts[q] + sum_j (row r of block b)[j] * queries[q * 4 * groups + j] for j < 4 *
  // groups, b < block_count, q < query_count. The rows are as they lie, each element plus 128, so a start of -128 times
  // the query's sum gives the dot product. Exact while that fits 32 bits.
  void (*dot_blocks_i8)(const uint8_t* blocks, size_t block_count, size_t groups, const int8_t* queries,
                        const int32_t* starts, size_t query_count, int32_t* dots, size_t stride) noexcept;

  // The largest dots[i] * scales[i] for i < n; -Inf where n is 0. No scale is NaN or infinite.
  float (*max_scaled_i32)(const int32_t* dots, const float* scales, size_t n) noexcept;

  // out[i] = 2 ** max(dots[i] * scales[i] * factor + shift, kLeastExponent) for i < n; exponents are below 100
  void (*similarity_weights)(const int32_t* dots, const float* scales, float factor, float shift, size_t n,
                             float* out) noexcept;

  // The sum of x[i] for i < n
  double (*sum_f32)(const float* x, size_t n) noexcept;
};

// The highest level that this processor and this build have.
SimdLevel best_level() noexcept;

// The kernels of a level; of the best one below it where that level is not available.
const KernelTable& table_for(SimdLevel level) noexcept;

// Every table that this processor can use, the scalar one first; null past the last. Two may be of one level: AVX-512
// has one with VNNI and one without.
const KernelTable* available_table(size_t index) noexcept;

}  // namespace fastroute::kernels
