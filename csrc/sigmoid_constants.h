// exp(-t) for t in [0, 104], as every level computes it: -t = k ln 2 + r, |r| <= ln(2) / 2, and a Taylor polynomial
// in r. Its first dropped term is r^10 / 10! < 7e-12, far below the float that the result is rounded to.
#pragma once

namespace fastroute::kernels {

// exp(-104) is below half the smallest denormal float, so larger t round to the same result.
constexpr double kLargestExponent = 104.0;
constexpr double kLog2E = 1.4426950408889634;
constexpr double kLn2High = 0.693147180369123816490;  // 32 trailing zero bits: k * kLn2High is exact
constexpr double kLn2Low = 1.90821492927058770002e-10;
// Adding this rounds a small double to an integer and leaves that integer in the low bits.
constexpr double kRoundingShift = 6755399441055744.0;  // 1.5 * 2^52
constexpr int kDegree = 9;
constexpr double kExpTaylor[kDegree + 1] = {1.0,       1.0,       1.0 / 2,    1.0 / 6,     1.0 / 24,
                                            1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880};

}  // namespace fastroute::kernels
