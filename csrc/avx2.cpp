// AVX2. Includes no standard library header with inline functions: one compiled here with wide instructions could be
// the copy that the linker keeps for a processor without them.
#include <immintrin.h>
#include <math.h>

#include "exp2_constants.h"
#include "sigmoid_constants.h"
#include "tables.h"

namespace fastroute::kernels {
namespace {

constexpr size_t kLanes = 32;
constexpr size_t kPrefetchBytes = 8192;

// Mask for the first `count` of 8 lanes.
inline __m256i first_lanes(size_t count) noexcept {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), index);
}

inline size_t clipped(size_t count) noexcept { return count < 8 ? count : 8; }

// Elements j .. j + 8 of a source as floats; the `count` form reads no further than `count` of them.
struct FloatRow {
  const float* p;
  // As in avx512.cpp.
  void prefetch(size_t j) const noexcept {
    _mm_prefetch(reinterpret_cast<const char*>(p + j) + kPrefetchBytes, _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(p + j) + kPrefetchBytes + 64, _MM_HINT_T0);
  }
  __m256 load(size_t j) const noexcept { return _mm256_loadu_ps(p + j); }
  __m256 load(size_t j, size_t count) const noexcept { return _mm256_maskload_ps(p + j, first_lanes(count)); }
};

struct Int8Row {
  const int8_t* p;
  void prefetch(size_t) const noexcept {}
  static __m256 widen(__m128i bytes) noexcept { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)); }
  __m256 load(size_t j) const noexcept { return widen(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + j))); }
  __m256 load(size_t j, size_t count) const noexcept {
    alignas(16) int8_t bytes[16] = {};
    for (size_t k = 0; k < count; ++k) bytes[k] = p[j + k];
    return widen(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes)));
  }
};

inline float sum_of_lanes(__m256 a0, __m256 a1, __m256 a2, __m256 a3) noexcept {
  const __m256 eight = _mm256_add_ps(_mm256_add_ps(a0, a2), _mm256_add_ps(a1, a3));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

template <class Row>
inline float dot(Row a, const float* b, size_t n) noexcept {
  const FloatRow v{b};
  __m256 lanes[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
  size_t j = 0;
  for (; j + kLanes <= n; j += kLanes) {
    a.prefetch(j);
    for (size_t q = 0; q < 4; ++q) {
      lanes[q] = _mm256_add_ps(lanes[q], _mm256_mul_ps(a.load(j + 8 * q), v.load(j + 8 * q)));
    }
  }
  if (j < n) {
    for (size_t q = 0; q < 4; ++q) {
      const size_t at = j + 8 * q;
      const size_t count = at < n ? clipped(n - at) : 0;
      const __m256 product = count > 0 ? _mm256_mul_ps(a.load(at, count), v.load(at, count)) : _mm256_setzero_ps();
      lanes[q] = _mm256_add_ps(lanes[q], product);
    }
  }
  return sum_of_lanes(lanes[0], lanes[1], lanes[2], lanes[3]);
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
  const __m256 factor = _mm256_set1_ps(scale);
  size_t j = 0;
  for (; j + 8 <= n; j += 8) {
    const __m256 term = _mm256_mul_ps(factor, source.load(j));
    _mm256_storeu_ps(sum + j, _mm256_add_ps(_mm256_loadu_ps(sum + j), term));
  }
  for (; j < n; ++j) sum[j] += scale * static_cast<float>(row[j]);
}

void sum_rows_f32(const float* table, size_t width, const int32_t* rows, size_t row_count, double* sums) noexcept {
  size_t j = 0;
  for (; j + 8 <= width; j += 8) {
    __m256d low = _mm256_setzero_pd();
    __m256d high = _mm256_setzero_pd();
    for (size_t i = 0; i < row_count; ++i) {
      const float* row = table + static_cast<size_t>(rows[i]) * width + j;
      low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm_loadu_ps(row)));
      high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm_loadu_ps(row + 4)));
    }
    _mm256_storeu_pd(sums + j, low);
    _mm256_storeu_pd(sums + j + 4, high);
  }
  for (; j < width; ++j) {
    double sum = 0;
    for (size_t i = 0; i < row_count; ++i) {
      sum += static_cast<double>(table[static_cast<size_t>(rows[i]) * width + j]);
    }
    sums[j] = sum;
  }
}

void add_clipped_f32(const float* x, size_t count, const float* mean, const float* scale, const float* weight,
                     const float* most, size_t n, float* sums) noexcept {
  for (size_t k = 0; k < n; k += 8) {
    const __m256 high = _mm256_loadu_ps(most + k);
    const __m256 low = _mm256_xor_ps(high, _mm256_set1_ps(-0.0F));
    __m256 sum = _mm256_loadu_ps(sums + k);
    for (size_t j = 0; j < count; ++j) {
      const size_t at = j * n + k;
      const __m256 off = _mm256_sub_ps(_mm256_set1_ps(x[j]), _mm256_loadu_ps(mean + at));
      const __m256 y = _mm256_mul_ps(off, _mm256_loadu_ps(scale + at));
      // The second operand comes back where one is NaN or both are zero: that is scalar.cpp's clip.
      const __m256 clipped = _mm256_min_ps(high, _mm256_max_ps(low, y));
      sum = _mm256_add_ps(sum, _mm256_mul_ps(_mm256_loadu_ps(weight + at), clipped));
    }
    _mm256_storeu_ps(sums + k, sum);
  }
}

// A block of text in two registers.
struct TextBlock {
  __m256i low;
  __m256i high;

  template <class Test>
  uint64_t where(const Test& test) const noexcept {
    const auto bits = [](__m256i hits) {
      return static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(hits)));
    };
    return bits(test(low)) | bits(test(high)) << 32;
  }
  uint64_t is(unsigned byte) const noexcept {
    const __m256i wanted = _mm256_set1_epi8(static_cast<char>(byte));
    return where([&](__m256i v) { return _mm256_cmpeq_epi8(v, wanted); });
  }
  // Bytes from `first` on, `count` of them, once `bits` are set.
  uint64_t within(unsigned first, unsigned count, unsigned bits = 0) const noexcept {
    const __m256i set = _mm256_set1_epi8(static_cast<char>(bits));
    const __m256i from = _mm256_set1_epi8(static_cast<char>(first));
    const __m256i last = _mm256_set1_epi8(static_cast<char>(count - 1));
    return where([&](__m256i v) {
      const __m256i off = _mm256_sub_epi8(_mm256_or_si256(v, set), from);
      return _mm256_cmpeq_epi8(_mm256_min_epu8(off, last), off);
    });
  }
};

void classify_text(const unsigned char* text, size_t n, uint64_t* masks) noexcept {
  alignas(32) unsigned char copy[64] = {};  // NUL is of no class
  if (n < 64) {
    for (size_t i = 0; i < n; ++i) copy[i] = text[i];
    text = copy;
  }
  const TextBlock block = {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(text)),
                           _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + 32))};
  masks[kLetter] = block.within('a', 26, 0x20);
  masks[kCapital] = block.within('A', 26);
  masks[kDigit] = block.within('0', 10);
  masks[kSpace] = block.is(' ') | block.within('\t', 5);
  masks[kNewline] = block.is('\n');
  masks[kLead] = block.within(0xC0, 0x40);
  masks[kContinuation] = block.within(0x80, 0x40);
  masks[kQuestionMark] = block.is('?');
  masks[kMathSymbol] = block.within('(', 4) | block.is('-') | block.is('/') | block.within('<', 3) | block.is('^');
  masks[kTexSymbol] = block.is('\\') | block.is('$') | block.is('_') | block.is('{') | block.is('}');
  masks[kSemicolon] = block.is(';');
  masks[kBacktick] = block.is('`');
  masks[kFullStop] = block.is('.');
  masks[kPercent] = block.is('%');
  masks[kQuotationMark] = block.is('"');
  masks[kByteE2] = block.is(0xE2);
}

// The steps are those of scalar.cpp.
inline __m128 sigmoid(__m128 x) noexcept {
  const __m256d wide = _mm256_cvtps_pd(x);
  const __m256d sign = _mm256_set1_pd(-0.0);
  __m256d t = _mm256_andnot_pd(sign, wide);
  t = _mm256_min_pd(_mm256_set1_pd(kLargestExponent), t);  // keeps NaN, being the second operand
  const __m256d minus_t = _mm256_xor_pd(t, sign);
  const __m256d shift = _mm256_set1_pd(kRoundingShift);
  const __m256d shifted = _mm256_add_pd(_mm256_mul_pd(minus_t, _mm256_set1_pd(kLog2E)), shift);
  const __m256d k = _mm256_sub_pd(shifted, shift);
  const __m256d r = _mm256_sub_pd(_mm256_sub_pd(minus_t, _mm256_mul_pd(k, _mm256_set1_pd(kLn2High))),
                                  _mm256_mul_pd(k, _mm256_set1_pd(kLn2Low)));
  __m256d p = _mm256_set1_pd(kExpTaylor[kDegree]);
  for (int i = kDegree - 1; i >= 0; --i) p = _mm256_add_pd(_mm256_mul_pd(p, r), _mm256_set1_pd(kExpTaylor[i]));
  const __m256i bits = _mm256_add_epi64(_mm256_castpd_si256(shifted), _mm256_set1_epi64x(1023));
  const __m256d z = _mm256_mul_pd(p, _mm256_castsi256_pd(_mm256_slli_epi64(bits, 52)));
  const __m256d one = _mm256_set1_pd(1.0);
  const __m256d negative = _mm256_cmp_pd(wide, _mm256_setzero_pd(), _CMP_LT_OQ);
  return _mm256_cvtpd_ps(_mm256_div_pd(_mm256_blendv_pd(one, z, negative), _mm256_add_pd(one, z)));
}

void sigmoid_f32(const float* x, float* out, size_t n) noexcept {
  size_t i = 0;
  for (; i + 4 <= n; i += 4) _mm_storeu_ps(out + i, sigmoid(_mm_loadu_ps(x + i)));
  if (i < n) {
    const __m128i mask = _mm256_castsi256_si128(first_lanes(n - i));
    _mm_maskstore_ps(out + i, mask, sigmoid(_mm_maskload_ps(x + i, mask)));
  }
}

// Even and odd elements of a group in 16 bits: products of unsigned rows and signed queries then add up in 32 bits,
// where vpmaddubsw would saturate.
struct Halves {
  __m256i even;
  __m256i odd;
};

inline Halves halves_of_rows(const uint8_t* p) noexcept {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm256_and_si256(bytes, _mm256_set1_epi16(0xFF)), _mm256_srli_epi16(bytes, 8)};
}

inline Halves halves_of_query(const int8_t* p) noexcept {
  int32_t group;
  __builtin_memcpy(&group, p, sizeof group);
  const __m256i bytes = _mm256_set1_epi32(group);
  return {_mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8), _mm256_srai_epi16(bytes, 8)};
}

inline __m256i add_products(__m256i sum, Halves rows, Halves query) noexcept {
  const __m256i products = _mm256_add_epi32(_mm256_madd_epi16(rows.even, query.even),  //
                                            _mm256_madd_epi16(rows.odd, query.odd));
  return _mm256_add_epi32(sum, products);
}

template <size_t kQueries>
inline void dot_block(const uint8_t* block, size_t groups, const int8_t* queries, const int32_t* starts, int32_t* dots,
                      size_t stride) noexcept {
  __m256i low[kQueries];
  __m256i high[kQueries];
  for (size_t q = 0; q < kQueries; ++q) low[q] = high[q] = _mm256_set1_epi32(starts[q]);
  for (size_t g = 0; g < groups; ++g) {
    const Halves first = halves_of_rows(block + 64 * g);
    const Halves last = halves_of_rows(block + 64 * g + 32);
    for (size_t q = 0; q < kQueries; ++q) {
      const Halves query = halves_of_query(queries + (q * groups + g) * kGroup);
      low[q] = add_products(low[q], first, query);
      high[q] = add_products(high[q], last, query);
    }
  }
  for (size_t q = 0; q < kQueries; ++q) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dots + q * stride), low[q]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dots + q * stride + 8), high[q]);
  }
}

void dot_blocks_i8(const uint8_t* blocks, size_t block_count, size_t groups, const int8_t* queries,
                   const int32_t* starts, size_t query_count, int32_t* dots, size_t stride) noexcept {
  constexpr size_t kTogether = 4;
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

inline __m256 scaled(const int32_t* dots, const float* scales) noexcept {
  const __m256 x = _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(dots)));
  return _mm256_mul_ps(x, _mm256_loadu_ps(scales));
}

// Copies of the last elements, and zeros.
struct Tail {
  int32_t dots[8] = {};
  float scales[8] = {};
  Tail(const int32_t* from, const float* scale, size_t count) noexcept {
    for (size_t k = 0; k < count; ++k) {
      dots[k] = from[k];
      scales[k] = scale[k];
    }
  }
};

float max_scaled_i32(const int32_t* dots, const float* scales, size_t n) noexcept {
  __m256 most = _mm256_set1_ps(-HUGE_VALF);
  size_t i = 0;
  for (; i + 8 <= n; i += 8) most = _mm256_max_ps(scaled(dots + i, scales + i), most);
  if (i < n) {
    const Tail tail(dots + i, scales + i, n - i);
    const __m256 last = _mm256_blendv_ps(most, scaled(tail.dots, tail.scales), _mm256_castsi256_ps(first_lanes(n - i)));
    most = _mm256_max_ps(last, most);
  }
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1))) + 0.0F;
}

// The steps are those of scalar.cpp.
inline __m256 power_of_two(__m256 exponent) noexcept {
  const __m256 x = _mm256_max_ps(exponent, _mm256_set1_ps(kLeastExponent));
  const __m256 shift = _mm256_set1_ps(kExp2Shift);
  const __m256 shifted = _mm256_add_ps(x, shift);
  const __m256 f = _mm256_sub_ps(x, _mm256_sub_ps(shifted, shift));
  __m256 p = _mm256_set1_ps(kExp2Taylor[kExp2Degree]);
  for (int i = kExp2Degree - 1; i >= 0; --i) p = _mm256_add_ps(_mm256_mul_ps(p, f), _mm256_set1_ps(kExp2Taylor[i]));
  const __m256i whole = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), whole));
}

void similarity_weights(const int32_t* dots, const float* scales, float factor, float shift, size_t n,
                        float* out) noexcept {
  const auto weights = [&](const int32_t* d, const float* s) {
    return power_of_two(_mm256_add_ps(_mm256_mul_ps(scaled(d, s), _mm256_set1_ps(factor)), _mm256_set1_ps(shift)));
  };
  size_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, weights(dots + i, scales + i));
  if (i < n) {
    const Tail tail(dots + i, scales + i, n - i);
    _mm256_maskstore_ps(out + i, first_lanes(n - i), weights(tail.dots, tail.scales));
  }
}

double sum_f32(const float* x, size_t n) noexcept {
  __m256d lanes[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
  const auto add = [&lanes](__m256 low, __m256 high) {
    lanes[0] = _mm256_add_pd(lanes[0], _mm256_cvtps_pd(_mm256_castps256_ps128(low)));
    lanes[1] = _mm256_add_pd(lanes[1], _mm256_cvtps_pd(_mm256_extractf128_ps(low, 1)));
    lanes[2] = _mm256_add_pd(lanes[2], _mm256_cvtps_pd(_mm256_castps256_ps128(high)));
    lanes[3] = _mm256_add_pd(lanes[3], _mm256_cvtps_pd(_mm256_extractf128_ps(high, 1)));
  };
  size_t i = 0;
  for (; i + 16 <= n; i += 16) add(_mm256_loadu_ps(x + i), _mm256_loadu_ps(x + i + 8));
  if (i < n) {
    const FloatRow row{x};
    add(row.load(i, clipped(n - i)), n - i > 8 ? row.load(i + 8, n - i - 8) : _mm256_setzero_ps());
  }
  const __m256d four = _mm256_add_pd(_mm256_add_pd(lanes[0], lanes[2]), _mm256_add_pd(lanes[1], lanes[3]));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

}  // namespace

const KernelTable kAvx2Table = {SimdLevel::kAvx2, dot_rows_f32,    dot_rows_i8,        add_scaled_i8,
                                sum_rows_f32,     add_clipped_f32, classify_text,      sigmoid_f32,
                                dot_blocks_i8,    max_scaled_i32,  similarity_weights, sum_f32};

}  // namespace fastroute::kernels
