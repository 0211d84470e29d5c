#include "store/redis/tls.h"

#if AGX_HAVE_TLS

#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>

#include <cerrno>
#include <cstring>

namespace agx::redis {
namespace {

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

std::string OpenSslError() {
  unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown reason";
  char text[256];
  ERR_error_string_n(code, text, sizeof(text));
  return text;
}

bool IsAddress(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET, host.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

Status UseFiles(const Config& config, SSL_CTX* context) {
  int loaded = config.tls_ca_file.empty()
                   ? SSL_CTX_set_default_verify_paths(context)
                   : SSL_CTX_load_verify_locations(context, config.tls_ca_file.c_str(), nullptr);
  if (loaded != 1) {
    return {AGX_EINVAL,
            Cat("tls_ca: cannot read authorities from ", config.tls_ca_file, ": ", OpenSslError())};
  }
  if (config.tls_cert_file.empty()) return {};
  if (SSL_CTX_use_certificate_chain_file(context, config.tls_cert_file.c_str()) != 1) {
    return {AGX_EINVAL, Cat("tls_cert: cannot use ", config.tls_cert_file, ": ", OpenSslError())};
  }
  const char* key = config.tls_key_file.c_str();
  if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    return {AGX_EINVAL,
            Cat("tls_key: cannot use ", key, " with that certificate: ", OpenSslError())};
  }
  return {};
}

// hiredis itself checks who signed the certificate, but not for whom.
bool ExpectName(const std::string& name, SSL* ssl) {
  if (IsAddress(name)) {
    return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1;
  }
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set1_host(ssl, name.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
}

}  // namespace

Result<std::unique_ptr<Tls>> Tls::Begin(const Config& config, int fd) {
  std::unique_ptr<SSL_CTX, FreeContext> settings(SSL_CTX_new(TLS_client_method()));
  if (settings == nullptr) return Status(AGX_ENOMEM, "out of memory");
  SSL_CTX_set_min_proto_version(settings.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(settings.get(), config.tls_insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                     nullptr);
  if (Status status = UseFiles(config, settings.get()); !status.ok()) return status;
  std::unique_ptr<SSL, FreeSsl> ssl(SSL_new(settings.get()));
  if (ssl == nullptr) return Status(AGX_ENOMEM, "out of memory");
  const std::string& name = config.tls_server_name.empty() ? config.host : config.tls_server_name;
  if (!ExpectName(name, ssl.get())) {
    return Status(AGX_EINVAL, Cat("tls_server_name: cannot use ", name, ": ", OpenSslError()));
  }
  std::unique_ptr<Tls> tls(new Tls(config));
  tls->context_ = redisConnectFd(fd);
  if (tls->context_ == nullptr) return Status(AGX_ENOMEM, "out of memory");
  // So that the handshake does not wait within hiredis, which knows no deadline for it.
  tls->context_->flags &= ~REDIS_BLOCK;
  if (redisInitiateSSL(tls->context_, ssl.get()) != REDIS_OK) {
    return tls->Refused(tls->context_->errstr);
  }
  tls->ssl_ = ssl.release();  // hiredis frees it from here on
  return tls;
}

Tls::~Tls() {
  if (context_ != nullptr) redisFreeKeepFd(context_);
}

Status Tls::Refused(std::string_view why) const {
  std::string verdict;
  if (!config_.tls_insecure) verdict = "; is its certificate signed by tls_ca, and for this host?";
  return {AGX_ECONNECT, Cat("TLS with ", Describe(config_), ": ", why, verdict)};
}

Status Tls::ShakeHands(short* events) {
  *events = 0;
  ERR_clear_error();
  int done = SSL_do_handshake(ssl_);
  if (done == 1) return {};
  switch (SSL_get_error(ssl_, done)) {
    case SSL_ERROR_WANT_READ:
      *events = POLLIN;
      return {};
    case SSL_ERROR_WANT_WRITE:
      *events = POLLOUT;
      return {};
    case SSL_ERROR_SYSCALL:
      return Refused(errno != 0 ? std::strerror(errno) : "the server closed the connection");
    default:
      return Refused(OpenSslError());
  }
}

bool Tls::Queue(std::string_view bytes) {
  return redisAppendFormattedCommand(context_, bytes.data(), bytes.size()) == REDIS_OK;
}

bool Tls::Flush(bool* done) {
  int flushed = 0;
  if (redisBufferWrite(context_, &flushed) != REDIS_OK) return false;
  *done = flushed != 0;
  return true;
}

long Tls::Read(char* buffer, size_t size) { return context_->funcs->read(context_, buffer, size); }

const char* Tls::error() const { return context_->errstr; }

}  // namespace agx::redis

#endif
