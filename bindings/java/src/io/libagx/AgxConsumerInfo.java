package io.libagx;

import java.time.Duration;

/**
 * A consumer of a group.
 *
 * @param name its name
 * @param pending how many events are pending for it
 * @param idle since it last asked for something
 */
public record AgxConsumerInfo(String name, long pending, Duration idle) {}
