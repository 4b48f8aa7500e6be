import { asMusterError, MusterError } from '../core/errors.ts'
import { anySignal, deadline, raceSignal } from '../core/signals.ts'
import { RECORD_DEADLINE_MS } from './limits.ts'
import type { GetOptions, PutOptions, Records } from './records.ts'

/**
 * Records that open in the background, so that a newcomer's first message does not wait for them; every call does, `put`
 * and `get` no longer than they may take.
 */
export function lazyRecords(
  open: (signal: AbortSignal) => Promise<Records>,
  onFailure: (thrown: unknown) => void
): Records {
  const controller = new AbortController()
  const { signal } = controller
  let live: Records | undefined
  const opening = open(signal).then(records => {
    live = records
    return records
  })
  opening.catch(thrown => {
    if (!signal.aborted) onFailure(thrown)
  })
  const opened = async (): Promise<Records> => await raceSignal(opening, signal)
  async function within<O extends PutOptions | GetOptions, T>(
    options: O | undefined,
    run: (records: Records, options: O | undefined) => Promise<T>
  ): Promise<T> {
    if (live !== undefined) return await run(live, options)
    using limit = deadline(options?.timeoutMs ?? RECORD_DEADLINE_MS, 'opening the records', signal, options?.signal)
    const records = await raceSignal(opening, limit.signal).catch((thrown: unknown) => {
      throw asMusterError(thrown, 'aborted')
    })
    return await run(records, { ...(options as O), signal: limit.signal })
  }
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
      return live?.counts ?? { records: 0, bytes: 0, own: 0 }
    },
    put: async (key, value, options) => await within(options, (records, rest) => records.put(key, value, rest)),
    get: async (key, options) => await within(options, (records, rest) => records.get(key, rest)),
    async *watch(key, until) {
      using both = anySignal(signal, until)
      const records = await raceSignal(opening, both.signal).catch((thrown: unknown) => {
        if (!until.aborted) throw thrown
      })
      if (records !== undefined) yield* records.watch(key, until)
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
