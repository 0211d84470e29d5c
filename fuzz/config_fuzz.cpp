// agx_open's URL and options, of any content and any size. What is accepted keeps the promises of
// agx.h, and its description is a URL of the same store. The input is a URL, then, after a NUL, the
// bytes of an options struct, whose strings are replaced by the texts that follow.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/config.h"
#include "base/json.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void CheckText(const std::string& text) {
  Require(agx::ValidateUtf8(text));
  for (char c : text) Require(c < 0 || (c >= ' ' && c != 0x7F));
}

void CheckConfig(const agx::Config& config) {
  for (const std::string& text :
       {config.host, config.path, config.name, config.user, config.password, config.prefix,
        config.client_name, config.tls_ca_file, config.tls_cert_file, config.tls_key_file,
        config.tls_server_name}) {
    CheckText(text);
  }
  Require(!config.host.empty() && config.port >= 1 && config.port <= 65535 && config.database >= 0);
  Require((config.kind == agx::StoreKind::kUnix) == !config.path.empty());
  Require(!config.prefix.empty() && config.prefix.size() <= 256 && !config.client_name.empty());
  Require(config.connect_timeout_ms > 0 && config.command_timeout_ms > 0);
  Require(config.reconnect_timeout_ms > 0 || config.reconnect_timeout_ms == -1);
  Require(config.reconnect_attempts > 0 && config.max_length >= 0 && config.expire_ms >= 0);
  Require(config.lease_ms >= 100 && config.lease_ms <= 86400000);
  Require(config.tls_cert_file.empty() == config.tls_key_file.empty());
}

void CheckDescription(const agx::Config& config) {
  std::string url = agx::Describe(config);
  CheckText(url);
  agx::Result<agx::Config> again = agx::ResolveConfig(url.c_str(), nullptr);
  Require(again.ok());
  Require(again->kind == config.kind && again->host == config.host && again->port == config.port);
  Require(again->path == config.path && again->name == config.name && again->tls == config.tls);
  Require(again->database == config.database);
  Require(again->user.empty() && again->password.empty());
}

void Resolve(const char* url, const agx_options* options) {
  agx::Result<agx::Config> config = agx::ResolveConfig(url, options);
  if (config.ok()) {
    CheckConfig(*config);
    CheckDescription(*config);
  } else {
    Require(config.status().code() == AGX_EINVAL);
    CheckText(config.status().message());
    Require(!config.status().message().empty());
  }
}

std::string TakeText(std::string_view* rest) {
  std::string text(rest->substr(0, rest->find('\0')));
  rest->remove_prefix(std::min(rest->size(), text.size() + 1));
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::string url = TakeText(&rest);
  Resolve(url.c_str(), nullptr);

  // A struct of the size that it says, up to what is there, so that no byte beyond it may be read.
  size_t claimed = sizeof(size_t);
  if (rest.size() >= 2) std::memcpy(&claimed, rest.data(), 2);
  claimed &= 0x1FF;
  std::vector<char> bytes(std::max(claimed, sizeof(size_t)));
  std::memcpy(bytes.data(), rest.data(), std::min(bytes.size(), rest.size()));
  std::memcpy(bytes.data(), &claimed, sizeof(claimed));
  rest.remove_prefix(std::min(bytes.size(), rest.size()));

  // Pointers are all or nothing: an option's text, or null.
  const char* agx_options::*texts[] = {
      &agx_options::prefix,       &agx_options::client_name,     &agx_options::user,
      &agx_options::password,     &agx_options::tls_ca_file,     &agx_options::tls_cert_file,
      &agx_options::tls_key_file, &agx_options::tls_server_name, &agx_options::format};
  std::vector<std::string> kept(std::size(texts));
  agx_options whole{};
  std::memcpy(&whole, bytes.data(), std::min(sizeof(whole), bytes.size()));
  for (size_t i = 0; i < std::size(texts); ++i) {
    kept[i] = TakeText(&rest);
    whole.*texts[i] = kept[i].empty() ? nullptr : kept[i].c_str();
  }
  whole.log = nullptr;
  std::memcpy(bytes.data(), &whole, std::min(sizeof(whole), bytes.size()));
  Resolve(url.c_str(), reinterpret_cast<const agx_options*>(bytes.data()));
  return 0;
}
