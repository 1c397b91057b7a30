#include <pybind11/stl.h>

#include <limits>
#include <memory>
#include <optional>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "encoder/static_encoder.h"
#include "runtime/error.h"

namespace fastroute::bindings {
namespace {

using text::WordPiece;
using text::WordPieceOptions;

std::shared_ptr<WordPiece> make_wordpiece(const std::vector<std::string>& tokens, int32_t unknown_id,
                                          const std::vector<std::pair<std::string, int32_t>>& special_tokens,
                                          std::string continuation_prefix, size_t max_word_chars, bool clean_text,
                                          bool handle_chinese_chars, bool strip_accents, bool lowercase) {
  WordPieceOptions options;
  options.clean_text = clean_text;
  options.handle_chinese_chars = handle_chinese_chars;
  options.strip_accents = strip_accents;
  options.lowercase = lowercase;
  options.max_word_chars = max_word_chars;
  options.unknown_id = unknown_id;
  options.continuation_prefix = std::move(continuation_prefix);
  options.special_tokens = special_tokens;
  return std::make_shared<WordPiece>(tokens, std::move(options));
}

void require_str(py::handle object) {
  if (!PyUnicode_Check(object.ptr())) {
    throw InvalidType("prompt: found " + type_name(object) + ", allowed: str");
  }
}

py::list tokenize(const WordPiece& tokenizer, py::handle prompt, std::optional<size_t> max_tokens) {
  require_str(prompt);
  text::Workspace& workspace = thread_workspace();
  std::string storage;
  const std::string_view text = utf8_of(prompt, storage);
  const size_t limit = max_tokens.value_or(std::numeric_limits<size_t>::max());
  if (text.size() > kBytesWorthReleasing) {
    const py::gil_scoped_release release;
    tokenizer.encode(text, limit, workspace);
  } else {
    tokenizer.encode(text, limit, workspace);
  }
  py::list ids = py::cast(workspace.ids);
  trim(workspace);
  return ids;
}

std::shared_ptr<StaticEncoder> make_static_encoder(std::shared_ptr<WordPiece> tokenizer, py::handle embedding,
                                                   py::handle scale, size_t max_tokens) {
  const auto rows = array_of<int8_t>(embedding, "embedding", 2);
  const auto scales = array_of<float>(scale, "scale", 1);
  return std::make_shared<StaticEncoder>(std::move(tokenizer),
                                         std::vector<int8_t>(rows.data(), rows.data() + rows.size()),
                                         std::vector<float>(scales.data(), scales.data() + scales.size()), max_tokens);
}

py::array_t<float> embed(const StaticEncoder& encoder, py::handle prompts) {
  const Prompts batch(prompts);
  py::array_t<float> out({batch.texts().size(), encoder.dim()});
  float* rows = out.mutable_data();
  for_slices(batch, [&](size_t begin, size_t end) {
    encoder.embed_batch(batch.texts().data() + begin, end - begin, rows + begin * encoder.dim());
  });
  return out;
}

}  // namespace

void bind_encoder(py::module_& module) {
  py::class_<WordPiece, std::shared_ptr<WordPiece>>(module, "WordPiece")
      .def(py::init(&make_wordpiece), py::arg("tokens"), py::kw_only(), py::arg("unknown_id"),
           py::arg("special_tokens"), py::arg("continuation_prefix"), py::arg("max_word_chars"), py::arg("clean_text"),
           py::arg("handle_chinese_chars"), py::arg("strip_accents"), py::arg("lowercase"))
      .def("encode", &tokenize, py::arg("prompt"), py::arg("max_tokens") = std::nullopt)
      .def_property_readonly("vocabulary_size", &WordPiece::vocabulary_size);

  py::class_<StaticEncoder, std::shared_ptr<StaticEncoder>>(module, "StaticEncoder")
      .def(py::init(&make_static_encoder), py::arg("tokenizer"), py::arg("embedding"), py::arg("scale"), py::kw_only(),
           py::arg("max_tokens"))
      .def("embed", &embed, py::arg("prompts"))
      .def_property_readonly("dim", &StaticEncoder::dim)
      .def_property_readonly("max_tokens", &StaticEncoder::max_tokens);
}

}  // namespace fastroute::bindings
