// The tables of kernels that this processor can use, the scalar one first.
#pragma once

#include <vector>

#include "kernels.h"

namespace fastroute::tests {

inline std::vector<const kernels::KernelTable*> available_levels() {
  std::vector<const kernels::KernelTable*> tables;
  while (const auto* table = kernels::available_table(tables.size())) tables.push_back(table);
  return tables;
}

}  // namespace fastroute::tests
