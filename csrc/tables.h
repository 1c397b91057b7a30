// The table that each instruction set's file defines.
#pragma once

#include "kernels.h"

namespace fastroute::kernels {

extern const KernelTable kScalarTable;
#ifdef FASTROUTE_X86_KERNELS
extern const KernelTable kAvx2Table;
extern const KernelTable kAvx512Table;
extern const KernelTable kAvx512VnniTable;

void dot_blocks_vnni(const uint8_t* blocks, size_t block_count, size_t groups, const int8_t* queries,
                     const int32_t* starts, size_t query_count, int32_t* dots, size_t stride) noexcept;
#endif

}  // namespace fastroute::kernels
