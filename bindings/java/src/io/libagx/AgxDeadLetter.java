package io.libagx;

import java.time.Instant;

/**
 * An event that could not be handled.
 *
 * @param event the event; its id is the dead letter's own
 * @param originalStream key of the stream that it comes from; "" if it does not tell
 * @param originalId its id there
 * @param reason why it failed
 * @param attempts how often it was given to a handler
 * @param time when it died
 */
public record AgxDeadLetter(AgxEvent event, String originalStream, String originalId, String reason,
    long attempts, Instant time) {}
