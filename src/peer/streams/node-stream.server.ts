import { Duplex } from 'node:stream'
import type { ByteStream } from '../api.ts'

/**
 * A byte stream as a Node stream, for `pipeline` and whatever else takes a `Duplex`; use one or the other, not both.
 * Half-open: `end()` ends our half alone. The end of both halves closes it; `destroy` before that aborts the stream, and
 * what breaks the stream destroys it with its `MusterError`.
 */
export function nodeStream(stream: ByteStream): Duplex {
  const pieces = stream[Symbol.asyncIterator]()
  const duplex = new Duplex({
    allowHalfOpen: true,
    decodeStrings: true,
    read() {
      pieces.next().then(
        ({ done, value }) => duplex.push(done === true ? null : value),
        error => duplex.destroy(error)
      )
    },
    write(chunk: Uint8Array, _encoding, done) {
      stream.write(chunk).then(() => done(), done)
    },
    writev(chunks, done) {
      // those of one tick travel in one frame
      Promise.all(chunks.map(({ chunk }: { chunk: Uint8Array }) => stream.write(chunk))).then(() => done(), done)
    },
    final(done) {
      stream.end().then(() => done(), done)
    },
    destroy(error, done) {
      const isWhole = duplex.readableEnded && duplex.writableFinished
      if (error === null && isWhole)
        stream.close().catch(() => undefined) // all is said: only what is on its way is left
      else stream.abort(error ?? undefined)
      done(error)
    }
  })
  return duplex
}
