// What moments of battles refuse, and what scores are made of them.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "check.h"
#include "routing/battle_moments.h"
#include "routing/similarity_weighted.h"
#include "runtime/error.h"

namespace {

using namespace fastroute;
using namespace fastroute::tests;
using Floats = std::vector<float>;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

long long check_battle_moments() {
  const std::vector<uint16_t> cells = {1, 3};
  const auto moments = [&](size_t rank, Floats means = {1, 0, 0, 1}) {
    return std::make_shared<const BattleMoments>(cells, 2, std::move(means), rank, Floats(2 * rank * 2, 0.0F));
  };
  CHECK(moments(3)->size() == 2 && moments(3)->rank() == 3);
  CHECK_THROWS(BattleMoments({}, 2, {}, 0, {}), InvalidArgument);
  CHECK_THROWS(BattleMoments({3, 1}, 2, Floats(4), 0, {}), InvalidArgument);
  CHECK_THROWS(BattleMoments({3, 3}, 2, Floats(4), 0, {}), InvalidArgument);
  CHECK_THROWS(BattleMoments({1}, 0, {}, 0, {}), InvalidArgument);
  CHECK_THROWS(BattleMoments({1}, kMostDimensions + 1, Floats(kMostDimensions + 1), 0, {}), InvalidArgument);
  CHECK_THROWS(BattleMoments({1}, 1, Floats(1), BattleMoments::kMostRank + 1, Floats(BattleMoments::kMostRank + 1)),
               InvalidArgument);
  CHECK_THROWS(BattleMoments(cells, 2, Floats(3), 0, {}), InvalidArgument);
  CHECK_THROWS(BattleMoments(cells, 2, Floats(4), 1, Floats(5)), InvalidArgument);
  for (const float bad : {kNaN, kInfinity, 1.001F, -1.001F}) {
    CHECK_THROWS(BattleMoments(cells, 2, {0, 0, 0, bad}, 0, {}), InvalidArgument);
    CHECK_THROWS(BattleMoments(cells, 2, Floats(4), 1, {0, 0, 0, bad}), InvalidArgument);
  }
  const std::vector<int8_t> rows = {127, 0, 0, 127};
  const auto index = std::make_shared<const SimilarityIndex>(rows.data(), nullptr, 2, 2, Floats(2, 1.0F / 127));
  const int64_t offsets[] = {0, 1, 2};
  const Floats ones(2, 1.0F);
  const auto counts = std::make_shared<const BattleCounts>(2, offsets, 2, cells.data(), ones.data(), 2);
  const auto scorer = [&](std::shared_ptr<const BattleMoments> held, bool normalised = false) {
    return SimilarityWeighted(index, counts, nullptr, 0, 1, {10, normalised}, {}, std::move(held));
  };
  // A prompt a cell: the moments say all. Weights 10 and 1, or equal ones.
  const auto exact = scorer(moments(2));
  const float queries[4][2] = {{2, 0}, {0, 3}, {1, 1}, {0, 0}};
  float out[4], near[4];
  exact.approximate_embeddings(queries[0], 0, 4, out);
  CHECK(std::abs(out[0] - 10.0F / 11) < 1e-6F && std::abs(out[1] - 1.0F / 11) < 1e-6F);
  CHECK(std::abs(out[2] - 0.5F) < 1e-6F && out[3] == 0.5F);
  exact.score_embeddings_near(queries[0], 0, 4, {0.5, 1}, near);
  exact.score_embeddings(queries[0], 0, 4, out);
  CHECK(std::equal(out, out + 4, near));
  exact.approximate_embeddings(nullptr, 0, 0, out);
  // The steepest weights there are, and factors as long as they may be: rates all the same.
  const BattleMoments longest(cells, 2, Floats(4, 1.0F), 1, {1, 1, -1, 1});
  const SimilarityWeighted steep(index, counts, nullptr, 0, 1, {1e30, false}, {},
                                 std::make_shared<const BattleMoments>(longest));
  steep.approximate_embeddings(queries[0], 0, 4, out);
  CHECK(std::ranges::all_of(out, [](float rate) { return rate >= 0 && rate <= 1; }));
  for (const double bad : {-0.1, 1.1, static_cast<double>(kNaN), static_cast<double>(kInfinity)}) {
    CHECK_THROWS(exact.score_embeddings_near(queries[0], 0, 4, {bad, 0.1}, out), InvalidArgument);
    CHECK_THROWS(exact.score_embeddings_near(queries[0], 0, 0, {0.5, bad}, out), InvalidArgument);
  }
  for (const float bad : {kNaN, kInfinity}) {
    const float row[2] = {1, bad};
    CHECK_THROWS(exact.approximate_embeddings(row, 0, 1, out), InvalidArgument);
  }
  CHECK_THROWS(exact.approximate("a"), InvalidArgument);
  CHECK_THROWS(exact.score_near("a", {0.5, 0.1}), InvalidArgument);
  for (const auto& without : {scorer(nullptr), scorer(moments(0)), scorer(moments(0), true)}) {
    CHECK_THROWS(without.approximate_embeddings(queries[0], 0, 4, out), InvalidArgument);
    CHECK_THROWS(without.score_embeddings_near(queries[0], 0, 0, {0.5, 0.1}, out), InvalidArgument);
  }
  CHECK_THROWS(scorer(moments(1), true), InvalidArgument);
  CHECK_THROWS(SimilarityWeighted(index, counts, nullptr, 0, 1, {10, false}, {2, 0}, moments(1)), InvalidArgument);
  const auto held = [&](std::vector<uint16_t> other, size_t dim) {
    const size_t count = other.size();
    return scorer(std::make_shared<const BattleMoments>(std::move(other), dim, Floats(count * dim), 0, Floats{}));
  };
  CHECK_THROWS(held({1}, 2), InvalidArgument);
  CHECK_THROWS(held({1, 2, 3}, 2), InvalidArgument);
  CHECK_THROWS(held({1, 3, 65535}, 2), InvalidArgument);
  CHECK_THROWS(held({1, 3}, 3), InvalidArgument);
  return 50;
}

}  // namespace

int main() { return summary("moments arguments", check_battle_moments()); }
