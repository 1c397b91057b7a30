// AVX2. Includes no standard library header with inline functions: one compiled here with wide instructions could be
// the copy that the linker keeps for a processor without them.
#include <immintrin.h>

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

}  // namespace

const KernelTable kAvx2Table = {SimdLevel::kAvx2, dot_rows_f32, dot_rows_i8, add_scaled_i8, sigmoid_f32};

}  // namespace fastroute::kernels
