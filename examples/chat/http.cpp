#include "http.h"

#include <cjson/cJSON.h>
#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <exception>
#include <memory>

namespace chat {
namespace {

using Clock = std::chrono::steady_clock;

// How soon a wish to stop is noticed while the server is silent.
constexpr int kAttentionMs = 20;
constexpr long kConnectMs = 30000;
constexpr size_t kErrorBodyMax = size_t{64} * 1024;
constexpr size_t kQuotedMax = 300;

template <class T, auto Free>
struct Freer {
  void operator()(T* object) const { Free(object); }
};
using Easy = std::unique_ptr<CURL, Freer<CURL, curl_easy_cleanup>>;
using Multi = std::unique_ptr<CURLM, Freer<CURLM, curl_multi_cleanup>>;
using List = std::unique_ptr<curl_slist, Freer<curl_slist, curl_slist_free_all>>;
using Url = std::unique_ptr<CURLU, Freer<CURLU, curl_url_cleanup>>;
using Text = std::unique_ptr<char, Freer<void, curl_free>>;
using Json = std::unique_ptr<cJSON, Freer<cJSON, cJSON_Delete>>;

std::string Part(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return {};
  return Text(text).get();
}

// Who is talked to, without what else a URL may hold: a password, for one.
std::string HostOf(const std::string& address) {
  const Url url(curl_url());
  if (curl_url_set(url.get(), CURLUPART_URL, address.c_str(), 0) != CURLUE_OK) return address;
  const std::string port = Part(url.get(), CURLUPART_PORT);
  return Part(url.get(), CURLUPART_HOST) + (port.empty() ? "" : ":" + port);
}

// On one line, and not too much of it; cut between characters.
std::string Quotable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool begins = (byte & 0xC0) != 0x80;
    if (out.size() >= kQuotedMax && (begins || out.size() > kQuotedMax + 3)) return out + " …";
    if (byte > ' ') {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

const cJSON* Member(const cJSON* object, const char* name) {
  return cJSON_GetObjectItem(object, name);
}

// What the server says is wrong, in the forms that are in use.
std::string ErrorIn(const std::string& body) {
  const Json json(cJSON_ParseWithLength(body.data(), body.size()));
  const cJSON* error = Member(json.get(), "error");
  for (const cJSON* said : {Member(error, "message"), error, Member(json.get(), "message"),
                            Member(json.get(), "detail")}) {
    if (const char* text = cJSON_GetStringValue(said)) return Quotable(text);
  }
  return Quotable(body);
}

class Transfer {
 public:
  Transfer(const Post& post, const std::function<bool(std::string_view)>& take)
      : post_(post), take_(take), easy_(curl_easy_init()), multi_(curl_multi_init()) {
    if (!easy_ || !multi_) throw std::bad_alloc();
    for (const std::string& header : post.headers) AddHeader(header.c_str());
    AddHeader("Expect:");  // do not ask whether a long conversation may be sent
    Set(CURLOPT_URL, post.url.c_str());
    Set(CURLOPT_PROTOCOLS_STR, "http,https");
    Set(CURLOPT_HTTPHEADER, headers_.get());
    Set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(post.body.size()));
    Set(CURLOPT_POSTFIELDS, post.body.c_str());
    Set(CURLOPT_WRITEFUNCTION, &Transfer::OnBytes);
    Set(CURLOPT_WRITEDATA, this);
    Set(CURLOPT_ERRORBUFFER, problem_.data());
    Set(CURLOPT_CONNECTTIMEOUT_MS, kConnectMs);
    Set(CURLOPT_NOSIGNAL, 1L);
    Set(CURLOPT_QUICK_EXIT, 1L);  // do not wait for a name server when stopped
    curl_multi_add_handle(multi_.get(), easy_.get());
  }
  ~Transfer() { curl_multi_remove_handle(multi_.get(), easy_.get()); }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  PostResult Run(const Stop& stop) {
    int running = 1;
    for (;;) {
      curl_multi_perform(multi_.get(), &running);
      if (running == 0) return Finished();
      if (stop()) return {true, {}};
      if (Clock::now() - heard_ > post_.patience) return {false, Silent()};
      curl_multi_poll(multi_.get(), nullptr, 0, kAttentionMs, nullptr);
    }
  }

 private:
  template <class Value>
  void Set(CURLoption option, Value value) {
    if (curl_easy_setopt(easy_.get(), option, value) == CURLE_OUT_OF_MEMORY) throw std::bad_alloc();
  }

  void AddHeader(const char* header) {
    curl_slist* longer = curl_slist_append(headers_.get(), header);
    if (!longer) throw std::bad_alloc();
    (void)headers_.release();
    headers_.reset(longer);
  }

  static size_t OnBytes(char* bytes, size_t, size_t count, void* self) {
    auto* transfer = static_cast<Transfer*>(self);
    try {
      return transfer->Take({bytes, count}) ? count : CURL_WRITEFUNC_ERROR;
    } catch (const std::exception& error) {  // libcurl is C
      transfer->failure_ = error.what();
      return CURL_WRITEFUNC_ERROR;
    }
  }

  bool Take(std::string_view bytes) {
    heard_ = Clock::now();
    if (IsSuccess()) {
      enough_ = !take_(bytes);
      return !enough_;
    }
    error_body_ += bytes.substr(0, kErrorBodyMax - error_body_.size());
    return error_body_.size() < kErrorBodyMax;
  }

  long HttpStatus() const {
    long status = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
    return status;
  }
  bool IsSuccess() const { return HttpStatus() / 100 == 2; }

  PostResult Finished() {
    int left = 0;
    const CURLMsg* message = curl_multi_info_read(multi_.get(), &left);
    const CURLcode code = message ? message->data.result : CURLE_OUT_OF_MEMORY;
    if (enough_) return {true, {}};
    if (!failure_.empty()) return {false, failure_};
    if (HttpStatus() != 0 && !IsSuccess()) return {false, Refused()};
    if (code == CURLE_OK) return {};
    const std::string_view problem = problem_.data();
    return {false, HostOf(post_.url) + ": " +
                       (problem.empty() ? curl_easy_strerror(code) : std::string(problem))};
  }

  std::string Refused() const {
    const long status = HttpStatus();
    std::string text = HostOf(post_.url) + " answers with HTTP status " + std::to_string(status);
    const std::string said = ErrorIn(error_body_);
    if (!said.empty()) text += ": " + said;
    curl_off_t wait = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_RETRY_AFTER, &wait);
    if (wait > 0) text += " (try again in " + std::to_string(wait) + " s)";
    return text;
  }

  std::string Silent() const {
    const auto seconds = std::chrono::duration<double>(post_.patience).count();
    std::array<char, 40> text = {};
    snprintf(text.data(), text.size(), "%g s", seconds);
    return HostOf(post_.url) + " has been silent for " + text.data();
  }

  const Post& post_;
  const std::function<bool(std::string_view)>& take_;
  List headers_;
  std::array<char, CURL_ERROR_SIZE> problem_ = {};
  Clock::time_point heard_ = Clock::now();
  bool enough_ = false;
  std::string failure_;     // an exception's
  std::string error_body_;  // of an answer that is no success
  const Easy easy_;
  const Multi multi_;
};

}  // namespace

PostResult Send(const Post& post, const std::function<bool(std::string_view)>& take,
                const Stop& stop) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (ready != CURLE_OK) return {false, curl_easy_strerror(ready)};
  return Transfer(post, take).Run(stop);
}

std::string JoinUrl(const std::string& base, const std::string& path) {
  const Url url(curl_url());
  if (!url || curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK) return {};
  const std::string scheme = Part(url.get(), CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return {};
  std::string whole = Part(url.get(), CURLUPART_PATH);
  while (whole.ends_with('/')) whole.pop_back();
  whole += path;
  if (curl_url_set(url.get(), CURLUPART_PATH, whole.c_str(), 0) != CURLUE_OK) return {};
  return Part(url.get(), CURLUPART_URL);
}

}  // namespace chat
