// Which kernels this process uses.
#pragma once

#include <string_view>

#include "kernels.h"

namespace fastroute {

// The kernels in use: the best that the processor has, capped by FASTROUTE_SIMD (scalar, avx2 or avx512), which is
// read once. Throws InvalidArgument on the first call where that variable holds anything else.
const kernels::KernelTable& active_kernels();

std::string_view name_of(kernels::SimdLevel level) noexcept;

}  // namespace fastroute
