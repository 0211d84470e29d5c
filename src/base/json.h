// JSON and UTF-8, as far as a library needs them that carries JSON and does not read it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace agx {

// The deepest nesting that ValidateJson can follow, whatever it is asked for.
inline constexpr size_t kJsonDepthLimit = 4096;

struct JsonError {
  size_t offset = 0;  // of the byte that cannot be there; the text's size if it ends too early
  const char* reason = "";  // static, such as "a comma or ']' is missing"
};

// Is the text exactly one JSON value (RFC 8259, whitespace around it allowed), in strict UTF-8, its
// arrays and objects nested at most max_depth deep? Allocates nothing. Escaped surrogates need not
// come in pairs: the RFC's grammar does not ask for it. `error` may be null.
bool ValidateJson(std::string_view text, size_t max_depth, JsonError* error);
// The same of what Python's json writes and reads: NaN, Infinity and -Infinity are numbers as well.
bool ValidatePythonJson(std::string_view text, size_t max_depth);

// No overlong forms, no surrogates, nothing above U+10FFFF.
bool ValidateUtf8(std::string_view text);
// Appends the text with U+FFFD for what is not UTF-8.
void AppendRepaired(std::string_view text, std::string* out);

// Appends the text as a JSON string with its quotes. Control characters are escaped; what is not
// UTF-8 becomes U+FFFD, so that the result is always valid.
void AppendJsonString(std::string_view text, std::string* out);

// How many bytes that appends, or somewhat more where the text is not UTF-8.
size_t JsonStringSize(std::string_view text);

// The same in ASCII alone: everything else as \uXXXX, as Python's json.dumps writes it by default.
void AppendJsonStringAscii(std::string_view text, std::string* out);

// Appends JSON that is known to be valid, with the line breaks between its tokens turned to spaces.
void AppendJsonOneLine(std::string_view json, std::string* out);

// The same without any whitespace between its tokens.
void AppendJsonCompact(std::string_view json, std::string* out);

}  // namespace agx
