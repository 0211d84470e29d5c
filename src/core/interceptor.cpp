#include "core/interceptor.h"

#include <utility>

#include "core/session.h"
#include "format/agx_format.h"

namespace agx {

Status Swallowed() { return {AGX_SWALLOWED, "an interceptor swallowed the event"}; }

// --- An event on its way

Status Intercepted::SetType(const char* text) {
  if (Status status = CheckName("type", text); !status.ok()) return status;
  std::string copy = text;
  type_ = new_type_.emplace(std::move(copy));
  return {};
}

Status Intercepted::SetOrigin(const char* text) {
  if (Status status = CheckName("origin", text); !status.ok()) return status;
  std::string copy = text;
  origin_ = new_origin_.emplace(std::move(copy));
  return {};
}

Status Intercepted::SetBody(const char* text) {
  size_t length = 0;
  if (Status status = CheckBody(text, &length); !status.ok()) return status;
  if (text == nullptr) {
    body_ = {};
    return {};
  }
  std::string copy(text, length);
  body_ = new_body_.emplace(std::move(copy));
  return {};
}

// --- An interceptor

// One for each call that a thread is in. Plain memory, so that nothing is left to tear down.
class Interceptor::Frame {
 public:
  explicit Frame(Interceptor* interceptor) : interceptor_(interceptor), outer_(innermost) {
    innermost = this;
  }
  ~Frame() {
    innermost = outer_;
    interceptor_->Leave();
  }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  // This thread is in a call of it.
  static bool IsIn(const Interceptor* interceptor) {
    for (const Frame* frame = innermost; frame != nullptr; frame = frame->outer_) {
      if (frame->interceptor_ == interceptor) return true;
    }
    return false;
  }

 private:
  static constinit thread_local const Frame* innermost;

  Interceptor* const interceptor_;
  const Frame* const outer_;
};

constinit thread_local const Interceptor::Frame* Interceptor::Frame::innermost = nullptr;

Result<std::shared_ptr<Interceptor>> Interceptor::Open(const char* where, Function function) {
  std::shared_ptr<const Condition> condition;
  if (where != nullptr) {
    auto compiled = Condition::Compile(where);
    if (!compiled.ok()) return compiled.status();
    condition = std::move(*compiled);
  }
  return std::shared_ptr<Interceptor>(new Interceptor(std::move(condition), std::move(function)));
}

void Interceptor::Begin(const std::shared_ptr<Session>& session,
                        const std::shared_ptr<Interceptor>& interceptor) {
  session_ = session;
  session->AddInterceptor(interceptor);
}

Status Interceptor::Call(Intercepted* event) {
  if (where_ != nullptr && !where_->Selects(event->type(), event->origin(), event->body())) {
    return {};
  }
  if (Frame::IsIn(this) || !Enter()) return {};
  Frame frame(this);
  return function_(event);
}

bool Interceptor::Enter() {
  std::lock_guard lock(mutex_);
  if (closed_) return false;
  ++running_;
  return true;
}

void Interceptor::Leave() noexcept {
  std::lock_guard lock(mutex_);
  --running_;
  if (closed_) left_.Ring();
}

void Interceptor::Close() noexcept {
  if (std::shared_ptr<Session> session = session_.lock()) session->RemoveInterceptor(this);
  uint32_t own = Frame::IsIn(this) ? 1 : 0;
  std::unique_lock lock(mutex_);
  closed_ = true;
  while (running_ > own) {
    uint32_t ticket = left_.ticket();
    lock.unlock();
    left_.Wait(ticket, kNever);
    lock.lock();
  }
}

}  // namespace agx
