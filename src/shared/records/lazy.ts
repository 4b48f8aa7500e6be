import { MusterError } from '../core/errors.ts'
import { raceSignal } from '../core/signals.ts'
import type { Records } from './records.ts'

/** Records that open in the background, so that a newcomer's first message does not wait for them; every call does. */
export function lazyRecords(open: () => Promise<Records>, onFailure: (thrown: unknown) => void): Records {
  const controller = new AbortController()
  const { signal } = controller
  let counts: () => Records['counts'] = () => ({ records: 0, bytes: 0, own: 0 })
  const opening = open().then(records => {
    counts = () => records.counts
    return records
  })
  opening.catch(onFailure)
  const opened = async (): Promise<Records> => await raceSignal(opening, signal)
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    closing ??= (async () => {
      controller.abort(new MusterError('closed'))
      await (await opening.catch(() => undefined))?.close() // it could not open: said already
    })()
    return closing
  }
  return {
    signal,
    get counts() {
      return counts()
    },
    put: async (...put) => await (await opened()).put(...put),
    get: async (...get) => await (await opened()).get(...get),
    async *watch(...watch) {
      yield* (await opened()).watch(...watch)
    },
    own: async () => await (await opened()).own(),
    async *dump() {
      yield* (await opened()).dump()
    },
    restore: async envelope => await (await opened()).restore(envelope),
    republish: async () => await (await opened()).republish(),
    close,
    [Symbol.asyncDispose]: close
  }
}
