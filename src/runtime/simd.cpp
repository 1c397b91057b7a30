#include "runtime/simd.h"

#include <cstdlib>
#include <string>

#include "runtime/error.h"

namespace fastroute {
namespace {

constexpr kernels::SimdLevel kLevels[] = {kernels::SimdLevel::kScalar, kernels::SimdLevel::kAvx2,
                                          kernels::SimdLevel::kAvx512};

kernels::SimdLevel level_cap() {
  const char* requested = std::getenv("FASTROUTE_SIMD");
  if (requested == nullptr || *requested == '\0') return kernels::SimdLevel::kAvx512;
  for (const auto level : kLevels) {
    if (name_of(level) == requested) return level;
  }
  throw InvalidArgument("environment variable FASTROUTE_SIMD: found '" + std::string(requested) +
                        "', allowed: scalar, avx2, avx512");
}

}  // namespace

std::string_view name_of(kernels::SimdLevel level) noexcept {
  switch (level) {
    case kernels::SimdLevel::kAvx512:
      return "avx512";
    case kernels::SimdLevel::kAvx2:
      return "avx2";
    case kernels::SimdLevel::kScalar:
      break;
  }
  return "scalar";
}

const kernels::KernelTable& active_kernels() {
  static const kernels::KernelTable& table = kernels::table_for(level_cap());
  return table;
}

}  // namespace fastroute
