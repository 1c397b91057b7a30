// Matrix factorisation (arXiv 2406.18665, section 4.1): delta(m, e) = w . (v_m * (W e)) + b_m, and model a beats model
// b on a prompt with embedding e with probability sigmoid(delta(a, e) - delta(b, e)).
#pragma once

#include <cstddef>
#include <vector>

namespace fastroute {

// Immutable once built; any number of threads may use it at once.
class MatrixFactorization {
 public:
  // model_embedding v: models x rank; projection W: rank x dim; classifier w: rank; model_bias b: models; row-major.
  // Throws InvalidArgument where sizes disagree or a value is not finite.
  MatrixFactorization(std::vector<float> model_embedding, std::vector<float> projection, std::vector<float> classifier,
                      std::vector<float> model_bias);

  size_t models() const noexcept { return model_bias_.size(); }
  size_t dim() const noexcept { return dim_; }

  // A pair collapses to one vector and one bias: W^T (w * (v_a - v_b)) and b_a - b_b, worked out in double.
  struct Pair {
    std::vector<float> weights;
    float bias;
  };
  Pair pair(size_t a, size_t b) const;

  // out[i * models() + m] = delta(m, row i) for `count` embeddings, on up to num_threads() threads. Throws
  // InvalidArgument that names the first row with a NaN or Inf.
  void logits(const float* rows, size_t count, float* out) const;

 private:
  std::vector<double> collapse(const float* model, const float* minus) const;

  std::vector<float> model_embedding_;
  std::vector<float> projection_;
  std::vector<float> classifier_;
  std::vector<float> model_bias_;
  size_t dim_ = 0;
  std::vector<float> model_vectors_;  // W^T (w * v_m), models x dim
};

}  // namespace fastroute
