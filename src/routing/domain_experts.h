// A soft mixture of domain experts: gain = sum_k pi_k(x) g_k(x), with pi a softmax over K domains and g_k the gain that
// domain k's expert expects from the strong model. Gold experts, trained on gold labels of one set each, take over
// where a prompt looks like their set and nowhere else.
//
// With s the surface features (text/surface_features.h), e the embedding and clip(x, c) = min(max(x, -c), c):
//   z_j    = clip((s_j - surface_mean_j) * surface_scale_j, 6)
//   pi     = softmax_k(classifier_bias_k + classifier_surface_k . z + classifier_embedding_k . e)
//   y_kj   = clip((z_j - expert_mean_kj) * expert_scale_kj, 4)
//   g_k    = expert_bias_k + expert_surface_k . y_k + expert_embedding_k . e
// Rows K .. K + G of the expert arrays are the gold experts. Gold expert i acts with weight
//   a_i    = min(ramp(gate_bias_i + gate_surface_i . z + gate_embedding_i . e; gate_ramp_i),
//                ramp(sum_j min(((z_j - expert_mean_j) * density_scale_ij)^2, 100); density_ramp_i))
//   ramp(x; from, to) = min(max((x - from) / (to - from), 0), 1)
// so where it is 0 the score is what it would be without gold, bit for bit. It is told the mixture's gain m and adds
// what it knows: gain = m + sum_i a_i (g_i - m / 2), the a_i scaled down where they add up to more than 1.
//
// Sums over tokens are in double, the rest in float, in a fixed order: the bits are the same everywhere.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "encoder/token_projection.h"
#include "text/surface_features.h"

namespace fastroute {

constexpr float kSurfaceClip = 6;
constexpr float kExpertClip = 4;

// All row-major. F = kSurfaceFeatures, d = dimensions of the embedding, K domains, G gold experts.
struct DomainExpertsParameters {
  size_t domains = 0;
  size_t dim = 0;
  std::vector<float> surface_mean, surface_scale;                                // F
  std::vector<float> classifier_bias, classifier_surface, classifier_embedding;  // K, K x F, K x d
  std::vector<float> expert_bias, expert_mean, expert_scale;                     // K + G, (K + G) x F twice
  std::vector<float> expert_surface, expert_embedding;                           // (K + G) x F, (K + G) x d
  std::vector<float> gate_bias, gate_surface, gate_embedding, gate_ramp;         // G, G x F, G x d, G x 2
  std::vector<float> density_scale, density_ramp;                                // G x F, G x 2
};

// What one thread needs; keep it between calls to save allocations.
struct ExpertsWorkspace {
  text::Workspace text;
  std::vector<double> projected;
  std::vector<float> lanes;
};

// Immutable once built; any number of threads may score at once, each with its own ExpertsWorkspace.
class DomainExperts {
 public:
  // The encoder may be null: then an embedding is given with each text. Throws InvalidArgument where sizes disagree, a
  // number is not finite, a ramp is flat, there is no domain, or weights are so large that a gain could overflow.
  DomainExperts(std::shared_ptr<const StaticEncoder> encoder, DomainExpertsParameters parameters);

  size_t domains() const noexcept { return domains_; }
  size_t experts() const noexcept { return experts_; }  // gold ones included
  size_t dim() const noexcept { return dim_; }

  // Expected gain of each text. `rows` is count x dim() embeddings; null to embed the texts with the encoder. On up to
  // num_threads() threads; a text has the same bits alone and in any batch. Throws InvalidArgument that names the first
  // row with a NaN or Inf, counted from `first`, or where there is no encoder and no rows.
  void gains(const std::string_view* texts, const float* rows, size_t first, size_t count, double* out) const;

  // The same and how it came about: gain i is the sum over experts of weights[i][k] * gains[i][k]; both are
  // count x experts().
  void mixture(const std::string_view* texts, const float* rows, size_t first, size_t count, double* weights,
               double* gains) const;

  // One text, embedded with the encoder.
  double gain(std::string_view utf8, ExpertsWorkspace& workspace) const;

  // (1 + gain) / 2 for gains from -.9 to .9; further out it approaches 0 and 1, so that it is strictly increasing and a
  // clipped score never ties two prompts, until a float can't tell it from 1, at gains of 10^5 and more.
  static float score_of(double gain) noexcept;

 private:
  struct Mixed;

  void check(const DomainExpertsParameters& parameters) const;
  void add_columns(size_t first, const std::vector<float>& bias, const std::vector<float>& surface,
                   const std::vector<float>& embedding);
  void project(std::string_view utf8, const float* row, size_t index, ExpertsWorkspace& workspace) const;
  Mixed mix(std::string_view utf8, ExpertsWorkspace& workspace) const;
  double density(size_t gold, const float* z) const noexcept;

  // Everything linear is a column: K classifiers, K + G experts, G gates. Arrays of F x lanes_ have one lane for each.
  size_t domains_;
  size_t experts_;
  size_t dim_;
  size_t columns_;
  size_t lanes_;
  std::vector<float> vectors_;  // columns_ x dim_
  std::optional<TokenProjection> projection_;
  std::vector<float> surface_mean_, surface_scale_;
  std::vector<float> bias_, most_;            // lanes_
  std::vector<float> mean_, scale_, weight_;  // F x lanes_
  std::vector<float> gate_ramp_, density_mean_, density_scale_, density_ramp_;
};

}  // namespace fastroute
