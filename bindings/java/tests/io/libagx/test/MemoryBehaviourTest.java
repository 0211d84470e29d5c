package io.libagx.test;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/** On the store inside the process. */
class MemoryBehaviourTest extends OwnBehaviour {
  private static int count;
  private final String name = "memory:behaviour-" + ++count;
  private io.libagx.AgxClient keeper;

  @Override
  String url() {
    return name;
  }

  /** The store is there for as long as a client of it is. */
  @BeforeEach
  void keep() {
    keeper = io.libagx.AgxClient.open(name);
  }

  @AfterEach
  void drop() {
    keeper.close();
  }
}
