/**
 * An agent's events, written in one process, followed live in any other.
 *
 * <p>{@link io.libagx.AgxClient} is a way to one store, {@link io.libagx.AgxSession} what an agent
 * does in it, {@link io.libagx.AgxListener} whoever follows that. All of them may be used by any
 * number of threads, closed in any order and by any thread, and are released when they are
 * forgotten. What fails throws an {@link io.libagx.AgxException}.
 *
 * <p>Texts are Unicode as it is: characters beyond the basic plane are carried; U+0000 and
 * surrogates without their other half are refused as {@link io.libagx.AgxException.Invalid}.
 */
package io.libagx;
