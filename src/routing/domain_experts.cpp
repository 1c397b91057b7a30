#include "routing/domain_experts.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "runtime/error.h"
#include "runtime/simd.h"
#include "runtime/thread_pool.h"

namespace fastroute {
namespace {

constexpr size_t F = text::kSurfaceFeatures;
constexpr size_t kPromptsPerTask = 32;
constexpr size_t kLaneBlock = 16;  // what add_clipped_f32 asks for
constexpr float kDensityCap = 100;
constexpr double kLinearGain = 0.9;
constexpr float kLargestSum = 1e30F;

// 0 at ends[0], 1 at ends[1], a straight line between them.
double ramp(double x, const float* ends) noexcept {
  const auto from = static_cast<double>(ends[0]);
  return std::clamp((x - from) / (static_cast<double>(ends[1]) - from), 0.0, 1.0);
}

void require(const char* name, const std::vector<float>& values, size_t size) {
  if (values.size() != size) {
    throw InvalidArgument(std::string(name) + ": found " + std::to_string(values.size()) +
                          " values, allowed: " + std::to_string(size));
  }
  if (!std::ranges::all_of(values, [](float x) { return std::isfinite(x); })) {
    throw InvalidArgument(std::string(name) + ": found NaN or Inf, allowed: finite numbers");
  }
}

}  // namespace

// Weights and gains of one text's experts, in the workspace's lanes.
struct DomainExperts::Mixed {
  std::span<const float> weights;
  std::span<const float> gains;

  double gain() const noexcept {
    double sum = 0;
    for (size_t k = 0; k < gains.size(); ++k) sum += static_cast<double>(weights[k]) * static_cast<double>(gains[k]);
    return sum;
  }
};

DomainExperts::DomainExperts(std::shared_ptr<const StaticEncoder> encoder, DomainExpertsParameters p)
    : domains_(p.domains),
      experts_(p.expert_bias.size()),
      dim_(p.dim),
      columns_(2 * experts_),
      lanes_((columns_ + kLaneBlock - 1) / kLaneBlock * kLaneBlock) {
  check(p);
  if (encoder && encoder->dim() != dim_) {
    throw InvalidArgument("encoder: found " + std::to_string(encoder->dim()) +
                          " dimensions, allowed: " + std::to_string(dim_));
  }
  bias_.resize(lanes_);
  most_.assign(lanes_, kSurfaceClip);
  mean_.resize(F * lanes_);
  scale_.assign(F * lanes_, 1.0F);
  weight_.resize(F * lanes_);
  add_columns(0, p.classifier_bias, p.classifier_surface, p.classifier_embedding);
  add_columns(domains_, p.expert_bias, p.expert_surface, p.expert_embedding);
  add_columns(domains_ + experts_, p.gate_bias, p.gate_surface, p.gate_embedding);
  for (size_t k = 0; k < experts_; ++k) {
    most_[domains_ + k] = kExpertClip;
    for (size_t j = 0; j < F; ++j) {
      mean_[j * lanes_ + domains_ + k] = p.expert_mean[k * F + j];
      scale_[j * lanes_ + domains_ + k] = p.expert_scale[k * F + j];
    }
  }
  if (encoder) projection_.emplace(std::move(encoder), vectors_, columns_);
  density_mean_.assign(p.expert_mean.begin() + static_cast<std::ptrdiff_t>(domains_ * F), p.expert_mean.end());
  surface_mean_ = std::move(p.surface_mean);
  surface_scale_ = std::move(p.surface_scale);
  gate_ramp_ = std::move(p.gate_ramp);
  density_scale_ = std::move(p.density_scale);
  density_ramp_ = std::move(p.density_ramp);
}

void DomainExperts::add_columns(size_t first, const std::vector<float>& bias, const std::vector<float>& surface,
                                const std::vector<float>& embedding) {
  vectors_.insert(vectors_.end(), embedding.begin(), embedding.end());
  for (size_t k = 0; k < bias.size(); ++k) {
    bias_[first + k] = bias[k];
    for (size_t j = 0; j < F; ++j) weight_[j * lanes_ + first + k] = surface[k * F + j];
  }
}

void DomainExperts::check(const DomainExpertsParameters& p) const {
  if (domains_ == 0 || dim_ == 0 || experts_ < domains_) {
    throw InvalidArgument("domain experts: found " + std::to_string(domains_) + " domains, " +
                          std::to_string(experts_) + " experts and " + std::to_string(dim_) +
                          " dimensions, allowed: one domain or more, an expert for each, one dimension or more");
  }
  const size_t gold = experts_ - domains_;
  require("surface_mean", p.surface_mean, F);
  require("surface_scale", p.surface_scale, F);
  require("classifier_bias", p.classifier_bias, domains_);
  require("classifier_surface", p.classifier_surface, domains_ * F);
  require("classifier_embedding", p.classifier_embedding, domains_ * dim_);
  require("expert_bias", p.expert_bias, experts_);
  require("expert_mean", p.expert_mean, experts_ * F);
  require("expert_scale", p.expert_scale, experts_ * F);
  require("expert_surface", p.expert_surface, experts_ * F);
  require("expert_embedding", p.expert_embedding, experts_ * dim_);
  require("gate_bias", p.gate_bias, gold);
  require("gate_surface", p.gate_surface, gold * F);
  require("gate_embedding", p.gate_embedding, gold * dim_);
  require("gate_ramp", p.gate_ramp, gold * 2);
  require("density_scale", p.density_scale, gold * F);
  require("density_ramp", p.density_ramp, gold * 2);
  for (const auto& [name, ramps] : {std::pair{"gate_ramp", &p.gate_ramp}, std::pair{"density_ramp", &p.density_ramp}}) {
    for (size_t i = 0; i < gold; ++i) {
      if ((*ramps)[2 * i] == (*ramps)[2 * i + 1]) {
        throw InvalidArgument(std::string(name) + ": found a ramp that begins and ends at " +
                              std::to_string((*ramps)[2 * i]) + ", allowed: two numbers");
      }
    }
  }
  // Clipped features are at most 6, so this bounds every sum that follows, and none becomes NaN.
  const auto bounded = [](const char* name, const std::vector<float>& bias, const std::vector<float>& surface) {
    for (size_t k = 0; k < bias.size(); ++k) {
      double most = std::abs(static_cast<double>(bias[k]));
      for (size_t j = 0; j < F; ++j) most += 6 * std::abs(static_cast<double>(surface[k * F + j]));
      if (most > static_cast<double>(kLargestSum)) {
        throw InvalidArgument(std::string(name) + ": so large that a sum could overflow a float");
      }
    }
  };
  bounded("classifier_surface", p.classifier_bias, p.classifier_surface);
  bounded("expert_surface", p.expert_bias, p.expert_surface);
  bounded("gate_surface", p.gate_bias, p.gate_surface);
  const auto large = [](const std::vector<float>& values) {
    return std::ranges::any_of(values, [](float x) { return std::abs(x) > kLargestSum; });
  };
  if (large(p.surface_mean) || large(p.expert_mean) || large(p.surface_scale) || large(p.expert_scale) ||
      large(p.density_scale)) {
    throw InvalidArgument("means and scales: found a number so large that a feature could overflow a float");
  }
}

void DomainExperts::project(std::string_view utf8, const float* row, size_t index, ExpertsWorkspace& workspace) const {
  workspace.projected.resize(columns_);
  if (row == nullptr) {
    if (!projection_) {
      throw InvalidArgument("prompts: this router has no text encoder; give embeddings too");
    }
    projection_->project(utf8, workspace.text, workspace.projected.data());
  } else {
    workspace.lanes.resize(columns_);
    active_kernels().dot_rows_f32(vectors_.data(), columns_, row, dim_, workspace.lanes.data());
    std::ranges::copy(workspace.lanes, workspace.projected.begin());
  }
  // A NaN or Inf in a row can't leave its dot products finite.
  const auto usable = [](double x) { return std::abs(x) <= static_cast<double>(kLargestSum); };
  if (std::ranges::all_of(workspace.projected, usable)) return;
  throw InvalidArgument("embeddings: row " + std::to_string(index) +
                        ": found NaN, Inf or a value whose gain overflows, allowed: finite numbers");
}

DomainExperts::Mixed DomainExperts::mix(std::string_view utf8, ExpertsWorkspace& workspace) const {
  const auto& kernels = active_kernels();
  float z[F];
  text::surface_features(utf8, z);
  for (size_t j = 0; j < F; ++j) {
    z[j] = std::clamp((z[j] - surface_mean_[j]) * surface_scale_[j], -kSurfaceClip, kSurfaceClip);
  }

  workspace.lanes.resize(lanes_ + 2 * domains_ + experts_);
  float* values = workspace.lanes.data();
  float* below = values + lanes_;  // domains_ logits, less the largest
  float* weights = below + domains_;
  std::ranges::copy(bias_, values);
  kernels.add_clipped_f32(z, F, mean_.data(), scale_.data(), weight_.data(), most_.data(), lanes_, values);
  for (size_t c = 0; c < columns_; ++c) values[c] += static_cast<float>(workspace.projected[c]);

  // The softmax; exp(x) = sigmoid(x) / (1 - sigmoid(x)), where nothing cancels for x <= 0.
  const float largest = *std::max_element(values, values + domains_);
  for (size_t k = 0; k < domains_; ++k) below[k] = values[k] - largest;
  kernels.sigmoid_f32(below, weights, domains_);
  float total = 0;
  for (size_t k = 0; k < domains_; ++k) {
    weights[k] /= 1 - weights[k];
    total += weights[k];
  }
  for (size_t k = 0; k < domains_; ++k) weights[k] /= total;

  double taken = 0;
  for (size_t k = domains_; k < experts_; ++k) {
    const size_t i = k - domains_;
    const double alike = ramp(static_cast<double>(values[domains_ + experts_ + i]), &gate_ramp_[2 * i]);
    weights[k] = static_cast<float>(std::min(alike, density(i, z)));
    taken += static_cast<double>(weights[k]);
  }
  if (taken > 0) {
    const double scale = taken > 1 ? 1 / taken : 1;
    const auto left = static_cast<float>(1 - taken * scale / 2);
    for (size_t k = 0; k < domains_; ++k) weights[k] *= left;
    for (size_t k = domains_; k < experts_; ++k) {
      weights[k] = static_cast<float>(static_cast<double>(weights[k]) * scale);
    }
  }
  return {{weights, experts_}, {values + domains_, experts_}};
}

// 1 in the midst of a gold set's surface features, 0 far from them.
double DomainExperts::density(size_t gold, const float* z) const noexcept {
  float distance = 0;
  for (size_t j = 0; j < F; ++j) {
    const float off = (z[j] - density_mean_[gold * F + j]) * density_scale_[gold * F + j];
    distance += std::min(off * off, kDensityCap);
  }
  return ramp(static_cast<double>(distance), &density_ramp_[2 * gold]);
}

double DomainExperts::gain(std::string_view utf8, ExpertsWorkspace& workspace) const {
  project(utf8, nullptr, 0, workspace);
  return mix(utf8, workspace).gain();
}

void DomainExperts::gains(const std::string_view* texts, const float* rows, size_t first, size_t count,
                          double* out) const {
  parallel_for(count, kPromptsPerTask, [&](size_t begin, size_t end) {
    ExpertsWorkspace workspace;
    for (size_t i = begin; i < end; ++i) {
      project(texts[i], rows == nullptr ? nullptr : rows + i * dim_, first + i, workspace);
      out[i] = mix(texts[i], workspace).gain();
    }
  });
}

void DomainExperts::mixture(const std::string_view* texts, const float* rows, size_t first, size_t count,
                            double* weights, double* gains) const {
  parallel_for(count, kPromptsPerTask, [&](size_t begin, size_t end) {
    ExpertsWorkspace workspace;
    for (size_t i = begin; i < end; ++i) {
      project(texts[i], rows == nullptr ? nullptr : rows + i * dim_, first + i, workspace);
      const Mixed mixed = mix(texts[i], workspace);
      std::ranges::copy(mixed.weights, weights + i * experts_);
      std::ranges::copy(mixed.gains, gains + i * experts_);
    }
  });
}

float DomainExperts::score_of(double gain) noexcept {
  const double size = std::abs(gain);
  const double beyond = size - kLinearGain;
  const double room = 1 - kLinearGain;
  const double bounded = beyond <= 0 ? size : kLinearGain + room * (beyond / (beyond + room));
  return static_cast<float>((1 + std::copysign(bounded, gain)) / 2);
}

}  // namespace fastroute
