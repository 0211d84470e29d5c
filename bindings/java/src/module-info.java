/**
 * libagx for Java: an agent's events, written in one process, followed live in any other.
 *
 * <p>Begin with {@link io.libagx.AgxClient}.
 */
module io.libagx {
  exports io.libagx;
}
