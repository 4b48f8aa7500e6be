import type { PeerAddress, PeerId } from '../core/address.ts'
import { asMusterError, MusterError } from '../core/errors.ts'
import { raceSignal } from '../core/signals.ts'
import { Slots } from '../core/slots.ts'
import type { RunningDht } from './dht.ts'
import { MAX_PARALLEL_CHECKS, MAX_WAITING_CHECKS } from './limits.ts'
import type { Dht, DhtCounts, WaitOptions } from './port.ts'
import type { Position } from './position.ts'

/** Milliseconds after a disconnect until the peer is dialled once more before it is taken out of the routing table. */
const SECOND_CHANCE_MS = 1_000

/** A DHT that starts in the background; every call waits until it runs. */
export class LazyDht implements Dht {
  readonly #running: Promise<RunningDht>
  readonly #starting: Promise<RunningDht | undefined>
  readonly #closed = Promise.withResolvers<never>()
  #dht: RunningDht | undefined
  #isClosed = false
  readonly #timers = new Set<() => void>()
  readonly #checks = new Slots(MAX_PARALLEL_CHECKS)

  constructor(start: () => Promise<RunningDht>, delayMs: number) {
    this.#closed.promise.catch(() => undefined) // only those who wait for the start hear it
    const begun = delayMs === 0 ? Promise.resolve() : new Promise<void>(resolve => this.#after(delayMs, resolve))
    this.#starting = begun.then(async () => {
      if (this.#isClosed) return undefined
      this.#dht = await start()
      return this.#dht
    })
    this.#running = Promise.race([this.#starting.then(dht => dht ?? this.#closed.promise), this.#closed.promise])
    this.#running.catch(() => undefined) // every call rejects with it
  }

  get size(): number {
    return this.#dht?.size ?? 0
  }

  async ready(options: WaitOptions = {}): Promise<void> {
    await this.#with(options, dht => dht.ready(options))
  }

  async answers(options: WaitOptions = {}): Promise<boolean> {
    return await this.#with(options, dht => dht.answers(options))
  }

  async provide(key: Uint8Array, options: WaitOptions = {}): Promise<readonly PeerId[]> {
    return await this.#with(options, dht => dht.provide(key, options))
  }

  async unprovide(key: Uint8Array): Promise<void> {
    await (await this.#running).unprovide(key)
  }

  async forget(key: Uint8Array, peerId: PeerId): Promise<void> {
    await (await this.#running).forget(key, peerId)
  }

  async *providers(key: Uint8Array, options: WaitOptions = {}): AsyncIterable<PeerAddress> {
    try {
      yield* (await this.#started(options)).providers(key, options)
    } catch (thrown) {
      throw reasonOf(thrown, options)
    }
  }

  closest(target: Position, count: number): readonly PeerAddress[] {
    return this.#dht?.closest(target, count) ?? []
  }

  async counts(): Promise<DhtCounts> {
    return await (await this.#running).counts()
  }

  /** Takes a peer out of the routing table. */
  async drop(peerId: PeerId): Promise<void> {
    await (await this.#running).drop(peerId)
  }

  /**
   * kad-dht takes dead peers only out of full buckets (T16): gives one a second chance, then drops it. Who is not in the
   * table is not asked: whether it lives is asked at addresses that it gave itself.
   */
  async forgetDead(peerId: PeerId, isAlive: () => Promise<boolean>): Promise<void> {
    const dht = await this.#running
    await new Promise<void>(resolve => this.#after(SECOND_CHANCE_MS, resolve))
    if (this.#isClosed || !dht.has(peerId)) return
    if (this.#checks.waiting < MAX_WAITING_CHECKS) {
      const isFine = await this.#checks.run(async () => this.#isClosed || (await isAlive())).catch(() => false)
      if (isFine) return
    }
    await dht.drop(peerId)
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const stop of this.#timers) stop()
    this.#closed.reject(new MusterError('closed', 'the node is closed'))
    const dht = await this.#starting.catch(() => undefined) // it could not start: every call has said so
    await dht?.stop()
  }

  async #with<T>(options: WaitOptions, ask: (dht: RunningDht) => Promise<T>): Promise<T> {
    try {
      return await ask(await this.#started(options))
    } catch (thrown) {
      throw reasonOf(thrown, options)
    }
  }

  async #started({ signal }: WaitOptions): Promise<RunningDht> {
    return await (signal === undefined ? this.#running : raceSignal(this.#running, signal))
  }

  /** Runs `run` after `ms`, or at once when closing. */
  #after(ms: number, run: () => void): void {
    const finish = (): void => {
      clearTimeout(timer)
      this.#timers.delete(finish)
      run()
    }
    const timer = setTimeout(finish, ms)
    timer.unref?.()
    this.#timers.add(finish)
  }
}

/** Why a call ended: kad-dht rejects with errors of its own when the signal aborts. */
function reasonOf(thrown: unknown, { signal }: WaitOptions): MusterError {
  return asMusterError(signal?.aborted ? signal.reason : thrown, 'unreachable')
}
