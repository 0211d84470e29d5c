#include "base/config.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/options.h"

namespace agx {
namespace {

constexpr const char* kDefaultUrl = "redis://127.0.0.1:6379";
constexpr size_t kPrefixMax = 256;
constexpr size_t kHostMax = 255;
constexpr size_t kPathMax = sizeof(sockaddr_un{}.sun_path) - 1;

Status Invalid(std::string message) { return Status(AGX_EINVAL, std::move(message)); }

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsHostCharacter(char c) {
  return IsLetter(c) || IsDigit(c) || c == '.' || c == '_' || c == '-';
}
bool IsControl(char c) { return (c >= 0 && c < ' ') || c == 0x7F; }

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// ---- What every text has to be, wherever it comes from.

Status CheckText(const std::string& what, std::string_view text) {
  if (std::any_of(text.begin(), text.end(), IsControl)) {
    return Invalid(Cat(what, " contains a control character: leave it out"));
  }
  if (!ValidateUtf8(text)) return Invalid(Cat(what, " is not UTF-8"));
  return Status();
}

Status Decode(const std::string& what, std::string_view text, std::string* out) {
  out->clear();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out->push_back(text[i]);
      continue;
    }
    int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
    if (low < 0) {
      return Invalid(Cat(
          what, " has a '%' without two hexadecimal digits after it: a '%' itself is written %25"));
    }
    out->push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return CheckText(what, *out);
}

// Digits, with a '-' before them or not, that fit.
bool ParseNumber(std::string_view text, int64_t* value) {
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, *value);
  return error == std::errc() && stop == end;
}

// ---- The URL. Messages quote nothing of it but the names of parameters: what stands where another
// part should be may be a password.

struct Parameter {
  std::string_view name;
  std::string value;
};

// Takes the text up to the first of `stops` off the front.
std::string_view TakeUntil(std::string_view* text, std::string_view stops) {
  std::string_view head = text->substr(0, text->find_first_of(stops));
  text->remove_prefix(head.size());
  return head;
}

Status CheckCharacters(std::string_view url) {
  if (auto status = CheckText("it", url); !status.ok()) return status;
  if (url.find(' ') != std::string_view::npos) {
    return Invalid("it contains a space: write a space as %20");
  }
  if (url.find('#') != std::string_view::npos) {
    return Invalid("it contains a '#', which would begin a fragment: write a '#' as %23");
  }
  return Status();
}

Status ReadScheme(std::string_view* url, Config* config) {
  std::string scheme(url->substr(0, url->find(':')));
  std::transform(scheme.begin(), scheme.end(), scheme.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  std::string_view slashes = "//";
  if (scheme == "redis" || scheme == "rediss") {
    config->kind = StoreKind::kRedis;
    config->tls = scheme == "rediss";
  } else if (scheme == "unix") {
    config->kind = StoreKind::kUnix;
    slashes = "///";
  } else if (scheme == "memory") {
    config->kind = StoreKind::kMemory;
    slashes = "";
  } else {
    return Invalid(
        "it begins with none of redis://, rediss://, unix:/// and memory: "
        "write redis://host:port, for example");
  }
  url->remove_prefix(std::min(url->size(), scheme.size()));
  if (!url->starts_with(':') || !url->substr(1).starts_with(slashes)) {
    return Invalid(Cat("after the scheme comes \":", slashes, "\", as in ", scheme, ":", slashes,
                       config->kind == StoreKind::kRedis  ? "host:6379"
                       : config->kind == StoreKind::kUnix ? "run/redis.sock"
                                                          : "name"));
  }
  // A path keeps its first slash.
  url->remove_prefix(config->kind == StoreKind::kRedis || config->kind == StoreKind::kUnix ? 3 : 1);
  return Status();
}

Status ReadUserInfo(std::string_view text, Config* config) {
  size_t colon = text.find(':');
  if (auto status = Decode("the user", text.substr(0, colon), &config->user); !status.ok()) {
    return status;
  }
  if (colon == std::string_view::npos) return Status();
  return Decode("the password", text.substr(colon + 1), &config->password);
}

Status ReadPort(std::string_view text, Config* config) {
  int64_t port = 0;
  bool digits = !text.empty() && text.size() <= 5 && std::all_of(text.begin(), text.end(), IsDigit);
  if (!digits || !ParseNumber(text, &port) || port < 1 || port > 65535) {
    return Invalid(
        "the port is not a number from 1 to 65535 (an IPv6 address is written in brackets, [::1]; "
        "in a user or password write '/' as %2F and '?' as %3F)");
  }
  config->port = static_cast<int>(port);
  return Status();
}

// An IPv6 address, its zone after "%25" as RFC 6874 has it.
Status ReadAddress(std::string_view text, Config* config) {
  std::string_view address = text.substr(0, text.find('%'));
  std::string_view zone = text.substr(address.size());
  in6_addr parsed;
  if (inet_pton(AF_INET6, std::string(address).c_str(), &parsed) != 1) {
    return Invalid("what is in brackets is not an IPv6 address, such as [::1]");
  }
  config->host = address;
  if (zone.empty()) return Status();
  if (!zone.starts_with("%25") || zone.size() == 3 ||
      !std::all_of(zone.begin() + 3, zone.end(), IsHostCharacter)) {
    return Invalid("the IPv6 address's zone is not written as in [fe80::1%25eth0]");
  }
  config->host += Cat("%", zone.substr(3));
  return Status();
}

Status ReadHostName(std::string_view text, Config* config) {
  if (text.empty()) return Status();
  if (text.size() > kHostMax || !std::all_of(text.begin(), text.end(), IsHostCharacter)) {
    return Invalid(
        "the host is not a name or an address: it has letters, digits, '.', '-' and '_', at most "
        "255 of them");
  }
  config->host = text;
  return Status();
}

// [user[:password]@][host][:port]
Status ReadAuthority(std::string_view text, Config* config) {
  if (size_t at = text.rfind('@'); at != std::string_view::npos) {
    if (auto status = ReadUserInfo(text.substr(0, at), config); !status.ok()) return status;
    text.remove_prefix(at + 1);
  }
  bool bracketed = text.starts_with('[');
  size_t host_end = bracketed ? text.find(']') : text.find(':');
  if (bracketed && host_end == std::string_view::npos) {
    return Invalid("a ']' is missing after the IPv6 address");
  }
  std::string_view port = host_end == std::string_view::npos ? "" : text.substr(host_end);
  std::string_view host = text.substr(0, host_end);
  if (bracketed) {
    host.remove_prefix(1);
    port.remove_prefix(1);
  }
  if (auto status = bracketed ? ReadAddress(host, config) : ReadHostName(host, config);
      !status.ok()) {
    return status;
  }
  if (port.empty()) return Status();
  if (port[0] != ':') return Invalid("after the ']' comes nothing, \":port\", '/' or '?'");
  return ReadPort(port.substr(1), config);
}

Status ReadDatabase(std::string_view text, Config* config) {
  int64_t database = 0;
  bool digits = !text.empty() && std::all_of(text.begin(), text.end(), IsDigit);
  if (!digits || !ParseNumber(text, &database) || database > INT32_MAX) {
    return Invalid("the database is not a number, as in redis://host/0 or unix:///path?db=0");
  }
  config->database = static_cast<int>(database);
  return Status();
}

Status ReadPath(std::string_view text, Config* config) {
  std::string path;
  if (config->kind == StoreKind::kMemory) {
    if (text.starts_with("//")) return Invalid("a memory store is written memory:name");
    return Decode("the name", text, &config->name);
  }
  if (auto status = Decode("the path", text, &path); !status.ok()) return status;
  if (config->kind == StoreKind::kRedis) {
    return path.size() <= 1 ? Status() : ReadDatabase(std::string_view(path).substr(1), config);
  }
  if (path.size() > kPathMax) {
    return Invalid(
        Cat("the path has more than the ", kPathMax, " bytes that a Unix socket's may have"));
  }
  if (path.ends_with('/')) {
    return Invalid("the path names no socket: write unix:///run/redis.sock, for example");
  }
  config->path = std::move(path);
  return Status();
}

// ---- Settings: what can be said by a parameter of the URL and by an option.

struct TextSetting {
  const char* parameter;
  const char* option;
  const char* agx_options::*given;
  std::string Config::*target;
};

constexpr TextSetting kTexts[] = {
    {"prefix", "prefix", &agx_options::prefix, &Config::prefix},
    {"format", "format", &agx_options::format, &Config::format},
    {"client_name", "client_name", &agx_options::client_name, &Config::client_name},
    {"user", "user", &agx_options::user, &Config::user},
    {"tls_ca", "tls_ca_file", &agx_options::tls_ca_file, &Config::tls_ca_file},
    {"tls_cert", "tls_cert_file", &agx_options::tls_cert_file, &Config::tls_cert_file},
    {"tls_key", "tls_key_file", &agx_options::tls_key_file, &Config::tls_key_file},
    {"tls_server_name", "tls_server_name", &agx_options::tls_server_name, &Config::tls_server_name},
};

// 0 is the default, whatever the least is.
struct NumberSetting {
  const char* parameter;
  const char* option;
  int64_t agx_options::*given;
  int64_t Config::*target;
  int64_t least;
  int64_t most;
};

constexpr NumberSetting kNumbers[] = {
    {"connect_timeout", "connect_timeout_ms", &agx_options::connect_timeout_ms,
     &Config::connect_timeout_ms, 1, INT64_MAX},
    {"command_timeout", "command_timeout_ms", &agx_options::command_timeout_ms,
     &Config::command_timeout_ms, 1, INT64_MAX},
    {"reconnect_timeout", "reconnect_timeout_ms", &agx_options::reconnect_timeout_ms,
     &Config::reconnect_timeout_ms, -1, INT64_MAX},
    {"reconnect_attempts", "reconnect_attempts", &agx_options::reconnect_attempts,
     &Config::reconnect_attempts, 1, INT64_MAX},
    {"lease", "lease_ms", &agx_options::lease_ms, &Config::lease_ms, 100, 86400000},
    {"max_length", "max_length", &agx_options::max_length, &Config::max_length, 1, INT64_MAX},
    {"expire", "expire_ms", &agx_options::expire_ms, &Config::expire_ms, 1, INT64_MAX},
};

constexpr const char* kTlsInsecure = "tls_insecure";
constexpr const char* kDatabase = "db";

bool IsParameter(std::string_view name) {
  auto named = [name](const auto& setting) { return name == setting.parameter; };
  return name == kTlsInsecure || name == kDatabase ||
         std::any_of(std::begin(kTexts), std::end(kTexts), named) ||
         std::any_of(std::begin(kNumbers), std::end(kNumbers), named);
}

// Settings that are there but not for this kind of URL.
Status CheckPlace(std::string_view name, const Config& config) {
  if (name == kDatabase && config.kind != StoreKind::kUnix) {
    return Invalid("db is a parameter of unix:// alone: write redis://host/N");
  }
  if (name.starts_with("tls_") && !config.tls) {
    return Invalid(Cat("the parameter ", name, " needs TLS: write rediss://"));
  }
  if (name == "user" && !config.user.empty()) {
    return Invalid(
        "it names a user twice, before the '@' and as a parameter: leave one of them out");
  }
  return Status();
}

Status CheckKnown(std::string_view name) {
  if (IsParameter(name)) return Status();
  if (name == "password") {
    return Invalid(
        "the password is no parameter: write it before the '@', or set agx_options.password");
  }
  constexpr std::string_view kMillis = "_ms";  // which members of agx_options have for their unit
  if (name.ends_with(kMillis)) {
    std::string_view meant = name.substr(0, name.size() - kMillis.size());
    if (IsParameter(meant)) return Invalid(Cat("there is no parameter ", name, ", but ", meant));
  }
  bool quotable = name.size() <= 64 && std::all_of(name.begin(), name.end(), IsHostCharacter);
  return Invalid(Cat("there is no parameter ", quotable ? name : "of such a name",
                     ": agx_options in agx.h names those that there are"));
}

// name=value. One that is not a setting is taken at once.
Status ReadParameter(std::string_view text, Config* config, std::vector<Parameter>* parameters) {
  std::string_view name = TakeUntil(&text, "=");
  if (name.empty() || text.empty()) {
    return Invalid("what follows the '?' is not name=value, separated by '&'");
  }
  if (auto status = CheckKnown(name); !status.ok()) return status;
  if (auto status = CheckPlace(name, *config); !status.ok()) return status;
  auto same = [name](const Parameter& other) { return other.name == name; };
  if (std::any_of(parameters->begin(), parameters->end(), same)) {
    return Invalid(Cat("the parameter ", name, " is given twice"));
  }
  parameters->push_back({name, ""});
  std::string& value = parameters->back().value;
  if (auto status = Decode(Cat("the parameter ", name), text.substr(1), &value); !status.ok()) {
    return status;
  }
  return name == kDatabase ? ReadDatabase(value, config) : Status();
}

Status ReadParameters(std::string_view text, Config* config, std::vector<Parameter>* parameters) {
  while (!text.empty()) {
    std::string_view parameter = TakeUntil(&text, "&");
    if (!text.empty()) text.remove_prefix(1);
    if (auto status = ReadParameter(parameter, config, parameters); !status.ok()) return status;
  }
  return Status();
}

Status ReadUrl(std::string_view url, Config* config, std::vector<Parameter>* parameters) {
  if (auto status = CheckCharacters(url); !status.ok()) return status;
  if (auto status = ReadScheme(&url, config); !status.ok()) return status;
  if (config->kind == StoreKind::kRedis) {
    auto status = ReadAuthority(TakeUntil(&url, "/?"), config);
    if (!status.ok()) return status;
    // Else a part of a password could pass for the host, and be named in messages.
    if (url.find('@') != std::string_view::npos) {
      return Invalid(
          "there is an '@' after the host: in a user or password write '/' as %2F and '?' as %3F, "
          "and an '@' anywhere else as %40");
    }
  }
  if (auto status = ReadPath(TakeUntil(&url, "?"), config); !status.ok()) return status;
  if (!url.empty()) url.remove_prefix(1);
  return ReadParameters(url, config, parameters);
}

// ---- The settings' values, with the URL's first.

struct Sources {
  std::string url_name;
  std::vector<Parameter> parameters;
  agx_options options;

  const Parameter* Find(std::string_view name) const {
    for (const Parameter& parameter : parameters) {
      if (parameter.name == name) return &parameter;
    }
    return nullptr;
  }
  // How messages call a setting.
  std::string ParameterName(const char* name) const {
    return Cat(url_name, ": the parameter ", name);
  }
};

Status ReadText(const Sources& sources, const TextSetting& setting, Config* config) {
  std::string& target = config->*setting.target;
  std::string what;
  if (const Parameter* parameter = sources.Find(setting.parameter)) {
    what = sources.ParameterName(setting.parameter);
    target = parameter->value;
  } else if (const char* option = sources.options.*setting.given; option != nullptr) {
    // A user before the '@' wins too.
    if (setting.target == &Config::user && !target.empty()) return Status();
    what = Cat("agx_options.", setting.option);
    target = option;
  } else {
    return Status();
  }
  if (target.empty() && setting.target != &Config::user) {
    return Invalid(Cat(what, " is empty: leave it out for the default"));
  }
  return CheckText(what, target);
}

Status ReadNumber(const Sources& sources, const NumberSetting& setting, Config* config) {
  std::string what = Cat("agx_options.", setting.option);
  int64_t value = sources.options.*setting.given;
  if (const Parameter* parameter = sources.Find(setting.parameter)) {
    what = sources.ParameterName(setting.parameter);
    if (!ParseNumber(parameter->value, &value)) {
      return Invalid(Cat(what, " is not a whole number of at most 64 bits"));
    }
  }
  if (value == 0) return Status();
  if (value < setting.least || value > setting.most) {
    std::string range = setting.most == INT64_MAX
                            ? Cat("less than ", setting.least)
                            : Cat("not from ", setting.least, " to ", setting.most);
    return Invalid(Cat(what, " is ", value, ", which is ", range, " (0 is the default)"));
  }
  config->*setting.target = value;
  return Status();
}

Status ReadTls(const Sources& sources, Config* config) {
  int64_t insecure = sources.options.tls_insecure;
  std::string what = "agx_options.tls_insecure";
  if (const Parameter* parameter = sources.Find(kTlsInsecure)) {
    what = sources.ParameterName(kTlsInsecure);
    if (!ParseNumber(parameter->value, &insecure)) insecure = -1;
  }
  if (insecure != 0 && insecure != 1) return Invalid(Cat(what, " is neither 0 nor 1"));
  config->tls_insecure = insecure == 1;
  if (config->tls_cert_file.empty() != config->tls_key_file.empty()) {
    return Invalid(
        config->tls_key_file.empty()
            ? "tls_cert is given without tls_key: give the file of the certificate's key too"
            : "tls_key is given without tls_cert: give the file of the key's certificate too");
  }
  if (config->tls_server_name.empty()) config->tls_server_name = config->host;
  return Status();
}

Status ReadPassword(const agx_options& options, Config* config) {
  if (!config->password.empty() || options.password == nullptr) return Status();
  config->password = options.password;
  return CheckText("agx_options.password", config->password);
}

Status ReadLog(const agx_options& options, Config* config) {
  if (options.log_level < AGX_LOG_ERROR || options.log_level > AGX_LOG_DEBUG) {
    return Invalid(Cat("agx_options.log_level is ", options.log_level,
                       ", which is no agx_log_level: 0 (errors) to 3 (debug)"));
  }
  config->log_level = static_cast<agx_log_level>(options.log_level);
  config->log = options.log;
  config->log_data = options.log_data;
  return Status();
}

// Limits of single texts, wherever they were given.
Status CheckNames(const Config& config) {
  if (config.prefix.size() > kPrefixMax) {
    return Invalid(Cat("the prefix has more than ", kPrefixMax, " bytes"));
  }
  // What the server accepts for CLIENT SETNAME.
  auto allowed = [](char c) { return c > ' ' && c < 0x7F; };
  if (!std::all_of(config.client_name.begin(), config.client_name.end(), allowed)) {
    return Invalid("client_name may have ASCII letters, digits and punctuation, but no spaces");
  }
  return Status();
}

Status ReadSettings(const Sources& sources, Config* config) {
  for (const TextSetting& setting : kTexts) {
    if (auto status = ReadText(sources, setting, config); !status.ok()) return status;
  }
  for (const NumberSetting& setting : kNumbers) {
    if (auto status = ReadNumber(sources, setting, config); !status.ok()) return status;
  }
  // Beyond what a clock can tell is never.
  if (config->expire_ms > kLongestWaitMs) config->expire_ms = 0;
  if (auto status = ReadPassword(sources.options, config); !status.ok()) return status;
  if (auto status = ReadTls(sources, config); !status.ok()) return status;
  if (auto status = ReadLog(sources.options, config); !status.ok()) return status;
  return CheckNames(*config);
}

// Percent-encodes what would end the part, or could not be read back.
std::string Encode(std::string_view text) {
  std::string encoded;
  for (char c : text) {
    if (c == '%' || c == '?' || c == '#' || c == ' ') {
      constexpr char kHex[] = "0123456789ABCDEF";
      encoded += '%';
      encoded += kHex[static_cast<unsigned char>(c) >> 4];
      encoded += kHex[c & 0xF];
    } else {
      encoded += c;
    }
  }
  return encoded;
}

std::string DescribeHost(const std::string& host) {
  if (host.find(':') == std::string::npos) return host;
  return Cat("[", Encode(host), "]");
}

}  // namespace

Result<Config> ResolveConfig(const char* url, const agx_options* options) {
  constexpr agx_options kDefaults = AGX_OPTIONS_INIT;
  Sources sources{"the URL", {}, kDefaults};
  if (auto status = ReadOptions(options, kDefaults, &sources.options); !status.ok()) return status;
  if (url == nullptr) {
    url = std::getenv("AGX_URL");
    sources.url_name = "$AGX_URL";
    if (url == nullptr || *url == '\0') url = kDefaultUrl;
  }
  Config config;
  if (auto status = ReadUrl(url, &config, &sources.parameters); !status.ok()) {
    return Invalid(Cat(sources.url_name, ": ", status.message()));
  }
  if (auto status = ReadSettings(sources, &config); !status.ok()) return status;
  return config;
}

std::string Describe(const Config& config) {
  switch (config.kind) {
    case StoreKind::kMemory:
      // A name that begins with "//" reads as another kind of URL.
      if (config.name.starts_with("//")) return Cat("memory:%2F", Encode(config.name.substr(1)));
      return Cat("memory:", Encode(config.name));
    case StoreKind::kUnix:
      return Cat("unix://", Encode(config.path),
                 config.database != 0 ? Cat("?db=", config.database) : "");
    case StoreKind::kRedis:
      break;
  }
  return Cat(config.tls ? "rediss://" : "redis://", DescribeHost(config.host), ":", config.port,
             config.database != 0 ? Cat("/", config.database) : "");
}

}  // namespace agx
