#include "tables.h"

namespace fastroute::kernels {
namespace {

#ifdef FASTROUTE_X86_KERNELS
bool has_vnni() noexcept {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512vnni");
}
#endif

}  // namespace

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
  if (level == SimdLevel::kAvx512) return has_vnni() ? kAvx512VnniTable : kAvx512Table;
  if (level == SimdLevel::kAvx2) return kAvx2Table;
#endif
  return kScalarTable;
}

const KernelTable* available_table(size_t index) noexcept {
#ifdef FASTROUTE_X86_KERNELS
  const KernelTable* tables[] = {&kScalarTable, &kAvx2Table, &kAvx512Table, &kAvx512VnniTable};
  const SimdLevel best = best_level();
  const size_t count = best == SimdLevel::kAvx512 ? (has_vnni() ? 4 : 3) : (best == SimdLevel::kAvx2 ? 2 : 1);
  return index < count ? tables[index] : nullptr;
#else
  return index == 0 ? &kScalarTable : nullptr;
#endif
}

}  // namespace fastroute::kernels
