/** Pages kept for the next write; more are left to the garbage collector. */
const MAX_SPARE_PAGES = 8

/**
 * Buffers that writes are put together in, for all connections of the process. A socket mostly takes a write at once
 * and has no more use for its bytes; a new buffer for each would keep the garbage collector busy.
 */
export class Pages {
  readonly #bytes: number
  readonly #spare: Buffer[] = []

  constructor(bytes: number) {
    this.#bytes = bytes
  }

  take(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.#bytes)
  }

  /** Nobody reads `page` any more. */
  giveBack(page: Buffer): void {
    if (this.#spare.length < MAX_SPARE_PAGES) this.#spare.push(page)
  }
}
