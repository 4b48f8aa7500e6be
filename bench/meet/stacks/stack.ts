/** One way to build the same network: DHT nodes, and a member of a topic that answers what it is sent. */
export interface Stack {
  /**
   * Starts `count` DHT nodes in this process, on `host`. Without a bootstrap the first one becomes it.
   * Resolves with the address of the first, in the form the stack's newcomer takes.
   */
  nodes(count: number, host: string, bootstrap: string | undefined): Promise<string>
  /** Lets the nodes started so far learn of each other. */
  settle(): Promise<void>
  /** Starts the node that will be the member. */
  member(host: string, bootstrap: string): Promise<void>
  /** Puts the member under the topic (32 bytes, hex). */
  join(topic: string): Promise<void>
  /** Asked of the process with the bootstrap: can others find the member by now? */
  lists(topic: string): Promise<boolean>
  leave(topic: string): Promise<void>
}
