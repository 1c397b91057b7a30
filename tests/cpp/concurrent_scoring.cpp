// Eight threads mix every kind of scoring with changes to the number of threads; each result must be the one that a
// single thread gets. Run under thread sanitizer too.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "kernel_data.h"
#include "routing/domain_experts.h"
#include "routing/linear_scorer.h"
#include "routing/matrix_factorization.h"
#include "routing/nearest.h"
#include "routing/nearest_gains.h"
#include "routing/similarity_weighted.h"
#include "runtime/thread_pool.h"
#include "small_experts.h"
#include "small_vocabulary.h"

namespace {

using namespace fastroute;
using namespace fastroute::tests;

constexpr size_t kDim = 24;
constexpr size_t kModels = 3;
constexpr size_t kNearest = 7;
constexpr size_t kTexts = 160;  // more than one task of a batch

struct World {
  std::shared_ptr<const StaticEncoder> encoder;
  std::unique_ptr<LinearScorer> scorer;
  std::unique_ptr<MatrixFactorization> model;
  std::unique_ptr<DomainExperts> experts;
  std::shared_ptr<const SimilarityIndex> index;
  std::unique_ptr<NearestSearch> search;
  std::unique_ptr<NearestGains> neighbours;
  std::unique_ptr<SimilarityWeighted> weighted, near, with_moments;
  std::vector<std::string> texts;
  std::vector<std::string_view> views;
  std::vector<float> embeddings, scores, embedding_scores, logits, win_rates, corrected, approximate;
  std::vector<double> gains;
  std::vector<int64_t> ids;
  std::vector<float> similarities, gain_scores, near_rates;
};

constexpr size_t kPrompts = 100;

std::shared_ptr<const SimilarityIndex> random_index(Random& random, bool is_fine) {
  std::vector<float> rows = numbers(Kind::kOrdinary, kPrompts * kDim, random), scales(kPrompts);
  std::vector<int8_t> quantised(rows.size()), fine(rows.size());
  for (size_t i = 0; i < kPrompts; ++i) {
    scales[i] = quantise(&rows[i * kDim], kDim, i, &quantised[i * kDim], &fine[i * kDim]);
  }
  return std::make_shared<const SimilarityIndex>(quantised.data(), is_fine ? fine.data() : nullptr, kPrompts, kDim,
                                                 scales);
}

std::shared_ptr<const BattleMoments> random_moments(Random& random) {
  constexpr size_t kRank = 3, kCells = 6;
  auto means = numbers(Kind::kOrdinary, kCells * kDim, random);
  auto factors = numbers(Kind::kOrdinary, kCells * kRank * kDim, random);
  for (auto* values : {&means, &factors}) {
    for (float& x : *values) x = std::clamp(x / 10, -1.0F, 1.0F);
  }
  return std::make_shared<const BattleMoments>(std::vector<uint16_t>{1, 2, 4, 6, 8, 9}, kDim, means, kRank, factors);
}

// Every tier beats every other on some prompt. With moments, similarities are not normalised.
std::unique_ptr<SimilarityWeighted> weighted_on(std::shared_ptr<const SimilarityIndex> index,
                                                std::shared_ptr<const StaticEncoder> encoder,
                                                Neighbourhood neighbourhood,
                                                std::shared_ptr<const BattleMoments> moments) {
  constexpr size_t kTiers = 3;
  std::vector<int64_t> offsets = {0};
  std::vector<uint16_t> cells;
  for (size_t i = 0; i < kPrompts; ++i) {
    cells.push_back(static_cast<uint16_t>(i % kTiers * (kTiers + 1) + (i % kTiers + 1 + i / kTiers % 2) % kTiers));
    offsets.push_back(static_cast<int64_t>(i + 1));
  }
  const std::vector<float> counts(kPrompts, 1.0F);
  return std::make_unique<SimilarityWeighted>(
      std::move(index),
      std::make_shared<const BattleCounts>(kTiers, offsets.data(), kPrompts, cells.data(), counts.data(), kPrompts),
      std::move(encoder), 0, 2, Temperature{100.0, !moments}, neighbourhood, moments);
}

World make_world(uint64_t seed) {
  World world;
  Random random(seed);
  const size_t count = tokens().size();
  auto scales = numbers(Kind::kOrdinary, count, random);
  for (float& scale : scales) scale = std::abs(scale) / 100;
  world.encoder = std::make_shared<const StaticEncoder>(tokenizer(), bytes(count * kDim, random), scales, 64);
  world.scorer = std::make_unique<LinearScorer>(world.encoder, numbers(Kind::kOrdinary, kDim, random), 0.25F);
  world.model = std::make_unique<MatrixFactorization>(
      numbers(Kind::kOrdinary, kModels * 4, random), numbers(Kind::kOrdinary, 4 * kDim, random),
      numbers(Kind::kOrdinary, 4, random), numbers(Kind::kOrdinary, kModels, random));
  world.experts = std::make_unique<DomainExperts>(world.encoder, random_experts(5, 2, kDim, seed));
  world.index = random_index(random, true);
  world.search = std::make_unique<NearestSearch>(*world.index);
  std::vector<float> gains = numbers(Kind::kOrdinary, kPrompts, random);
  for (float& gain : gains) gain = std::clamp(gain, -1.0F, 1.0F);
  world.neighbours =
      std::make_unique<NearestGains>(world.index, gains, world.encoder, GainRule{kNearest, 10, 0.5, 0.5});
  world.weighted = weighted_on(world.index, world.encoder, {}, nullptr);
  world.near = weighted_on(world.index, world.encoder, {kNearest, 1.0}, nullptr);
  world.with_moments = weighted_on(random_index(random, false), world.encoder, {}, random_moments(random));
  for (size_t i = 0; i < kTexts; ++i) {
    std::string text;
    for (size_t n = random() % 20; n > 0; --n) text += tokens()[5 + random() % (count - 5)] + (n % 3 == 0 ? " " : "");
    world.texts.push_back(text);
  }
  world.views.assign(world.texts.begin(), world.texts.end());
  set_num_threads(1);
  world.embeddings.resize(kTexts * kDim);
  world.scores.resize(kTexts);
  world.embedding_scores.resize(kTexts);
  world.logits.resize(kTexts * kModels);
  world.encoder->embed_batch(world.views.data(), kTexts, world.embeddings.data());
  world.scorer->score_batch(world.views.data(), kTexts, world.scores.data());
  world.scorer->score_embeddings(world.embeddings.data(), kTexts, world.embedding_scores.data());
  world.model->logits(world.embeddings.data(), kTexts, world.logits.data());
  world.gains.resize(kTexts);
  world.experts->gains(world.views.data(), nullptr, 0, kTexts, world.gains.data());
  world.win_rates.resize(kTexts);
  world.weighted->score_batch(world.views.data(), kTexts, world.win_rates.data());
  world.ids.resize(kTexts * kNearest);
  world.similarities.resize(kTexts * kNearest);
  world.search->find(world.embeddings.data(), 0, kTexts, kNearest, world.ids.data(), world.similarities.data());
  world.gain_scores.resize(kTexts);
  world.neighbours->score_batch(world.views.data(), kTexts, world.gain_scores.data());
  world.near_rates.resize(kTexts);
  world.near->score_batch(world.views.data(), kTexts, world.near_rates.data());
  world.corrected.resize(kTexts);
  world.with_moments->score_batch(world.views.data(), kTexts, world.corrected.data());
  world.approximate.resize(kTexts);
  world.with_moments->approximate_batch(world.views.data(), kTexts, world.approximate.data());
  return world;
}

// One operation; whether it gave the expected bits.
bool operate(const World& world, Random& random, ExpertsWorkspace& workspace) {
  const size_t first = random() % kTexts;
  const size_t count = 1 + random() % (kTexts - first);
  std::vector<float> out(count * kDim);
  const auto equals = [&](const std::vector<float>& expected, size_t width) {
    return std::equal(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count * width),
                      expected.begin() + static_cast<std::ptrdiff_t>(first * width));
  };
  switch (random() % 26) {
    case 0:
      world.scorer->score_batch(&world.views[first], count, out.data());
      return equals(world.scores, 1);
    case 1:
      world.scorer->score_embeddings(&world.embeddings[first * kDim], count, out.data());
      return equals(world.embedding_scores, 1);
    case 2:
      world.model->logits(&world.embeddings[first * kDim], count, out.data());
      return equals(world.logits, kModels);
    case 3:
      world.encoder->embed_batch(&world.views[first], count, out.data());
      return equals(world.embeddings, kDim);
    case 4:
      set_num_threads(1 + random() % 4);
      return true;
    case 5: {
      std::vector<double> gains(count);
      world.experts->gains(&world.views[first], nullptr, 0, count, gains.data());
      return std::equal(gains.begin(), gains.end(), &world.gains[first]);
    }
    case 6:
      return world.experts->gain(world.views[first], workspace) == world.gains[first];
    case 7:
      world.weighted->score_batch(&world.views[first], count, out.data());
      return equals(world.win_rates, 1);
    case 8:
      world.weighted->score_embeddings(&world.embeddings[first * kDim], 0, count, out.data());
      return equals(world.win_rates, 1);
    case 9:
      return world.weighted->score(world.views[first]) == world.win_rates[first];
    case 10: {
      std::vector<int64_t> ids(count * kNearest);
      world.search->find(&world.embeddings[first * kDim], 0, count, kNearest, ids.data(), out.data());
      return equals(world.similarities, kNearest) && std::equal(ids.begin(), ids.end(), &world.ids[first * kNearest]);
    }
    case 11:
      world.neighbours->score_batch(&world.views[first], count, out.data());
      return equals(world.gain_scores, 1);
    case 12:
      world.neighbours->score_embeddings(&world.embeddings[first * kDim], 0, count, out.data());
      return equals(world.gain_scores, 1);
    case 14:
      world.near->score_batch(&world.views[first], count, out.data());
      return equals(world.near_rates, 1);
    case 15: {
      const size_t at = first * kNearest;
      world.near->score_neighbours({&world.ids[at], &world.similarities[at], kNearest}, 0, count, out.data());
      return equals(world.near_rates, 1);
    }
    case 13: {
      const size_t at = first * kNearest;
      world.neighbours->score_neighbours({&world.ids[at], &world.similarities[at], kNearest}, 0, count, out.data());
      return equals(world.gain_scores, 1);
    }
    case 16:
      world.with_moments->score_embeddings(&world.embeddings[first * kDim], 0, count, out.data());
      return equals(world.corrected, 1);
    case 17:
      world.with_moments->approximate_embeddings(&world.embeddings[first * kDim], 0, count, out.data());
      return equals(world.approximate, 1);
    case 18:
      return world.with_moments->approximate(world.views[first]) == world.approximate[first];
    case 19: {
      world.with_moments->score_batch_near(&world.views[first], count, {0.5, 0.05}, out.data());
      for (size_t i = 0; i < count; ++i) {
        const bool close = std::abs(static_cast<double>(world.approximate[first + i]) - 0.5) <= 0.05;
        if (out[i] != (close ? world.corrected : world.approximate)[first + i]) return false;
      }
      return true;
    }
    default:
      return world.scorer->score(world.views[first], workspace.text) == world.scores[first];
  }
}

}  // namespace

int main() {
  constexpr int kThreads = 8;
  constexpr int kOperations = 10000;
  constexpr int kSeeds = 3;
  std::atomic<int> wrong{0};
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const World world = make_world(seed);
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        Random random(seed * kThreads + t);
        ExpertsWorkspace workspace;
        for (int i = 0; i < kOperations; ++i) {
          if (!operate(world, random, workspace)) ++wrong;
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }
  CHECK(wrong == 0);
  return summary("concurrent scoring", static_cast<long long>(kThreads) * kOperations * kSeeds);
}
