// AVX-512 VNNI: four products of unsigned rows and signed queries, and their sum, in one instruction.
#include <immintrin.h>

#include "tables.h"

namespace fastroute::kernels {
namespace {

constexpr size_t kGroupBytes = kBlockRows * kGroup;
constexpr size_t kBlocksTogether = 3;
constexpr size_t kQueriesTogether = 8;

// GCC 12 spills the sums where this is written with the intrinsic.
inline void add_products(__m512i& sum, __m512i rows, __m512i query) noexcept {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(rows), "v"(query));
}

// 24 sums, 3 registers of rows and one of the query: all that AVX-512 has room for.
template <size_t kBlocks, size_t kQueries, bool kPrefetch>
inline void dot_tile(const uint8_t* blocks, size_t groups, const int8_t* queries, const int32_t* starts, int32_t* dots,
                     size_t stride) noexcept {
  const size_t block_bytes = groups * kGroupBytes;
  const size_t query_bytes = groups * kGroup;
  __m512i sums[kBlocks][kQueries];
#pragma GCC unroll 8
  for (size_t q = 0; q < kQueries; ++q) {
#pragma GCC unroll 4
    for (size_t b = 0; b < kBlocks; ++b) sums[b][q] = _mm512_set1_epi32(starts[q]);
  }
  for (size_t g = 0; g < groups; ++g) {
    const uint8_t* at = blocks + g * kGroupBytes;
    __m512i rows[kBlocks];
#pragma GCC unroll 4
    for (size_t b = 0; b < kBlocks; ++b) {
      rows[b] = _mm512_loadu_si512(at + b * block_bytes);
      // The next tile's rows. A prefetch never faults.
      if (kPrefetch) _mm_prefetch(reinterpret_cast<const char*>(at) + (b + kBlocks) * block_bytes, _MM_HINT_T0);
    }
#pragma GCC unroll 8
    for (size_t q = 0; q < kQueries; ++q) {
      int32_t group;
      __builtin_memcpy(&group, queries + q * query_bytes + g * kGroup, sizeof group);
      const __m512i query = _mm512_set1_epi32(group);
#pragma GCC unroll 4
      for (size_t b = 0; b < kBlocks; ++b) add_products(sums[b][q], rows[b], query);
    }
  }
#pragma GCC unroll 8
  for (size_t q = 0; q < kQueries; ++q) {
#pragma GCC unroll 4
    for (size_t b = 0; b < kBlocks; ++b) _mm512_storeu_si512(dots + q * stride + b * kBlockRows, sums[b][q]);
  }
}

template <size_t kBlocks>
inline void dot_tiles(const uint8_t* blocks, size_t groups, const int8_t* queries, const int32_t* starts,
                      size_t query_count, int32_t* dots, size_t stride) noexcept {
  const auto rest = [&](size_t q) { return queries + q * groups * kGroup; };
  size_t q = 0;
  if (query_count >= kQueriesTogether) {
    dot_tile<kBlocks, kQueriesTogether, true>(blocks, groups, queries, starts, dots, stride);
    q = kQueriesTogether;
  }
  for (; q + kQueriesTogether <= query_count; q += kQueriesTogether) {
    dot_tile<kBlocks, kQueriesTogether, false>(blocks, groups, rest(q), starts + q, dots + q * stride, stride);
  }
  for (; q + 2 <= query_count; q += 2) {
    dot_tile<kBlocks, 2, true>(blocks, groups, rest(q), starts + q, dots + q * stride, stride);
  }
  if (q < query_count) dot_tile<kBlocks, 1, true>(blocks, groups, rest(q), starts + q, dots + q * stride, stride);
}

}  // namespace

void dot_blocks_vnni(const uint8_t* blocks, size_t block_count, size_t groups, const int8_t* queries,
                     const int32_t* starts, size_t query_count, int32_t* dots, size_t stride) noexcept {
  size_t b = 0;
  for (; b + kBlocksTogether <= block_count; b += kBlocksTogether) {
    dot_tiles<kBlocksTogether>(blocks + b * groups * kGroupBytes, groups, queries, starts, query_count,
                               dots + b * kBlockRows, stride);
  }
  for (; b < block_count; ++b) {
    dot_tiles<1>(blocks + b * groups * kGroupBytes, groups, queries, starts, query_count, dots + b * kBlockRows,
                 stride);
  }
}

}  // namespace fastroute::kernels
