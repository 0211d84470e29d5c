package io.libagx;

/**
 * An event to be added.
 *
 * @param type what it is, 1 to 256 bytes of UTF-8
 * @param origin who writes it, likewise
 * @param body its JSON text; null for none, which listeners read as "{}"
 */
public record AgxNewEvent(String type, String origin, String body) {}
