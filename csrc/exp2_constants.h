// Constants of the power of two, and what each step is for.
#pragma once

#include <stdint.h>

namespace fastroute::kernels {

constexpr float kExp2Shift = 12582912.0F;  // 1.5 * 2^23: added, it rounds to a whole number in the low bits
constexpr int kExp2Degree = 7;
// ln(2)^k / k!: 2^f for |f| <= 1/2
constexpr float kExp2Taylor[kExp2Degree + 1] = {1.0F,           0.693147181F,   0.240226507F,    0.0555041087F,
                                                0.00961812911F, 0.00133335581F, 0.000154035304F, 1.52527338e-05F};

}  // namespace fastroute::kernels
