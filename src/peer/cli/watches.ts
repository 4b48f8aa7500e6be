import { asMusterError, MusterError } from '../../shared/core/errors.ts'
import { reportUncaught } from '../../shared/core/lifecycle.ts'
import type { Peer, RecordKey } from '../api.ts'
import type { Printer } from './printer.ts'

/** Keys one console watches at a time. */
export const MAX_WATCHES = 64

/** Keys that whoever types watches: each newer record is printed as it comes. */
export class Watches {
  readonly #peer: Peer
  readonly #printer: Printer
  readonly #watches = new Map<string, { readonly key: RecordKey; readonly controller: AbortController }>()

  constructor(peer: Peer, printer: Printer) {
    this.#peer = peer
    this.#printer = printer
  }

  /** @throws MusterError `command-invalid` when it is watched already; `limit-reached`. */
  start(key: RecordKey): void {
    const name = this.#nameOf(key)
    if (this.#watches.has(name)) throw new MusterError('command-invalid', 'that key is watched already')
    if (this.#watches.size >= MAX_WATCHES) {
      throw new MusterError('limit-reached', `${MAX_WATCHES} keys are watched already; /unwatch ends some`)
    }
    const controller = new AbortController()
    this.#watches.set(name, { key, controller })
    this.#printer.print({ event: 'watching', key })
    const signal = AbortSignal.any([controller.signal, this.#peer.signal])
    void this.#follow(key, signal)
      .catch(reportUncaught)
      .finally(() => {
        if (this.#watches.get(name)?.controller === controller) this.#watches.delete(name)
      })
  }

  /** Ends one watch, or all. @throws MusterError `command-invalid` when there is none. */
  stop(key: RecordKey | undefined): void {
    const name = key === undefined ? undefined : this.#nameOf(key)
    const ended = [...this.#watches].filter(([each]) => name === undefined || each === name)
    if (ended.length === 0) {
      throw new MusterError('command-invalid', key === undefined ? 'nothing is watched' : 'that key is not watched')
    }
    for (const [each, watch] of ended) {
      this.#watches.delete(each)
      watch.controller.abort()
      this.#printer.print({ event: 'unwatched', key: watch.key })
    }
  }

  async #follow(key: RecordKey, signal: AbortSignal): Promise<void> {
    try {
      for await (const version of this.#peer.records.watch(key, { signal })) {
        if (signal.aborted) return
        this.#printer.print({ event: 'record', ...version })
      }
    } catch (thrown) {
      if (signal.aborted) return
      if (!(thrown instanceof MusterError)) throw thrown
      const { code, message } = asMusterError(thrown, 'closed')
      this.#printer.print({ event: 'error', code, message })
    }
  }

  /** One text for one key: a name of this peer's own may come with its owner or without. */
  #nameOf(key: RecordKey): string {
    if (typeof key === 'string' || 'content' in key) return JSON.stringify(key)
    return JSON.stringify([key.owner ?? this.#peer.peerId, key.name])
  }
}
