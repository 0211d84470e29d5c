package io.libagx;

/** The models' APIs whose streams a run reads and whose requests a conversation writes. */
public enum AgxModelApi {
  /** OpenAI Chat Completions, and what is compatible with it. */
  OPENAI_CHAT(1),
  /** OpenAI Responses. */
  OPENAI_RESPONSES(2),
  /** Anthropic Messages. */
  ANTHROPIC(3);

  final int code;

  AgxModelApi(int code) {
    this.code = code;
  }
}
