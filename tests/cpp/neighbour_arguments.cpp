// The nearest rows of an index and what is made of them: what they refuse, and the few values at the edge that they
// must take.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "check.h"
#include "routing/nearest.h"
#include "routing/nearest_gains.h"
#include "routing/similarity_weighted.h"
#include "runtime/error.h"
#include "small_vocabulary.h"

namespace {

using namespace fastroute;
using namespace fastroute::tests;
using Floats = std::vector<float>;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kMax = std::numeric_limits<float>::max();

// Of two dimensions.
std::shared_ptr<const StaticEncoder> encoder() {
  const size_t count = tokens().size();
  return std::make_shared<const StaticEncoder>(tokenizer(), std::vector<int8_t>(count * 2, 127), Floats(count, 0.01F),
                                               64);
}

long long check_nearest() {
  const std::vector<int8_t> rows = {127, 0, 0, 127, 127, 0, 0, 0};
  const SimilarityIndex index(rows.data(), nullptr, 4, 2, {1.0F / 127, 1.0F / 127, 0.5F / 127, 0.0F});
  CHECK(index.width() == 4 && std::abs(index.longest() - 1) < 1e-6 && index.longest_fine() == 0);
  const double unit[] = {0.6, 0.8, 0, 0};
  CHECK(std::abs(index.dot(0, unit) - 0.6) < 1e-7 && std::abs(index.dot(2, unit) - 0.3) < 1e-7);
  NearestSearch search(index);
  const float queries[3][2] = {{3, 4}, {0, 0}, {-kMax, 0}};
  int64_t ids[12];
  float found[12];
  search.find(queries[0], 0, 3, 4, ids, found);
  const int64_t expected[12] = {1, 0, 2, 3, 0, 1, 2, 3, 1, 3, 2, 0};
  CHECK(std::equal(ids, ids + 12, expected));
  CHECK(std::abs(found[0] - 0.8F) < 1e-6F && found[4] == 0 && std::abs(found[11] + 1) < 1e-6F);
  for (const float bad : {kNaN, kInfinity}) {
    const float row[2] = {1, bad};
    CHECK_THROWS(search.find(row, 0, 1, 1, ids, found), InvalidArgument);
  }
  search.find(nullptr, 0, 0, 1, ids, found);
  return 7;
}

long long check_nearest_gains() {
  const std::vector<int8_t> rows = {127, 0, 0, 127, 127, 0};
  const auto index = std::make_shared<const SimilarityIndex>(rows.data(), nullptr, 3, 2, Floats(3, 1.0F / 127));
  const Floats gains = {1.0F, -1.0F, 0.5F};
  const GainRule rule = {2, 10, 1, 0};
  const NearestGains scorer(index, gains, nullptr, rule);
  CHECK(scorer.dim() == 2 && scorer.size() == 3 && std::abs(scorer.mean_gain() - 0.5 / 3) < 1e-15);
  const float queries[3][2] = {{1, 0}, {0, 0}, {-1, -1}};
  int64_t near[6];
  float near_similarities[6];
  NearestSearch(*index).find(queries[0], 0, 3, 2, near, near_similarities);
  LocalGain found[3];
  scorer.explain_neighbours({near, near_similarities, 2}, 0, 3, found);
  // Two neighbours of weight 1: (1 + .5 + 1 * mean) / 3, and off their mean by .25 each.
  CHECK(std::abs(found[0].gain - (1.5 + 0.5 / 3) / 3) < 1e-12 && found[0].guarded == found[0].gain);
  CHECK(std::abs(found[0].error - 0.5 / 3) < 1e-12);
  CHECK(found[1].guarded == scorer.mean_gain() && found[2].gain == scorer.mean_gain() && found[2].error == 0);
  float out[3];
  scorer.score_embeddings(queries[0], 0, 3, out);
  CHECK(out[0] == static_cast<float>((1 + found[0].guarded) / 2));
  scorer.score_embeddings(nullptr, 0, 0, out);
  CHECK_THROWS(scorer.score("a"), InvalidArgument);
  CHECK_THROWS(NearestGains(index, Floats(2), nullptr, rule), InvalidArgument);
  for (const float bad : {kNaN, kInfinity}) {
    const float row[2] = {1, bad};
    CHECK_THROWS(scorer.score_embeddings(row, 0, 1, out), InvalidArgument);
    CHECK_THROWS(NearestGains(index, {0, 0, bad}, nullptr, rule), InvalidArgument);
  }
  CHECK_THROWS(NearestGains(index, {0, 0, -1.5F}, nullptr, rule), InvalidArgument);
  CHECK_THROWS(NearestGains(index, gains, nullptr, {0, 10, 1, 0}), InvalidArgument);
  for (const double bad : {static_cast<double>(kNaN), static_cast<double>(kInfinity), -1.0}) {
    CHECK_THROWS(NearestGains(index, gains, nullptr, {2, bad, 1, 0}), InvalidArgument);
    CHECK_THROWS(NearestGains(index, gains, nullptr, {2, 10, bad, 0}), InvalidArgument);
    CHECK_THROWS(NearestGains(index, gains, nullptr, {2, 10, 1, bad}), InvalidArgument);
  }
  CHECK_THROWS(NearestGains(index, gains, nullptr, {2, 1e31, 1, 0}), InvalidArgument);
  const auto three =
      std::make_shared<const SimilarityIndex>(std::vector<int8_t>(9, 1).data(), nullptr, 3, 3, Floats(3, 0.5F));
  CHECK_THROWS(NearestGains(three, gains, encoder(), rule), InvalidArgument);
  // Neighbours that are none.
  const int64_t ids[] = {0, 3, -1, 0, 0};
  const float similarities[] = {0.5F, kNaN, kInfinity, 0.5F, 0.75F};
  CHECK_THROWS(scorer.score_neighbours({ids + 1, similarities, 1}, 0, 1, out), InvalidArgument);
  CHECK_THROWS(scorer.score_neighbours({ids + 2, similarities, 1}, 0, 1, out), InvalidArgument);
  CHECK_THROWS(scorer.score_neighbours({ids, similarities + 1, 1}, 0, 1, out), InvalidArgument);
  CHECK_THROWS(scorer.score_neighbours({ids, similarities + 2, 1}, 0, 1, out), InvalidArgument);
  CHECK_THROWS(scorer.score_neighbours({ids + 3, similarities + 3, 2}, 0, 1, out), InvalidArgument);
  return 28;
}

long long check_neighbour_elo() {
  constexpr size_t kPrompts = 1200;
  // Tier 0 wins on even prompts, tier 1 on odd ones, twice; every fifth has no battle. Rows lie along two axes.
  std::vector<int8_t> rows;
  std::vector<int64_t> offsets = {0};
  std::vector<uint16_t> cells;
  Floats counts;
  for (size_t i = 0; i < kPrompts; ++i) {
    rows.insert(rows.end(), {static_cast<int8_t>(i < 600 ? 127 : 0), static_cast<int8_t>(i < 600 ? 0 : 127)});
    if (i % 5 != 0) {
      cells.push_back(i % 2 == 0 ? 1 : 3);
      counts.push_back(i % 2 == 0 ? 1.0F : 2.0F);
    }
    offsets.push_back(static_cast<int64_t>(cells.size()));
  }
  const auto battles =
      std::make_shared<const BattleCounts>(2, offsets.data(), kPrompts, cells.data(), counts.data(), cells.size());
  double sums[9];
  const int64_t some[] = {0, 1, 2, 2, 1199};
  const double weights[] = {100.0, 1.0, 2.0, 3.0, 0.5};
  battles->weigh_rows(some, weights, 5, sums);
  CHECK(sums[1] == 5 && sums[3] == 3 && sums[0] == 0 && sums[8] == 0);
  battles->weigh_rows(nullptr, nullptr, 0, sums);
  CHECK(std::ranges::all_of(sums, [](double x) { return x == 0; }));
  std::vector<int64_t> all(kPrompts);
  for (size_t i = 0; i < kPrompts; ++i) all[i] = static_cast<int64_t>(i);
  battles->weigh_rows(all.data(), std::vector<double>(kPrompts, 1.0).data(), kPrompts, sums);
  CHECK(std::equal(sums, sums + 9, battles->totals().begin()));

  const auto index =
      std::make_shared<const SimilarityIndex>(rows.data(), nullptr, kPrompts, 2, Floats(kPrompts, 1.0F / 127));
  const auto with = [&](Neighbourhood near, bool normalised = true) {
    return SimilarityWeighted(index, battles, nullptr, 0, 1, {10, normalised}, near);
  };
  const float queries[3][2] = {{1, 0}, {0, 0}, {-1, -1}};
  float out[3];
  const SimilarityWeighted near = with({4, 1.0});
  near.score_embeddings(queries[0], 0, 3, out);
  // Prompts 0 to 3: a win of tier 0 and two times two of tier 1, and a battle that is shared a third to two thirds.
  CHECK(std::abs(out[0] - (1 + 1.0F / 3) / 6) < 1e-6F);
  CHECK(out[1] == static_cast<float>(near.global_rate()) && out[2] == out[1]);
  with({4, 1.0}, false).score_embeddings(queries[1], 0, 1, out);
  CHECK(out[0] == static_cast<float>(near.global_rate()));
  with({1, 1.0}).score_embeddings(queries[0], 0, 1, out);  // a prompt without battles
  CHECK(out[0] == static_cast<float>(near.global_rate()));
  near.score_embeddings(nullptr, 0, 0, out);
  CHECK_THROWS(near.score("a"), InvalidArgument);
  CHECK(with({1000, 0}).global_rate() == near.global_rate());
  for (const Neighbourhood bad :
       {Neighbourhood{999, 0}, Neighbourhood{1, 0}, Neighbourhood{0, 1}, Neighbourhood{4, -1},
        Neighbourhood{4, static_cast<double>(kNaN)}, Neighbourhood{4, static_cast<double>(kInfinity)}}) {
    CHECK_THROWS(with(bad), InvalidArgument);
  }
  const int64_t ids[] = {0, static_cast<int64_t>(kPrompts)};
  const float similarities[] = {1.0F, 0.5F};
  CHECK_THROWS(near.score_neighbours({ids, similarities, 2}, 0, 1, out), InvalidArgument);
  CHECK_THROWS(with({}).score_neighbours({ids, similarities, 1}, 0, 1, out), InvalidArgument);
  return 18;
}

}  // namespace

int main() { return summary("neighbour arguments", check_nearest() + check_nearest_gains() + check_neighbour_elo()); }
