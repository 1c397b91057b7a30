// What the engine refuses, and the few values at the edge that it must take.
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "check.h"
#include "routing/domain_experts.h"
#include "routing/linear_scorer.h"
#include "routing/matrix_factorization.h"
#include "runtime/error.h"
#include "small_experts.h"
#include "small_vocabulary.h"

namespace {

using namespace fastroute;
using namespace fastroute::tests;
using Floats = std::vector<float>;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kMax = std::numeric_limits<float>::max();

std::shared_ptr<const StaticEncoder> encoder(float scale = 0.01F, size_t max_tokens = 64) {
  const size_t count = tokens().size();
  return std::make_shared<const StaticEncoder>(tokenizer(), std::vector<int8_t>(count * 2, 127), Floats(count, scale),
                                               max_tokens);
}

long long check_encoder() {
  for (const float scale : {-1.0F, kNaN, kInfinity, kMax, kMax / 1000}) CHECK_THROWS(encoder(scale), InvalidArgument);
  CHECK_THROWS(encoder(0.01F, 0), InvalidArgument);
  const size_t count = tokens().size();
  CHECK_THROWS(StaticEncoder(tokenizer(), std::vector<int8_t>(count * 2 + 1), Floats(count, 0.1F), 64),
               InvalidArgument);
  CHECK_THROWS(StaticEncoder(tokenizer(), {}, Floats(count, 0.1F), 64), InvalidArgument);
  CHECK_THROWS(StaticEncoder(tokenizer(), std::vector<int8_t>(count), Floats(count - 1, 0.1F), 64), InvalidArgument);
  // The largest scale allowed: embeddings stay finite.
  const auto large = encoder(kMax / (256.0F * 64.0F));
  std::string prompt;
  for (int i = 0; i < 100; ++i) prompt += "want ";
  text::Workspace workspace;
  float out[2];
  large->embed(prompt, workspace, out);
  CHECK(std::isfinite(out[0]) && std::isfinite(out[1]));
  return 10;
}

long long check_linear_scorer() {
  CHECK_THROWS(LinearScorer(encoder(), Floats(3), 0.0F), InvalidArgument);
  CHECK_THROWS(LinearScorer(nullptr, {1.0F, kNaN}, 0.0F), InvalidArgument);
  CHECK_THROWS(LinearScorer(nullptr, {1.0F}, kInfinity), InvalidArgument);
  CHECK_THROWS(LinearScorer(encoder(100.0F), {kMax, kMax}, 0.0F), InvalidArgument);
  const LinearScorer alone(nullptr, {1.0F, -1.0F}, 0.0F);
  text::Workspace workspace;
  CHECK_THROWS(alone.score("a", workspace), InvalidArgument);
  float out[1] = {-1};
  for (const float bad : {kNaN, kInfinity, -kInfinity}) {
    const float first[2] = {bad, 0}, last[2] = {0, bad};
    CHECK_THROWS(alone.score_embeddings(first, 1, out), InvalidArgument);
    CHECK_THROWS(alone.score_embeddings(last, 1, out), InvalidArgument);
  }
  const LinearScorer biased(nullptr, {1.0F, -1.0F}, 0.5F);
  const float plain[2] = {2, 1};
  biased.score_embeddings(plain, 1, out);
  CHECK(std::abs(out[0] - 1.0F / (1.0F + std::exp(-1.5F))) < 1e-6F);
  // Finite numbers whose dot product overflows a float: the sum in double decides, and is never NaN.
  const LinearScorer steep(nullptr, {kMax, kMax}, 0.0F);
  const float rows[4][2] = {{kMax, kMax}, {-kMax, -kMax}, {kMax, -kMax}, {-kMax, kMax}};
  const float expected[4] = {1.0F, 0.0F, 0.5F, 0.5F};
  for (int i = 0; i < 4; ++i) {
    steep.score_embeddings(rows[i], 1, out);
    CHECK(out[0] == expected[i]);
  }
  alone.score_embeddings(nullptr, 0, out);
  return 17;
}

long long check_matrix_factorization() {
  const Floats v(6, 1.0F), w(4, 1.0F), c(2, 1.0F), b(3, 0.0F);
  const MatrixFactorization model(v, w, c, b);
  CHECK(model.dim() == 2 && model.models() == 3);
  CHECK_THROWS(MatrixFactorization(Floats(5), w, c, b), InvalidArgument);
  CHECK_THROWS(MatrixFactorization(v, Floats(3), c, b), InvalidArgument);
  CHECK_THROWS(MatrixFactorization(v, {}, c, b), InvalidArgument);
  CHECK_THROWS(MatrixFactorization(v, w, {}, b), InvalidArgument);
  CHECK_THROWS(MatrixFactorization({1.0F, 1.0F}, w, c, {0.0F}), InvalidArgument);
  for (size_t which = 0; which < 4; ++which) {
    Floats parts[4] = {v, w, c, b};
    parts[which].back() = kNaN;
    CHECK_THROWS(MatrixFactorization(parts[0], parts[1], parts[2], parts[3]), InvalidArgument);
  }
  CHECK_THROWS(MatrixFactorization(Floats(6, kMax), w, Floats(2, kMax), b), InvalidArgument);
  CHECK_THROWS(model.pair(0, 3), InvalidArgument);
  float out[3];
  for (const float bad : {kNaN, kInfinity, kMax}) {
    const float row[2] = {bad, bad};
    CHECK_THROWS(model.logits(row, 1, out), InvalidArgument);
  }
  return 14;
}

long long check_domain_experts() {
  using Parameters = DomainExpertsParameters;
  const auto good = random_experts(3, 1, 2, 1);
  const DomainExperts alone(nullptr, good);
  CHECK(alone.domains() == 3 && alone.experts() == 4 && alone.dim() == 2);
  constexpr std::vector<float> Parameters::* kArrays[] = {
      &Parameters::surface_mean,   &Parameters::surface_scale,      &Parameters::classifier_bias,
      &Parameters::expert_bias,    &Parameters::classifier_surface, &Parameters::classifier_embedding,
      &Parameters::expert_mean,    &Parameters::expert_scale,       &Parameters::expert_surface,
      &Parameters::gate_bias,      &Parameters::expert_embedding,   &Parameters::gate_surface,
      &Parameters::gate_embedding, &Parameters::gate_ramp,          &Parameters::density_scale,
      &Parameters::density_ramp};
  for (const auto array : kArrays) {
    auto shorter = good;
    (shorter.*array).pop_back();
    CHECK_THROWS(DomainExperts(nullptr, shorter), InvalidArgument);
    for (const float bad : {kNaN, kInfinity}) {
      auto broken = good;
      (broken.*array).back() = bad;
      CHECK_THROWS(DomainExperts(nullptr, broken), InvalidArgument);
    }
  }
  for (const auto array : {&Parameters::surface_scale, &Parameters::expert_scale, &Parameters::expert_surface,
                           &Parameters::classifier_surface, &Parameters::expert_bias}) {
    auto huge = good;
    (huge.*array).front() = kMax;
    CHECK_THROWS(DomainExperts(nullptr, huge), InvalidArgument);
  }
  auto flat = good;
  flat.gate_ramp = {1.0F, 1.0F};
  CHECK_THROWS(DomainExperts(nullptr, flat), InvalidArgument);
  auto none = good;
  none.domains = 0;
  CHECK_THROWS(DomainExperts(nullptr, none), InvalidArgument);
  CHECK_THROWS(DomainExperts(encoder(), random_experts(3, 0, 5, 1)), InvalidArgument);

  ExpertsWorkspace workspace;
  CHECK_THROWS(alone.gain("a", workspace), InvalidArgument);
  const std::string_view texts[2] = {"a", "want b"};
  double out[2];
  for (const float bad : {kNaN, kInfinity, kMax}) {
    const float rows[2][2] = {{0, 0}, {bad, bad}};
    CHECK_THROWS(alone.gains(texts, rows[0], 0, 2, out), InvalidArgument);
  }
  alone.gains(nullptr, nullptr, 0, 0, out);

  // Scores: the gain itself up to .9, strictly increasing beyond, inside [0, 1].
  CHECK(DomainExperts::score_of(0) == 0.5F && DomainExperts::score_of(0.5) == 0.75F);
  CHECK(DomainExperts::score_of(-0.9) == 0.05F);
  float last = -1;
  for (double gain = -3; gain <= 3; gain += 1e-3) {
    const float score = DomainExperts::score_of(gain);
    CHECK(score > last && score < 1);
    last = score;
  }
  CHECK(DomainExperts::score_of(1e30) == 1.0F && DomainExperts::score_of(-1e30) == 0.0F);

  // Weights add up to one without gold, and gold takes no more than all of it.
  const auto check_weights = [&](size_t gold, uint64_t seed) {
    const DomainExperts experts(encoder(), random_experts(4, gold, 2, seed));
    const size_t n = experts.experts();
    std::vector<double> weights(2 * n), gains(2 * n);
    experts.mixture(texts, nullptr, 0, 2, weights.data(), gains.data());
    for (size_t i = 0; i < 2; ++i) {
      double sum = 0, taken = 0, gain = 0;
      for (size_t k = 0; k < n; ++k) {
        const double w = weights[i * n + k];
        CHECK(w >= 0 && w <= 1.0000001);
        (k < 4 ? sum : taken) += w;
        gain += w * gains[i * n + k];
      }
      CHECK(std::abs(sum - (1 - taken / 2)) < 1e-6 && taken <= 1.0000001);
      CHECK(std::abs(gain - experts.gain(texts[i], workspace)) < 1e-12);
    }
  };
  for (uint64_t seed = 0; seed < 50; ++seed) check_weights(seed % 4, seed);
  return 6200;
}

}  // namespace

int main() {
  return summary("engine arguments",
                 check_encoder() + check_linear_scorer() + check_matrix_factorization() + check_domain_experts());
}
