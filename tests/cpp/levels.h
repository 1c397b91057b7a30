// The SIMD levels that this processor has, the scalar one first.
#pragma once

#include <vector>

#include "kernels.h"

namespace fastroute::tests {

inline std::vector<const kernels::KernelTable*> available_levels() {
  std::vector<const kernels::KernelTable*> tables;
  for (const auto level : {kernels::SimdLevel::kScalar, kernels::SimdLevel::kAvx2, kernels::SimdLevel::kAvx512}) {
    const auto& table = kernels::table_for(level);
    if (table.level == level) tables.push_back(&table);
  }
  return tables;
}

}  // namespace fastroute::tests
