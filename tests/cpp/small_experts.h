// Domain experts with random weights over the small vocabulary.
#pragma once

#include <cmath>

#include "kernel_data.h"
#include "routing/domain_experts.h"

namespace fastroute::tests {

inline DomainExpertsParameters random_experts(size_t domains, size_t gold, size_t dim, uint64_t seed) {
  constexpr size_t kF = text::kSurfaceFeatures;
  const size_t experts = domains + gold;
  Random random(seed);
  const auto some = [&](size_t count) { return numbers(Kind::kOrdinary, count, random); };
  const auto positive = [&](size_t count) {
    auto values = some(count);
    for (float& x : values) x = std::abs(x);
    return values;
  };
  DomainExpertsParameters p;
  p.domains = domains;
  p.dim = dim;
  p.surface_mean = some(kF);
  p.surface_scale = positive(kF);
  p.classifier_bias = some(domains);
  p.classifier_surface = some(domains * kF);
  p.classifier_embedding = some(domains * dim);
  p.expert_bias = some(experts);
  p.expert_mean = some(experts * kF);
  p.expert_scale = positive(experts * kF);
  p.expert_surface = some(experts * kF);
  p.expert_embedding = some(experts * dim);
  p.gate_bias = some(gold);
  p.gate_surface = some(gold * kF);
  p.gate_embedding = some(gold * dim);
  p.density_scale = positive(gold * kF);
  for (size_t i = 0; i < gold; ++i) {
    p.gate_ramp.insert(p.gate_ramp.end(), {-1.0F, 1.0F});
    p.density_ramp.insert(p.density_ramp.end(), {2000.0F, 100.0F});
  }
  return p;
}

}  // namespace fastroute::tests
