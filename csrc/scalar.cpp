// Plain C++: the definition that the other levels must equal bit for bit, and the path of other architectures.
#include <math.h>
#include <string.h>

#include "exp2_constants.h"
#include "sigmoid_constants.h"
#include "tables.h"

namespace fastroute::kernels {
namespace {

constexpr size_t kLanes = 32;

float sum_of_lanes(float* lanes) noexcept {
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t k = 0; k < half; ++k) lanes[k] += lanes[k + half];
  }
  return lanes[0];
}

template <class T>
float dot(const T* a, const float* b, size_t n) noexcept {
  float lanes[kLanes] = {};
  size_t j = 0;
  for (; j + kLanes <= n; j += kLanes) {
    for (size_t k = 0; k < kLanes; ++k) lanes[k] += static_cast<float>(a[j + k]) * b[j + k];
  }
  // The wide levels add masked-out zeros here; adding them too keeps even the sign of a zero alike.
  if (j < n) {
    for (size_t k = 0; k < kLanes; ++k) {
      lanes[k] += k < n - j ? static_cast<float>(a[j + k]) * b[j + k] : 0.0F;
    }
  }
  return sum_of_lanes(lanes);
}

void dot_rows_f32(const float* rows, size_t row_count, const float* v, size_t n, float* out) noexcept {
  for (size_t r = 0; r < row_count; ++r) out[r] = dot(rows + r * n, v, n);
}

void dot_rows_i8(const int8_t* rows, const float* scales, size_t row_count, const float* v, size_t n,
                 float* out) noexcept {
  for (size_t r = 0; r < row_count; ++r) out[r] = scales[r] * dot(rows + r * n, v, n);
}

void add_scaled_i8(const int8_t* row, float scale, float* sum, size_t n) noexcept {
  for (size_t j = 0; j < n; ++j) sum[j] += scale * static_cast<float>(row[j]);
}

void sum_rows_f32(const float* table, size_t width, const int32_t* rows, size_t row_count, double* sums) noexcept {
  for (size_t j = 0; j < width; ++j) sums[j] = 0;
  for (size_t i = 0; i < row_count; ++i) {
    const float* row = table + static_cast<size_t>(rows[i]) * width;
    for (size_t j = 0; j < width; ++j) sums[j] += static_cast<double>(row[j]);
  }
}

void add_clipped_f32(const float* x, size_t count, const float* mean, const float* scale, const float* weight,
                     const float* most, size_t n, float* sums) noexcept {
  for (size_t j = 0; j < count; ++j) {
    for (size_t k = 0; k < n; ++k) {
      const float y = (x[j] - mean[j * n + k]) * scale[j * n + k];
      const float above = y < -most[k] ? -most[k] : y;
      sums[k] += weight[j * n + k] * (above > most[k] ? most[k] : above);
    }
  }
}

constexpr uint16_t flag(TextClass c) noexcept { return static_cast<uint16_t>(1U << c); }

struct ByteFlags {
  uint16_t of[256];
};

constexpr ByteFlags byte_flags() noexcept {
  ByteFlags flags = {};
  const auto set = [&flags](const char* bytes, TextClass c) {
    for (; *bytes != 0; ++bytes) {
      uint16_t& of = flags.of[static_cast<unsigned char>(*bytes)];
      of = static_cast<uint16_t>(of | flag(c));
    }
  };
  for (unsigned b = 0; b < 256; ++b) {
    const bool capital = b >= 'A' && b <= 'Z';
    if (capital || (b >= 'a' && b <= 'z')) flags.of[b] = flag(kLetter);
    if (capital) flags.of[b] = static_cast<uint16_t>(flag(kLetter) | flag(kCapital));
    if (b >= 0x80) flags.of[b] = flag(b < 0xC0 ? kContinuation : kLead);
  }
  set("0123456789", kDigit);
  set(" \t\n\v\f\r", kSpace);
  set("\n", kNewline);
  set("?", kQuestionMark);
  set("=+-*/^<>()", kMathSymbol);
  set("\\$_{}", kTexSymbol);
  set(";", kSemicolon);
  set("`", kBacktick);
  set(".", kFullStop);
  set("%", kPercent);
  set("\"", kQuotationMark);
  set("\xE2", kByteE2);
  return flags;
}

constexpr ByteFlags kByteFlags = byte_flags();

void classify_text(const unsigned char* text, size_t n, uint64_t* masks) noexcept {
  for (size_t c = 0; c < kTextClasses; ++c) masks[c] = 0;
  for (size_t i = 0; i < n; ++i) {
    for (unsigned flags = kByteFlags.of[text[i]]; flags != 0; flags &= flags - 1) {
      masks[__builtin_ctz(flags)] |= uint64_t{1} << i;
    }
  }
}

float sigmoid(float x) noexcept {
  double t = fabs(static_cast<double>(x));
  t = kLargestExponent < t ? kLargestExponent : t;  // keeps NaN
  const double shifted = -t * kLog2E + kRoundingShift;
  const double k = shifted - kRoundingShift;
  const double r = (-t - k * kLn2High) - k * kLn2Low;
  double p = kExpTaylor[kDegree];
  for (int i = kDegree - 1; i >= 0; --i) p = p * r + kExpTaylor[i];
  uint64_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 1023) << 52;
  double scale;
  memcpy(&scale, &bits, sizeof scale);
  const double z = p * scale;
  return static_cast<float>((x < 0 ? z : 1.0) / (1.0 + z));
}

void sigmoid_f32(const float* x, float* out, size_t n) noexcept {
  for (size_t i = 0; i < n; ++i) out[i] = sigmoid(x[i]);
}

// Sums wrap around on their way and end where they belong, hence unsigned.
void dot_blocks_i8(const uint8_t* blocks, size_t block_count, size_t groups, const int8_t* queries,
                   const int32_t* starts, size_t query_count, int32_t* dots, size_t stride) noexcept {
  constexpr size_t kGroupBytes = kBlockRows * kGroup;
  for (size_t b = 0; b < block_count; ++b) {
    const uint8_t* block = blocks + b * groups * kGroupBytes;
    for (size_t q = 0; q < query_count; ++q) {
      const int8_t* query = queries + q * groups * kGroup;
      uint32_t sums[kBlockRows];
      for (uint32_t& sum : sums) sum = static_cast<uint32_t>(starts[q]);
      for (size_t g = 0; g < groups; ++g) {
        for (size_t r = 0; r < kBlockRows; ++r) {
          int32_t sum = 0;
          for (size_t k = 0; k < kGroup; ++k) {
            sum += static_cast<int32_t>(block[g * kGroupBytes + r * kGroup + k]) * query[g * kGroup + k];
          }
          sums[r] += static_cast<uint32_t>(sum);
        }
      }
      memcpy(dots + q * stride + b * kBlockRows, sums, sizeof sums);
    }
  }
}

float max_scaled_i32(const int32_t* dots, const float* scales, size_t n) noexcept {
  float most = -HUGE_VALF;
  for (size_t i = 0; i < n; ++i) {
    const float x = static_cast<float>(dots[i]) * scales[i];
    most = x > most ? x : most;
  }
  return most + 0.0F;  // no negative zero
}

float power_of_two(float exponent) noexcept {
  const float x = exponent > kLeastExponent ? exponent : kLeastExponent;
  const float shifted = x + kExp2Shift;
  const float f = x - (shifted - kExp2Shift);
  float p = kExp2Taylor[kExp2Degree];
  for (int i = kExp2Degree - 1; i >= 0; --i) p = p * f + kExp2Taylor[i];
  uint32_t bits;
  uint32_t whole;
  memcpy(&bits, &p, sizeof bits);
  memcpy(&whole, &shifted, sizeof whole);
  bits += whole << 23;
  memcpy(&p, &bits, sizeof p);
  return p;
}

void similarity_weights(const int32_t* dots, const float* scales, float factor, float shift, size_t n,
                        float* out) noexcept {
  for (size_t i = 0; i < n; ++i) out[i] = power_of_two(static_cast<float>(dots[i]) * scales[i] * factor + shift);
}

double sum_f32(const float* x, size_t n) noexcept {
  constexpr size_t kSums = 16;
  double lanes[kSums] = {};
  size_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (size_t k = 0; k < kSums; ++k) lanes[k] += static_cast<double>(x[i + k]);
  }
  for (size_t k = 0; i + k < n; ++k) lanes[k] += static_cast<double>(x[i + k]);
  for (size_t half = kSums / 2; half > 0; half /= 2) {
    for (size_t k = 0; k < half; ++k) lanes[k] += lanes[k + half];
  }
  return lanes[0];
}

}  // namespace

const KernelTable kScalarTable = {SimdLevel::kScalar, dot_rows_f32,    dot_rows_i8,        add_scaled_i8,
                                  sum_rows_f32,       add_clipped_f32, classify_text,      sigmoid_f32,
                                  dot_blocks_i8,      max_scaled_i32,  similarity_weights, sum_f32};

}  // namespace fastroute::kernels
