// What a prompt's surface says without understanding it: lengths, numbers, symbols, options, question words. One pass
// over the text, linear in its length, independent of the locale. docs/surface-features.md has the table.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace fastroute::text {

// Artifacts record it: weights of one version mean nothing for features of another.
constexpr int kSurfaceVersion = 1;
constexpr size_t kSurfaceFeatures = 29;
extern const std::array<std::string_view, kSurfaceFeatures> kSurfaceNames;

// Writes kSurfaceFeatures finite floats. "log" is ln(1 + x); the bits are the same on every machine.
void surface_features(std::string_view utf8, float* out);

}  // namespace fastroute::text
