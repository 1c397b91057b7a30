// The table that each instruction set's file defines.
#pragma once

#include "kernels.h"

namespace fastroute::kernels {

extern const KernelTable kScalarTable;
#ifdef FASTROUTE_X86_KERNELS
extern const KernelTable kAvx2Table;
extern const KernelTable kAvx512Table;
#endif

}  // namespace fastroute::kernels
