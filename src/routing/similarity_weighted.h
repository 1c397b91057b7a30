// Similarity-weighted Elo (arXiv 2406.18665, section 4.1): the battles of an index are weighed by the similarity of
// their prompts to the one at hand, and Bradley-Terry strengths of tiers of models are fitted to them.
//
// With s_i the cosine similarity to prompt i of the index and m the largest of them, battle i counts
//   base ** (s_i / m - 1)    normalised, as RouteLLM has it; with m <= 0 nothing is similar and all count alike
//   base ** (s_i - m)        otherwise
// and never less than 2 ** kLeastExponent. Its factor of 10 cancels in a fit by maximum likelihood.
//
// With a neighbourhood only the battles of the k nearest prompts count, by their exact similarities (nearest.h), and
// `shrinkage` battles of weight 1 spread over the cells as all battles are. The fit is among the tiers that these
// connect with the strong one; where the weak one is none of them, which shrinkage rules out, and where nothing is
// similar, the score is the win rate with all battles alike.
//
// The fit depends on the battles only through the sum of weights per cell (battle_counts.h), so a prompt costs one pass
// over the index and a solve of microseconds. Everything is in a fixed order: a prompt has the same bits alone and in
// any batch, on any number of threads and at every SIMD level.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "elo/bradley_terry.h"
#include "encoder/static_encoder.h"
#include "routing/battle_counts.h"
#include "routing/battle_moments.h"
#include "routing/nearest.h"
#include "routing/rounding_correction.h"
#include "routing/similarity_index.h"

namespace fastroute {

struct Temperature {
  double base = 10;
  bool normalised = true;
};

// Of prompts that count; 0 neighbours: all prompts.
struct Neighbourhood {
  size_t neighbours = 0;
  double shrinkage = 0;
};

struct SimilarityWorkspace : NearestWorkspace {
  std::vector<double> neighbour_weights;
  std::vector<float> weights;
  std::vector<double> sums, wins, strengths;
  elo::SolverWorkspace solver;
  std::vector<float> units, scratch;  // exact unit vectors of the queries
  std::vector<double> exponents;
  std::vector<int8_t> row;
};

// Scores this close to a threshold decide.
struct Near {
  double threshold, band;
};

// The win rate of a tier against another. Immutable once built but for workspaces; any number of threads may score
// at once.
class SimilarityWeighted {
 public:
  // The encoder may be null: then only embeddings can be scored. Moments may be null too; they take from the sums of an
  // index without a fine part what rounding moved all of a cell by, and their factors give approximate(). Throws
  // InvalidArgument where sizes or cells disagree, a tier is not in the counts, base is not in 1..kLargestBase, or no
  // chain of wins compares the tiers; where shrinkage is negative, not finite, or without neighbours; where neighbours
  // without shrinkage are fewer than kFewestNeighbours and than there are prompts, of whom most fits would be
  // ill-posed; where moments have factors although similarities are normalised, or although there is a neighbourhood.
  //
  // Where chains of wins lead only from one tier to the other, its win rate is 1 in the limit: that is the score of
  // every prompt. It is .5 for a tier against itself.
  SimilarityWeighted(std::shared_ptr<const SimilarityIndex> index, std::shared_ptr<const BattleCounts> counts,
                     std::shared_ptr<const StaticEncoder> encoder, size_t strong, size_t weak, Temperature temperature,
                     Neighbourhood neighbourhood = {}, std::shared_ptr<const BattleMoments> moments = nullptr);

  static constexpr double kLargestBase = 1e30;
  static constexpr size_t kFewestNeighbours = 1000;

  size_t dim() const noexcept { return index_->dim(); }

  // Whether every prompt has the same score, which is global_rate().
  bool constant() const noexcept { return constant_; }

  // The win rate with all weights alike.
  double global_rate() const noexcept { return global_rate_; }

  // Throws InvalidArgument without an encoder, and Error where the fit does not converge, as the others do.
  float score(std::string_view utf8) const;

  // Bit for bit what score() gives for each text, on up to num_threads() threads.
  void score_batch(const std::string_view* texts, size_t count, float* out) const;

  // `rows` is count x dim(), the first one called number `first` in messages. Throws InvalidArgument that names a row
  // with a NaN or Inf; `out` is then unspecified.
  void score_embeddings(const float* rows, size_t first, size_t count, float* out) const;

  // Scores from the neighbours of count queries, `all.k` of each, one after the other; bit for bit the score of the
  // embedding where they are its nearest rows. Throws InvalidArgument where there is no neighbourhood and as
  // require_neighbours() does, with `out` unspecified, and Error as score() does.
  void score_neighbours(const Neighbours& all, size_t first, size_t count, float* out) const;

  // The score with each cell's sum of weights from its moments, as if cosines were distributed normally: a cost that
  // does not depend on the number of battles. Else as the above; throw InvalidArgument without factors too.
  float approximate(std::string_view utf8) const;
  void approximate_batch(const std::string_view* texts, size_t count, float* out) const;
  void approximate_embeddings(const float* rows, size_t first, size_t count, float* out) const;

  // The approximation; where it is within near.band of near.threshold, the score. Throw InvalidArgument where one of
  // the two is not from 0 to 1.
  float score_near(std::string_view utf8, Near near) const;
  void score_batch_near(const std::string_view* texts, size_t count, Near near, float* out) const;
  void score_embeddings_near(const float* rows, size_t first, size_t count, Near near, float* out) const;

 private:
  // The largest dot * factor, and where a search for it may begin.
  struct Largest {
    float product;
    size_t begin;
  };

  void require_neighbourhood() const;
  void require_factors() const;
  void hold_moments(std::shared_ptr<const BattleMoments> moments);

  template <class Read>
  void near_passes(size_t count, const Read& read, float* out) const;
  void near_batch(const std::string_view* texts, size_t count, float* out) const;
  void near_embeddings(const float* rows, size_t first, size_t count, float* out) const;
  double rate_near(const Neighbours& neighbours, SimilarityWorkspace& workspace) const;

  template <class Read>
  void score_passes(size_t count, const Read& read, float* out) const;
  void score_queries(SimilarityWorkspace& workspace, float* out) const;
  double rate_of(const int32_t* dots, size_t query, SimilarityWorkspace& workspace) const;
  Largest largest_product(const int32_t* dots) const;
  double rate_of_sums(const std::vector<size_t>& among, SimilarityWorkspace& workspace) const;

  void read_queries(const float* rows, size_t first, size_t count, SimilarityWorkspace& workspace) const;
  double exact_best(const int32_t* dots, Largest largest, size_t query, SimilarityWorkspace& workspace) const;
  void correct_sums(const RoundingCorrection& correction, size_t query, double slope,
                    SimilarityWorkspace& workspace) const;
  template <class Read>
  void approximate_passes(size_t first, size_t count, const Read& read, float* out) const;
  double approximate_rate(const double* log_means, SimilarityWorkspace& workspace) const;

  std::shared_ptr<const SimilarityIndex> index_;
  std::shared_ptr<const BattleCounts> counts_;
  std::shared_ptr<const StaticEncoder> encoder_;
  double exponent_;  // log2(base)
  double log_base_;
  bool normalised_;
  Neighbourhood neighbourhood_;
  std::vector<size_t> sides_;  // those that the pair is connected with
  size_t strong_ = 0;          // places among them
  size_t weak_ = 0;
  std::vector<double> start_;  // their strengths with all weights alike: where each fit starts
  double global_rate_ = 0.5;
  bool constant_ = false;
  std::shared_ptr<const BattleMoments> moments_;
  std::optional<RoundingCorrection> correction_;  // where the index has no fine part
  mutable WorkspacePool<SimilarityWorkspace> workspaces_;
};

}  // namespace fastroute
