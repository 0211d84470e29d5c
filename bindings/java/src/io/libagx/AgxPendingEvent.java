package io.libagx;

import java.time.Duration;

/**
 * An event that is pending.
 *
 * @param id the event's
 * @param consumer whom it is pending for
 * @param idle since it was given to the consumer; of one that was given back, as long as it takes
 *     until others may take it
 * @param attempts how often it was given to one, without what was given back untried
 */
public record AgxPendingEvent(String id, String consumer, Duration idle, long attempts) {}
