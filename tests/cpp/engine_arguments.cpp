// What the engine refuses, and the few values at the edge that it must take.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "check.h"
#include "routing/domain_experts.h"
#include "routing/linear_scorer.h"
#include "routing/matrix_factorization.h"
#include "routing/similarity_weighted.h"
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

long long check_similarity_index() {
  const std::vector<int8_t> rows = {127, 1, -127, 0, 64, 64};
  const Floats scales = {0.007F, 0.007F, 0.01F};
  const SimilarityIndex index(rows.data(), nullptr, 3, 2, scales);
  CHECK(index.size() == 3 && index.dim() == 2 && index.stride() == 16);
  std::vector<int8_t> again(6);
  index.rows(again.data());
  CHECK(again == rows);
  CHECK_THROWS(SimilarityIndex(rows.data(), nullptr, 0, 2, {}), InvalidArgument);
  CHECK_THROWS(SimilarityIndex(rows.data(), nullptr, 3, 0, scales), InvalidArgument);
  CHECK_THROWS(SimilarityIndex(rows.data(), nullptr, 1, kMostDimensions + 1, {0.5F}), InvalidArgument);
  CHECK_THROWS(SimilarityIndex(rows.data(), nullptr, 3, 2, {0.5F, 0.5F}), InvalidArgument);
  for (const float bad : {kNaN, kInfinity, -0.5F, 1.5F, 1e-9F}) {
    CHECK_THROWS(SimilarityIndex(rows.data(), nullptr, 3, 2, {0.5F, 0.5F, bad}), InvalidArgument);
  }
  const std::vector<int8_t> outside = {127, -128};
  CHECK_THROWS(SimilarityIndex(outside.data(), nullptr, 1, 2, {0.5F}), InvalidArgument);
  CHECK_THROWS(SimilarityIndex(rows.data(), outside.data(), 1, 2, {0.5F}), InvalidArgument);
  // The largest sums there are, in every number of dimensions: the fine parts must not overflow what the coarse fill.
  for (const size_t dim : {1UL, 3UL, 520UL, 1536UL, 65536UL}) {
    const Floats flat(dim, 1.0F);
    std::vector<int8_t> coarse(dim), fine(dim);
    const float scale = quantise(flat.data(), dim, 0, coarse.data(), fine.data());
    std::ranges::fill(fine, static_cast<int8_t>(fine_steps(dim) / 2));
    const SimilarityIndex largest(coarse.data(), fine.data(), 1, dim, {scale});
    QuantisedQueries same;
    largest.read_queries(flat.data(), 0, 1, same);
    std::vector<int32_t> product(16);
    largest.dots(same, product.data());
    const float found = static_cast<float>(product[0]) * largest.factors()[0] * same.scales[0];
    CHECK(std::abs(found - (1 + 0.5F / 127)) < 0.003F);
  }
  QuantisedQueries queries;
  for (const float bad : {kNaN, kInfinity, -kInfinity}) {
    const float row[2] = {1, bad};
    CHECK_THROWS(index.read_queries(row, 0, 1, queries), InvalidArgument);
  }
  // Any finite length: the largest, the smallest, none.
  const float lengths[3][2] = {{kMax, -kMax}, {std::numeric_limits<float>::denorm_min(), 0}, {0, -0.0F}};
  index.read_queries(lengths[0], 0, 3, queries);
  std::vector<int32_t> dots(3 * 16);
  index.dots(queries, dots.data());
  CHECK(dots[0] == 127 * 127 - 127 && dots[16] == 127 * 127 && dots[32] == 0);
  CHECK(std::abs(queries.scales[0] * 127 - std::sqrt(0.5F)) < 1e-6F && queries.scales[2] == 0);
  // Fine parts go half a step of the coarse ones each way.
  const std::vector<int8_t> fine = {127, -127};
  const SimilarityIndex finer(rows.data(), fine.data(), 1, 2, {0.5F});
  const std::vector<int8_t> zeros(2000), beyond(2000, int8_t{34});
  CHECK(fine_steps(2000) == 65);
  CHECK_THROWS(SimilarityIndex(zeros.data(), beyond.data(), 1, 2000, {0.5F}), InvalidArgument);
  return 19;
}

long long check_battle_counts() {
  // Two tiers and the side of strength 0: cells 1 (0 beats 1), 3 (1 beats 0), 2 and 5 (a tier beats that side).
  const int64_t offsets[] = {0, 1, 1, 3};
  const uint16_t cells[] = {1, 3, 5};
  const float counts[] = {2.0F, 0.5F, 1.0F};
  const BattleCounts good(2, offsets, 3, cells, counts, 3);
  CHECK(good.sides() == 3 && good.totals() == std::vector<double>({0, 2, 0, 0.5, 0, 1, 0, 0, 0}));
  double sums[9];
  const float weights[] = {2.0F, 100.0F, 4.0F};
  good.weigh(weights, sums);
  CHECK(sums[1] == 4 && sums[3] == 2 && sums[5] == 4 && sums[0] == 0);
  const auto with = [&](size_t tiers, std::vector<int64_t> o, std::vector<uint16_t> c, Floats n) {
    return BattleCounts(tiers, o.data(), o.size() - 1, c.data(), n.data(), c.size());
  };
  const Floats ones = {1.0F, 1.0F, 1.0F};
  CHECK_THROWS(with(0, {0, 3}, {1, 2, 3}, ones), InvalidArgument);
  CHECK_THROWS(with(65, {0, 3}, {1, 2, 3}, ones), InvalidArgument);
  CHECK_THROWS(with(2, {1, 3}, {1, 2, 3}, ones), InvalidArgument);
  CHECK_THROWS(with(2, {0, 2}, {1, 2, 3}, ones), InvalidArgument);
  CHECK_THROWS(with(2, {0, 2, 1, 3}, {1, 2, 3}, ones), InvalidArgument);
  CHECK_THROWS(with(2, {0, 5, 3}, {1, 2, 3}, ones), InvalidArgument);
  for (const uint16_t bad : {uint16_t{0}, uint16_t{4}, uint16_t{8}, uint16_t{9}, uint16_t{65535}, uint16_t{1}}) {
    CHECK_THROWS(with(2, {0, 3}, {1, 2, bad}, ones), InvalidArgument);
  }
  for (const float bad : {kNaN, kInfinity, 0.0F, -1.0F}) {
    CHECK_THROWS(with(2, {0, 3}, {1, 2, 3}, {1.0F, 1.0F, bad}), InvalidArgument);
  }
  return 18;
}

long long check_strengths() {
  elo::SolverWorkspace workspace;
  // A closed form; and weights 1e-12 apart meet, where subtracting them would leave nothing.
  for (const double weight : {1.0, 1e-12, 1e12, 1e-25}) {
    const double wins[] = {0, 3, 0, 1, 0, weight, 0, 2 * weight, 0};
    double strengths[] = {0, 0, 0};
    CHECK(elo::solve_strengths(wins, 3, strengths, workspace).converged);
    CHECK(std::abs(strengths[0] - strengths[1] - std::log(3.0)) < 1e-12);
    CHECK(std::abs(strengths[2] - strengths[1] - std::log(2.0)) < 1e-12);
  }
  // Two heavy triangles joined by one light win each way.
  for (const double light : {1e-3, 1e-12, 1e-20}) {
    double wins[36] = {};
    for (size_t i = 0; i < 6; ++i) {
      for (size_t j = 0; j < 6; ++j) {
        if (i / 3 == j / 3 && i != j)
          wins[i * 6 + j] = 1.0 + 0.37 * static_cast<double>(i) + 0.11 * static_cast<double>(j * j);
      }
    }
    wins[2 * 6 + 3] = light;
    wins[3 * 6 + 2] = 2 * light;
    double strengths[6] = {};
    CHECK(elo::solve_strengths(wins, 6, strengths, workspace).converged);
    CHECK(std::abs(strengths[3] - strengths[2] - std::log(2.0)) < 1e-9);
  }
  const double rare[] = {0, 1, 1e-12, 0};
  double far[] = {0, 0};
  CHECK(elo::solve_strengths(rare, 2, far, workspace).converged && std::abs(far[0] - 12 * std::log(10.0)) < 1e-9);
  const double undefeated[] = {0, 1, 0, 0};
  CHECK(!elo::solve_strengths(undefeated, 2, far, workspace).converged);
  const double apart[] = {0, 0, 0, 0};
  CHECK(!elo::solve_strengths(apart, 2, far, workspace).converged && std::isfinite(far[0]));
  CHECK(elo::solve_strengths(apart, 1, far, workspace).converged);
  using elo::Standing;
  const double chain[] = {0, 1, 0, 0, 0, 1, 0, 0, 0};
  CHECK(elo::standing(chain, 3, 0, 2) == Standing::kAbove && elo::standing(chain, 3, 2, 0) == Standing::kBelow);
  CHECK(elo::standing(apart, 2, 0, 1) == Standing::kUnknown && elo::standing(rare, 2, 0, 1) == Standing::kRated);
  CHECK(elo::win_rate(800, -800) == 1 && elo::win_rate(-800, 800) < 1e-300 && elo::win_rate(3, 3) == 0.5);
  return 26;
}

long long check_similarity_weighted() {
  const std::vector<int8_t> rows = {127, 0, 0, 127};
  const auto index = std::make_shared<const SimilarityIndex>(rows.data(), nullptr, 2, 2, Floats(2, 1.0F / 127));
  const auto counted = [](std::vector<uint16_t> cells) {
    const int64_t offsets[] = {0, 1, static_cast<int64_t>(cells.size())};
    const Floats counts(cells.size(), 1.0F);
    return std::make_shared<const BattleCounts>(2, offsets, 2, cells.data(), counts.data(), cells.size());
  };
  const auto both = counted({1, 3});  // tier 0 wins on the first prompt, tier 1 on the second
  const SimilarityWeighted scorer(index, both, nullptr, 0, 1, {});
  CHECK(!scorer.constant() && scorer.global_rate() == 0.5);
  const float queries[5][2] = {{2, 0}, {0, 3}, {1, 1}, {0, 0}, {-1, -2}};
  float out[5];
  scorer.score_embeddings(queries[0], 0, 5, out);
  // Weights 1 and 1 / 10; the last two are similar to nothing.
  CHECK(std::abs(out[0] - 10.0F / 11) < 1e-6F && std::abs(out[1] - 1.0F / 11) < 1e-6F);
  CHECK(out[2] == 0.5F && out[3] == 0.5F && out[4] == 0.5F);
  const SimilarityWeighted steep(index, both, nullptr, 0, 1, {1e30, true});
  steep.score_embeddings(queries[0], 0, 5, out);
  CHECK(out[0] > 0.999999F && out[0] <= 1 && out[1] < 1e-6F && out[1] >= 0);
  for (const float bad : {kNaN, kInfinity}) {
    const float row[2] = {1, bad};
    CHECK_THROWS(scorer.score_embeddings(row, 0, 1, out), InvalidArgument);
  }
  CHECK_THROWS(scorer.score("a"), InvalidArgument);
  scorer.score_embeddings(nullptr, 0, 0, out);

  CHECK(SimilarityWeighted(index, counted({1, 1}), nullptr, 0, 1, {}).global_rate() == 1);
  CHECK(SimilarityWeighted(index, counted({1, 1}), nullptr, 1, 0, {}).global_rate() == 0);
  CHECK(SimilarityWeighted(index, both, nullptr, 1, 1, {}).global_rate() == 0.5);
  CHECK_THROWS(SimilarityWeighted(index, counted({2, 2}), nullptr, 0, 1, {}), InvalidArgument);
  CHECK_THROWS(SimilarityWeighted(index, both, nullptr, 0, 2, {}), InvalidArgument);
  CHECK_THROWS(SimilarityWeighted(index, both, nullptr, 2, 0, {}), InvalidArgument);
  for (const double bad : {0.5, 0.0, -1.0, 1e31, static_cast<double>(kNaN), static_cast<double>(kInfinity)}) {
    CHECK_THROWS(SimilarityWeighted(index, both, nullptr, 0, 1, {bad, true}), InvalidArgument);
  }
  const auto other = std::make_shared<const SimilarityIndex>(rows.data(), nullptr, 1, 4, Floats(1, 0.005F));
  CHECK_THROWS(SimilarityWeighted(other, both, nullptr, 0, 1, {}), InvalidArgument);
  const auto three =
      std::make_shared<const SimilarityIndex>(std::vector<int8_t>(6, 1).data(), nullptr, 2, 3, Floats(2, 0.5F));
  CHECK_THROWS(SimilarityWeighted(three, both, encoder(), 0, 1, {}), InvalidArgument);
  return 27;
}

}  // namespace

int main() {
  return summary("engine arguments", check_encoder() + check_linear_scorer() + check_matrix_factorization() +
                                         check_domain_experts() + check_similarity_index() + check_battle_counts() +
                                         check_strengths() + check_similarity_weighted());
}
