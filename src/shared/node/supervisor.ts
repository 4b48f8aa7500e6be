import { type DialAddress, type PeerId, shortAddress } from '../core/address.ts'
import { type Clock, sleep } from '../core/clock.ts'
import { asMusterError, MusterError } from '../core/errors.ts'
import { Emitter, type Subscribable } from '../core/events.ts'
import { type Closable, reportUncaught, Scope } from '../core/lifecycle.ts'
import type { Log } from '../core/log.ts'
import type { Random } from '../core/random.ts'
import type { Node, WaitOptions } from './port.ts'

/** Shortest and longest pause between two dials of the same address, in milliseconds; it doubles in between. */
export const REDIAL_MIN_MS = 500
export const REDIAL_MAX_MS = 30_000
/** A connection that held this long starts the pauses from the shortest again. */
const STABLE_MS = 10_000

export interface SupervisorEvents extends Record<string, unknown> {
  /** An address of the list is connected and its identity is as expected. */
  up: { readonly peerId: PeerId; readonly address: string }
  down: { readonly peerId: PeerId; readonly address: string }
  /** Something only the user can mend; said once per address until it changes. */
  problem: MusterError
}

export interface SupervisorNeeds {
  readonly node: Pick<Node, 'connect' | 'disconnect' | 'isConnected' | 'on' | 'peerId'>
  /** Trust on first use: which peer id answered at an address the first time. */
  readonly known: {
    get(address: string): Promise<PeerId | undefined>
    remember(address: string, peerId: PeerId): Promise<void>
  }
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly onRedial?: () => void
}

/**
 * Keeps connections to a list of addresses for ever: endless retries with backoff and jitter. libp2p dials a bootstrap
 * once, and its keep-alive gives up after 31 s (T8).
 */
export interface Supervisor extends Closable, Subscribable<SupervisorEvents> {
  /** Peer ids that are up right now. */
  readonly up: readonly PeerId[]
  /** True once every address was tried at least once. */
  readonly hasTriedAll: boolean
  add(target: DialAddress): void
  /**
   * Connects once, and keeps the address connected from then on.
   * @throws MusterError `unreachable` | `timed-out` | `aborted` | `bootstrap-identity-changed`.
   */
  connect(target: DialAddress, options?: WaitOptions): Promise<PeerId>
  /** Keeps an address connected no longer, and closes the connection unless another address of the list leads there. False when it is not in the list. */
  remove(address: string): Promise<boolean>
}

export function createSupervisor(needs: SupervisorNeeds, targets: readonly DialAddress[]): Supervisor {
  const supervisor = new RedialSupervisor(needs)
  for (const target of targets) supervisor.add(target)
  return supervisor
}

/** What a user is told: once, though there is a dial every half minute at least. */
function asProblem(error: MusterError, address: string): MusterError {
  if (error.code !== 'unreachable' && error.code !== 'timed-out') return error
  return new MusterError(error.code, `${shortAddress(address)} cannot be reached; it is tried again until it can`, {
    cause: error
  })
}

/** The pause before dial number `attempt` (from 1) after a failure, between half and all of the doubled pause. */
export function redialPauseMs(attempt: number, random: Random): number {
  const full = Math.min(REDIAL_MAX_MS, REDIAL_MIN_MS * 2 ** Math.min(attempt - 1, 16))
  return full / 2 + (random() * full) / 2
}

interface Target {
  tried: boolean
  up: PeerId | undefined
  readonly removed: AbortController
}

class RedialSupervisor extends Emitter<SupervisorEvents> implements Supervisor {
  readonly signal: AbortSignal
  readonly #needs: SupervisorNeeds
  readonly #scope = new Scope()
  readonly #targets = new Map<string, Target>()

  constructor(needs: SupervisorNeeds) {
    super()
    this.#needs = needs
    this.signal = this.#scope.signal
  }

  get up(): readonly PeerId[] {
    return [...new Set([...this.#targets.values()].flatMap(({ up }) => up ?? []))]
  }

  get hasTriedAll(): boolean {
    return [...this.#targets.values()].every(target => target.tried)
  }

  add(target: DialAddress): void {
    if (this.#targets.has(target.address) || this.signal.aborted) return
    const state: Target = { tried: false, up: undefined, removed: new AbortController() }
    this.#targets.set(target.address, state)
    const signal = AbortSignal.any([this.signal, state.removed.signal])
    const loop = this.#keep(target, state, signal).catch(thrown => {
      if (!signal.aborted) reportUncaught(thrown)
    })
    this.#scope.defer(() => loop)
  }

  async remove(address: string): Promise<boolean> {
    const state = this.#targets.get(address)
    if (state === undefined) return false
    const { up } = state
    this.#targets.delete(address)
    state.removed.abort(new MusterError('closed', 'the address was removed'))
    if (up !== undefined && !this.up.includes(up)) await this.#needs.node.disconnect(up)
    return true
  }

  async connect(target: DialAddress, { signal }: WaitOptions = {}): Promise<PeerId> {
    const either = signal === undefined ? this.signal : AbortSignal.any([signal, this.signal])
    const peerId = await this.#connect(target, either)
    this.add({ ...target, peerId })
    return peerId
  }

  close(): Promise<void> {
    return this.#scope.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #keep(target: DialAddress, state: Target, signal: AbortSignal): Promise<void> {
    const { clock, random, log, onRedial } = this.#needs
    let lastProblem = ''
    for (let attempt = 1; !signal.aborted; attempt++) {
      if (attempt > 1) {
        await sleep(clock, redialPauseMs(attempt - 1, random), signal)
        onRedial?.()
      }
      try {
        const peerId = await this.#connect(target, signal)
        state.tried = true
        lastProblem = ''
        const since = clock.now()
        await this.#whileUp(target, peerId, state, signal)
        if (clock.now() - since >= STABLE_MS) attempt = 0
      } catch (thrown) {
        if (signal.aborted) return
        const error = asMusterError(thrown, 'unreachable')
        log.debug({ err: error, address: target.address, attempt }, 'bootstrap not reached')
        if (error.code !== lastProblem) this.emit('problem', asProblem(error, target.address))
        lastProblem = error.code
      } finally {
        state.tried = true
      }
    }
  }

  /** Dials, and checks who answered. Dialled without the expected id, so that a changed one can be told apart. */
  async #connect({ address, peerId: wanted }: DialAddress, signal: AbortSignal): Promise<PeerId> {
    const { node, known } = this.#needs
    const expected = wanted ?? (await known.get(address))
    if (expected !== undefined && node.isConnected(expected)) return expected
    const check = (answered: PeerId): void => {
      if (expected === undefined || answered === expected) return
      throw new MusterError(
        'bootstrap-identity-changed',
        `${shortAddress(address)} answered as ${answered}, but ${wanted === undefined ? 'it was' : 'you named'} ${expected}. ` +
          `If the change is intended, name it once in full: --bootstrap ${address}/p2p/${answered}`
      )
    }
    const peerId = await node.connect({ address }, { signal, check })
    if (wanted !== undefined || expected === undefined) await known.remember(address, peerId)
    return peerId
  }

  async #whileUp(target: DialAddress, peerId: PeerId, state: Target, signal: AbortSignal): Promise<void> {
    const { node } = this.#needs
    const { address } = target
    const lost = Promise.withResolvers<void>()
    const undo = node.on('disconnect', gone => {
      if (gone.peerId === peerId) lost.resolve()
    })
    const onAbort = (): void => lost.resolve()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      if (!node.isConnected(peerId)) return
      state.up = peerId
      this.emit('up', { peerId, address })
      await lost.promise
    } finally {
      undo()
      signal.removeEventListener('abort', onAbort)
      if (state.up !== undefined) {
        state.up = undefined
        this.emit('down', { peerId, address })
      }
    }
  }
}
