package io.libagx;

import io.libagx.internal.agxnative;
import java.lang.ref.Reference;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * A conversation, as pydantic-ai writes it: a JSON array of messages, requests and responses in
 * turn. Calls on one object take turns. Nothing blocks but loading and saving.
 */
public final class AgxMessages implements AutoCloseable {
  private final ClientCore core;
  private final AgxClient client;
  private final Handle handle;
  private final Turns turns;

  /** core and client: null for a conversation that is in no store. */
  AgxMessages(ClientCore core, AgxClient client, long value) {
    this.core = core;
    this.client = client;
    handle = new Handle(this, "conversation", value, agxnative::agx_messages_close);
    turns = new Turns(handle);
  }

  /**
   * A conversation from its JSON text, which is kept nowhere: loading and saving do nothing.
   *
   * @param json a JSON array of objects; null for an empty conversation
   * @return the conversation, to be closed
   */
  public static AgxMessages parse(String json) {
    long[] out = new long[1];
    AgxException.check(agxnative.agx_messages_parse(Text.encode("the JSON text", json), out));
    return new AgxMessages(null, null, out[0]);
  }

  /**
   * A conversation that is kept in a file; empty until it is loaded.
   *
   * @param path the file, which need not be there
   * @return the conversation, to be closed
   */
  public static AgxMessages file(java.nio.file.Path path) {
    long[] out = new long[1];
    AgxException.check(
        agxnative.agx_messages_open_file(Text.encode("the path", path.toString()), out));
    return new AgxMessages(null, null, out[0]);
  }

  private interface TextCall {
    int of(long messages, byte[][] out);
  }

  private void call(Handle.Call call) {
    turns.take();
    try {
      AgxException.check(handle.call(call));
    } finally {
      turns.give();
      // A Cleaner must not close what is in use.
      Reference.reachabilityFence(this);
    }
  }

  /** Null if there is none. */
  private byte[] text(TextCall call) {
    byte[][] out = new byte[1][];
    turns.take();
    try {
      int status = handle.call(messages -> call.of(messages, out));
      if (status == AgxStatus.NONE.code()) return null;
      AgxException.check(status);
      return out[0];
    } finally {
      turns.give();
      // A Cleaner must not close what is in use.
      Reference.reachabilityFence(this);
    }
  }

  /** Replaces what this holds by what is kept; nothing kept is an empty conversation. */
  public void load() {
    call(agxnative::agx_messages_load);
  }

  /**
   * Keeps what this holds.
   *
   * @throws AgxException.Conflict if somebody else has saved in between; nothing is written
   */
  public void save() {
    call(agxnative::agx_messages_save);
  }

  /**
   * {@link #load()}, later.
   *
   * @return when it is done
   */
  public CompletableFuture<Void> loadAsync() {
    return async(this::load);
  }

  /**
   * {@link #save()}, later.
   *
   * @return when it is done
   */
  public CompletableFuture<Void> saveAsync() {
    return async(this::save);
  }

  private CompletableFuture<Void> async(Runnable call) {
    if (core == null) return CompletableFuture.runAsync(call);
    return core.async(() -> {
      call.run();
      return null;
    });
  }

  /**
   * The whole conversation.
   *
   * @return its JSON text
   */
  public String json() {
    return Text.strict(text(agxnative::agx_messages_json));
  }

  /**
   * How many messages there are.
   *
   * @return the number
   */
  public int size() {
    turns.take();
    try {
      return handle.call(messages -> (int) agxnative.agx_messages_count(messages));
    } finally {
      turns.give();
      // A Cleaner must not close what is in use.
      Reference.reachabilityFence(this);
    }
  }

  /**
   * How many parts a message has.
   *
   * @param message its number, from 0
   * @return the number; 0 if there is no such message
   */
  public int partCount(int message) {
    turns.take();
    try {
      return handle.call(messages -> (int) agxnative.agx_messages_part_count(messages, message));
    } finally {
      turns.give();
      // A Cleaner must not close what is in use.
      Reference.reachabilityFence(this);
    }
  }

  /**
   * A field of a message, such as "kind": a string as its text, anything else as JSON.
   *
   * @param message its number, from 0
   * @param name the field's name
   * @return the text, if there is such a field
   */
  public Optional<String> field(int message, String name) {
    byte[] key = Text.encode("the name", Text.required("the name", name));
    byte[] found =
        text((messages, out) -> agxnative.agx_messages_field(messages, message, key, out, null));
    return Optional.ofNullable(Text.strict(found));
  }

  /**
   * A field of a part, such as "part_kind", "content", "tool_name" or "args".
   *
   * @param message its number, from 0
   * @param part its number in the message, from 0
   * @param name the field's name
   * @return the text, if there is such a field
   */
  public Optional<String> partField(int message, int part, String name) {
    byte[] key = Text.encode("the name", Text.required("the name", name));
    byte[] found = text(
        (messages,
            out) -> agxnative.agx_messages_part_field(messages, message, part, key, out, null));
    return Optional.ofNullable(Text.strict(found));
  }

  /**
   * Appends messages.
   *
   * @param json a JSON object, or an array of them, such as {@link AgxRun#endFeed()} gives
   */
  public void append(String json) {
    byte[] text = Text.encode("the messages", Text.required("the messages", json));
    call(messages -> agxnative.agx_messages_append(messages, text));
  }

  /**
   * Adds a system prompt to the last message if that is a request, else to a new one.
   *
   * @param content the prompt
   */
  public void appendSystem(String content) {
    byte[] text = Text.encode("the content", Text.required("the content", content));
    call(messages -> agxnative.agx_messages_append_system(messages, text));
  }

  /**
   * Adds what the user says, in the same way.
   *
   * @param content what
   */
  public void appendUser(String content) {
    byte[] text = Text.encode("the content", Text.required("the content", content));
    call(messages -> agxnative.agx_messages_append_user(messages, text));
  }

  /**
   * Adds a tool's result, in the same way.
   *
   * @param toolName the tool
   * @param toolCallId the call's id
   * @param content JSON text; null is null
   */
  public void appendToolReturn(String toolName, String toolCallId, String content) {
    byte[] name = Text.encode("the tool's name", toolName);
    byte[] id = Text.encode("the call's id", toolCallId);
    byte[] text = Text.encode("the content", content);
    call(messages -> agxnative.agx_messages_append_tool_return(messages, name, id, text));
  }

  /**
   * Asks the model to try again, in the same way.
   *
   * @param toolName the tool that refused; null after anything else
   * @param toolCallId the call's id; may be null then
   * @param content what to say
   */
  public void appendRetry(String toolName, String toolCallId, String content) {
    byte[] name = Text.encode("the tool's name", toolName);
    byte[] id = Text.encode("the call's id", toolCallId);
    byte[] text = Text.encode("the content", Text.required("the content", content));
    call(messages -> agxnative.agx_messages_append_retry(messages, name, id, text));
  }

  /**
   * The user's first prompt, as a title.
   *
   * @return the prompt, or "No title"
   */
  public String title() {
    return Text.strict(text(agxnative::agx_messages_title));
  }

  /**
   * The nodes that the conversation is made of.
   *
   * @return a JSON array
   */
  public String nodes() {
    return Text.strict(text(agxnative::agx_messages_nodes));
  }

  /**
   * The body of a request to the model that continues the conversation, with streaming asked for.
   *
   * @param api whose
   * @param settings a JSON object whose members become the body's own, such as "model"; null: none
   * @return JSON text
   */
  public String request(AgxModelApi api, String settings) {
    byte[] text = Text.encode("the settings", settings);
    int code = Text.required("the API", api).code;
    return Text.strict(
        text((messages, out) -> agxnative.agx_messages_request(messages, code, text, out)));
  }

  /**
   * Closes the conversation; what was not saved is lost. A load or save that is under way is carried
   * out and not waited for; who waits for a turn behind it gets {@link AgxException.Closed}.
   */
  @Override
  public void close() {
    handle.close();
    turns.closed();
  }

  @Override
  public String toString() {
    return client == null ? "a conversation" : "a conversation of " + client;
  }
}
