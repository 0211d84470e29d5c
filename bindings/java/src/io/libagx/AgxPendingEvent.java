package io.libagx;

import java.time.Duration;

/**
 * An event that is pending.
 *
 * @param id the event's
 * @param consumer whom it is pending for
 * @param idle since it was given to the consumer
 * @param attempts how often it was given to one
 */
public record AgxPendingEvent(String id, String consumer, Duration idle, long attempts) {}
