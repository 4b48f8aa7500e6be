/** An iterable over what `start` generates that may be iterated once: what was taken is gone. */
export function onceIterable<T>(start: () => AsyncGenerator<T>): AsyncIterable<T> {
  let isTaken = false
  return {
    [Symbol.asyncIterator]() {
      if (isTaken) throw new Error('what a channel brings may be iterated once')
      isTaken = true
      return start()
    }
  }
}

/** The frames of `batches`, one at a time; what is left of a batch is dropped once `isDropped`. */
export function framesOf(
  batches: AsyncIterable<readonly Uint8Array[]>,
  isDropped: () => boolean
): AsyncIterable<Uint8Array> {
  return {
    async *[Symbol.asyncIterator]() {
      for await (const batch of batches) {
        for (const frame of batch) {
          if (isDropped()) break
          yield frame
        }
      }
    }
  }
}
