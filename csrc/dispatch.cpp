#include "tables.h"

namespace fastroute::kernels {

SimdLevel best_level() noexcept {
#ifdef FASTROUTE_X86_KERNELS
  // These ask the operating system too whether it saves the wide registers.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    return SimdLevel::kAvx512;
  }
  if (__builtin_cpu_supports("avx2")) return SimdLevel::kAvx2;
#endif
  return SimdLevel::kScalar;
}

const KernelTable& table_for(SimdLevel level) noexcept {
  if (level > best_level()) level = best_level();
#ifdef FASTROUTE_X86_KERNELS
  if (level == SimdLevel::kAvx512) return kAvx512Table;
  if (level == SimdLevel::kAvx2) return kAvx2Table;
#endif
  return kScalarTable;
}

}  // namespace fastroute::kernels
