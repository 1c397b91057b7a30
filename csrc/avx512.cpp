// AVX-512 (F, BW, VL, DQ). The note on headers in avx2.cpp holds here too.
#include <immintrin.h>
#include <math.h>

#include "exp2_constants.h"
#include "sigmoid_constants.h"
#include "tables.h"

namespace fastroute::kernels {
namespace {

constexpr size_t kLanes = 32;
constexpr size_t kPrefetchBytes = 8192;

inline __mmask16 first_lanes(size_t count) noexcept {
  return static_cast<__mmask16>(count < 16 ? (1U << count) - 1U : 0xFFFFU);
}

// Elements j .. j + 16 of a source as floats; masked-out ones are not read.
struct FloatRow {
  const float* p;
  // Rows from far memory: asked for this early, a dot product is as fast as reading them. A prefetch never faults.
  void prefetch(size_t j) const noexcept {
    _mm_prefetch(reinterpret_cast<const char*>(p + j) + kPrefetchBytes, _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(p + j) + kPrefetchBytes + 64, _MM_HINT_T0);
  }
  __m512 load(size_t j) const noexcept { return _mm512_loadu_ps(p + j); }
  __m512 load(size_t j, __mmask16 mask) const noexcept { return _mm512_maskz_loadu_ps(mask, p + j); }
};

struct Int8Row {
  const int8_t* p;
  void prefetch(size_t) const noexcept {}
  static __m512 widen(__m128i bytes) noexcept { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)); }
  __m512 load(size_t j) const noexcept { return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + j))); }
  __m512 load(size_t j, __mmask16 mask) const noexcept { return widen(_mm_maskz_loadu_epi8(mask, p + j)); }
};

inline float sum_of_lanes(__m512 low, __m512 high) noexcept {
  const __m512 sixteen = _mm512_add_ps(low, high);
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sixteen), _mm512_extractf32x8_ps(sixteen, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

template <class Row>
inline float dot(Row a, const float* b, size_t n) noexcept {
  const FloatRow v{b};
  __m512 low = _mm512_setzero_ps();
  __m512 high = _mm512_setzero_ps();
  size_t j = 0;
  for (; j + kLanes <= n; j += kLanes) {
    a.prefetch(j);
    low = _mm512_add_ps(low, _mm512_mul_ps(a.load(j), v.load(j)));
    high = _mm512_add_ps(high, _mm512_mul_ps(a.load(j + 16), v.load(j + 16)));
  }
  if (j < n) {
    const __mmask16 m0 = first_lanes(n - j);
    const __mmask16 m1 = first_lanes(n - j > 16 ? n - j - 16 : 0);
    low = _mm512_add_ps(low, _mm512_mul_ps(a.load(j, m0), v.load(j, m0)));
    // A fully masked load is safe at any address, but the address itself must not leave the array's end.
    const size_t second = m1 != 0 ? j + 16 : j;
    high = _mm512_add_ps(high, _mm512_mul_ps(a.load(second, m1), v.load(second, m1)));
  }
  return sum_of_lanes(low, high);
}

void dot_rows_f32(const float* rows, size_t row_count, const float* v, size_t n, float* out) noexcept {
  for (size_t r = 0; r < row_count; ++r) out[r] = dot(FloatRow{rows + r * n}, v, n);
}

void dot_rows_i8(const int8_t* rows, const float* scales, size_t row_count, const float* v, size_t n,
                 float* out) noexcept {
  for (size_t r = 0; r < row_count; ++r) out[r] = scales[r] * dot(Int8Row{rows + r * n}, v, n);
}

void add_scaled_i8(const int8_t* row, float scale, float* sum, size_t n) noexcept {
  const Int8Row source{row};
  const __m512 factor = _mm512_set1_ps(scale);
  size_t j = 0;
  for (; j + 16 <= n; j += 16) {
    const __m512 term = _mm512_mul_ps(factor, source.load(j));
    _mm512_storeu_ps(sum + j, _mm512_add_ps(_mm512_loadu_ps(sum + j), term));
  }
  if (j < n) {
    const __mmask16 mask = first_lanes(n - j);
    const __m512 term = _mm512_mul_ps(factor, source.load(j, mask));
    _mm512_mask_storeu_ps(sum + j, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, sum + j), term));
  }
}

// Columns that are summed together: their accumulators stay in registers while the rows pass.
template <size_t kVectors>
inline void sum_columns(const float* table, size_t width, const int32_t* rows, size_t row_count, double* sums,
                        __mmask8 last) noexcept {
  __m512d totals[kVectors];
  for (size_t q = 0; q < kVectors; ++q) totals[q] = _mm512_setzero_pd();
  for (size_t i = 0; i < row_count; ++i) {
    const float* row = table + static_cast<size_t>(rows[i]) * width;
    for (size_t q = 0; q < kVectors; ++q) {
      const __m256 values = q + 1 < kVectors ? _mm256_loadu_ps(row + 8 * q) : _mm256_maskz_loadu_ps(last, row + 8 * q);
      totals[q] = _mm512_add_pd(totals[q], _mm512_cvtps_pd(values));
    }
  }
  for (size_t q = 0; q < kVectors; ++q) {
    _mm512_mask_storeu_pd(sums + 8 * q, q + 1 < kVectors ? static_cast<__mmask8>(0xFF) : last, totals[q]);
  }
}

void sum_rows_f32(const float* table, size_t width, const int32_t* rows, size_t row_count, double* sums) noexcept {
  size_t j = 0;
  for (; j + 32 <= width; j += 32) sum_columns<4>(table + j, width, rows, row_count, sums + j, 0xFF);
  const size_t left = width - j;
  if (left == 0) return;
  const auto last = static_cast<__mmask8>(first_lanes((left - 1) % 8 + 1));
  if (left > 24) return sum_columns<4>(table + j, width, rows, row_count, sums + j, last);
  if (left > 16) return sum_columns<3>(table + j, width, rows, row_count, sums + j, last);
  if (left > 8) return sum_columns<2>(table + j, width, rows, row_count, sums + j, last);
  sum_columns<1>(table + j, width, rows, row_count, sums + j, last);
}

void add_clipped_f32(const float* x, size_t count, const float* mean, const float* scale, const float* weight,
                     const float* most, size_t n, float* sums) noexcept {
  for (size_t k = 0; k < n; k += 16) {
    const __m512 high = _mm512_loadu_ps(most + k);
    const __m512 low = _mm512_xor_ps(high, _mm512_set1_ps(-0.0F));
    __m512 sum = _mm512_loadu_ps(sums + k);
    for (size_t j = 0; j < count; ++j) {
      const size_t at = j * n + k;
      const __m512 off = _mm512_sub_ps(_mm512_set1_ps(x[j]), _mm512_loadu_ps(mean + at));
      const __m512 y = _mm512_mul_ps(off, _mm512_loadu_ps(scale + at));
      // The second operand comes back where one is NaN or both are zero: that is scalar.cpp's clip.
      const __m512 clipped = _mm512_min_ps(high, _mm512_max_ps(low, y));
      sum = _mm512_add_ps(sum, _mm512_mul_ps(_mm512_loadu_ps(weight + at), clipped));
    }
    _mm512_storeu_ps(sums + k, sum);
  }
}

void classify_text(const unsigned char* text, size_t n, uint64_t* masks) noexcept {
  const __mmask64 valid = n < 64 ? (uint64_t{1} << n) - 1 : ~uint64_t{0};
  const __m512i v = _mm512_maskz_loadu_epi8(valid, text);
  const auto all = [](unsigned byte) { return _mm512_set1_epi8(static_cast<char>(byte)); };
  const auto is = [&](unsigned byte) { return _mm512_mask_cmpeq_epi8_mask(valid, v, all(byte)); };
  const auto within = [&](__m512i bytes, unsigned first, unsigned count) {
    return _mm512_mask_cmplt_epu8_mask(valid, _mm512_sub_epi8(bytes, all(first)), all(count));
  };
  const __mmask64 letter = within(_mm512_or_si512(v, all(0x20)), 'a', 26);
  masks[kLetter] = letter;
  masks[kCapital] = _mm512_mask_testn_epi8_mask(letter, v, all(0x20));
  masks[kDigit] = within(v, '0', 10);
  masks[kSpace] = is(' ') | within(v, '\t', 5);
  masks[kNewline] = is('\n');
  masks[kLead] = within(v, 0xC0, 0x40);
  masks[kContinuation] = within(v, 0x80, 0x40);
  masks[kQuestionMark] = is('?');
  masks[kMathSymbol] = within(v, '(', 4) | is('-') | is('/') | within(v, '<', 3) | is('^');
  masks[kTexSymbol] = is('\\') | is('$') | is('_') | is('{') | is('}');
  masks[kSemicolon] = is(';');
  masks[kBacktick] = is('`');
  masks[kFullStop] = is('.');
  masks[kPercent] = is('%');
  masks[kQuotationMark] = is('"');
  masks[kByteE2] = is(0xE2);
}

// The steps are those of scalar.cpp.
inline __m256 sigmoid(__m256 x) noexcept {
  const __m512d wide = _mm512_cvtps_pd(x);
  const __m512d t = _mm512_min_pd(_mm512_set1_pd(kLargestExponent), _mm512_abs_pd(wide));  // keeps NaN
  const __m512d minus_t = _mm512_xor_pd(t, _mm512_set1_pd(-0.0));
  const __m512d shift = _mm512_set1_pd(kRoundingShift);
  const __m512d shifted = _mm512_add_pd(_mm512_mul_pd(minus_t, _mm512_set1_pd(kLog2E)), shift);
  const __m512d k = _mm512_sub_pd(shifted, shift);
  const __m512d r = _mm512_sub_pd(_mm512_sub_pd(minus_t, _mm512_mul_pd(k, _mm512_set1_pd(kLn2High))),
                                  _mm512_mul_pd(k, _mm512_set1_pd(kLn2Low)));
  __m512d p = _mm512_set1_pd(kExpTaylor[kDegree]);
  for (int i = kDegree - 1; i >= 0; --i) p = _mm512_add_pd(_mm512_mul_pd(p, r), _mm512_set1_pd(kExpTaylor[i]));
  const __m512i bits = _mm512_add_epi64(_mm512_castpd_si512(shifted), _mm512_set1_epi64(1023));
  const __m512d z = _mm512_mul_pd(p, _mm512_castsi512_pd(_mm512_slli_epi64(bits, 52)));
  const __m512d one = _mm512_set1_pd(1.0);
  const __mmask8 negative = _mm512_cmp_pd_mask(wide, _mm512_setzero_pd(), _CMP_LT_OQ);
  return _mm512_cvtpd_ps(_mm512_div_pd(_mm512_mask_blend_pd(negative, one, z), _mm512_add_pd(one, z)));
}

void sigmoid_f32(const float* x, float* out, size_t n) noexcept {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, sigmoid(_mm256_loadu_ps(x + i)));
  if (i < n) {
    const __mmask8 mask = static_cast<__mmask8>(first_lanes(n - i));
    _mm256_mask_storeu_ps(out + i, mask, sigmoid(_mm256_maskz_loadu_ps(mask, x + i)));
  }
}

// Without VNNI, as avx2.cpp has it.
template <size_t kQueries>
inline void dot_block(const uint8_t* block, size_t groups, const int8_t* queries, const int32_t* starts, int32_t* dots,
                      size_t stride) noexcept {
  __m512i sums[kQueries];
  for (size_t q = 0; q < kQueries; ++q) sums[q] = _mm512_set1_epi32(starts[q]);
  for (size_t g = 0; g < groups; ++g) {
    const __m512i rows = _mm512_loadu_si512(block + 64 * g);
    const __m512i even = _mm512_and_si512(rows, _mm512_set1_epi16(0xFF));
    const __m512i odd = _mm512_srli_epi16(rows, 8);
    for (size_t q = 0; q < kQueries; ++q) {
      int32_t group;
      __builtin_memcpy(&group, queries + (q * groups + g) * kGroup, sizeof group);
      const __m512i query = _mm512_set1_epi32(group);
      const __m512i query_even = _mm512_srai_epi16(_mm512_slli_epi16(query, 8), 8);
      const __m512i products =
          _mm512_add_epi32(_mm512_madd_epi16(even, query_even), _mm512_madd_epi16(odd, _mm512_srai_epi16(query, 8)));
      sums[q] = _mm512_add_epi32(sums[q], products);
    }
  }
  for (size_t q = 0; q < kQueries; ++q) _mm512_storeu_si512(dots + q * stride, sums[q]);
}

void dot_blocks_i8(const uint8_t* blocks, size_t block_count, size_t groups, const int8_t* queries,
                   const int32_t* starts, size_t query_count, int32_t* dots, size_t stride) noexcept {
  constexpr size_t kTogether = 8;
  for (size_t b = 0; b < block_count; ++b) {
    const uint8_t* block = blocks + b * groups * 64;
    int32_t* out = dots + b * kBlockRows;
    size_t q = 0;
    for (; q + kTogether <= query_count; q += kTogether) {
      dot_block<kTogether>(block, groups, queries + q * groups * kGroup, starts + q, out + q * stride, stride);
    }
    for (; q < query_count; ++q) {
      dot_block<1>(block, groups, queries + q * groups * kGroup, starts + q, out + q * stride, stride);
    }
  }
}

inline __m512 scaled(const int32_t* dots, const float* scales, __mmask16 mask) noexcept {
  const __m512 x = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(mask, dots));
  return _mm512_mul_ps(x, _mm512_maskz_loadu_ps(mask, scales));
}

float max_scaled_i32(const int32_t* dots, const float* scales, size_t n) noexcept {
  __m512 most = _mm512_set1_ps(-HUGE_VALF);
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 mask = first_lanes(n - i);
    most = _mm512_mask_max_ps(most, mask, scaled(dots + i, scales + i, mask), most);
  }
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(most), _mm512_extractf32x8_ps(most, 1));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1))) + 0.0F;
}

// The steps are those of scalar.cpp.
inline __m512 power_of_two(__m512 exponent) noexcept {
  const __m512 x = _mm512_max_ps(exponent, _mm512_set1_ps(kLeastExponent));
  const __m512 shift = _mm512_set1_ps(kExp2Shift);
  const __m512 shifted = _mm512_add_ps(x, shift);
  const __m512 f = _mm512_sub_ps(x, _mm512_sub_ps(shifted, shift));
  __m512 p = _mm512_set1_ps(kExp2Taylor[kExp2Degree]);
  for (int i = kExp2Degree - 1; i >= 0; --i) p = _mm512_add_ps(_mm512_mul_ps(p, f), _mm512_set1_ps(kExp2Taylor[i]));
  const __m512i whole = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), whole));
}

void similarity_weights(const int32_t* dots, const float* scales, float factor, float shift, size_t n,
                        float* out) noexcept {
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 mask = first_lanes(n - i);
    const __m512 product = _mm512_mul_ps(scaled(dots + i, scales + i, mask), _mm512_set1_ps(factor));
    _mm512_mask_storeu_ps(out + i, mask, power_of_two(_mm512_add_ps(product, _mm512_set1_ps(shift))));
  }
}

double sum_f32(const float* x, size_t n) noexcept {
  __m512d low = _mm512_setzero_pd();
  __m512d high = _mm512_setzero_pd();
  for (size_t i = 0; i < n; i += 16) {
    const __m512 sixteen = _mm512_maskz_loadu_ps(first_lanes(n - i), x + i);
    low = _mm512_add_pd(low, _mm512_cvtps_pd(_mm512_castps512_ps256(sixteen)));
    high = _mm512_add_pd(high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(sixteen, 1)));
  }
  const __m512d eight = _mm512_add_pd(low, high);
  const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

}  // namespace

const KernelTable kAvx512Table = {SimdLevel::kAvx512, dot_rows_f32,    dot_rows_i8,        add_scaled_i8,
                                  sum_rows_f32,       add_clipped_f32, classify_text,      sigmoid_f32,
                                  dot_blocks_i8,      max_scaled_i32,  similarity_weights, sum_f32};

const KernelTable kAvx512VnniTable = {SimdLevel::kAvx512, dot_rows_f32,    dot_rows_i8,        add_scaled_i8,
                                      sum_rows_f32,       add_clipped_f32, classify_text,      sigmoid_f32,
                                      dot_blocks_vnni,    max_scaled_i32,  similarity_weights, sum_f32};

}  // namespace fastroute::kernels
