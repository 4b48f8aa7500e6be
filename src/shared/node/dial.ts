import type { Connection } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { DialAddress, PeerAddress, PeerId } from '../core/address.ts'
import { asError, asMusterError, MusterError } from '../core/errors.ts'
import { deadline } from '../core/signals.ts'
import { Slots } from '../core/slots.ts'
import { DIAL_STAGGER_MS, DIAL_TIMEOUT_MS, MAX_DIALLED_ADDRESSES, MAX_PARALLEL_DIALS } from './limits.ts'
import { mayDial, type Preset } from './presets.ts'

type DialOne = (address: Multiaddr, signal: AbortSignal) => Promise<Connection>

interface UnderWay {
  /** Calls that wait for it. */
  waiting: number
  readonly tried: Set<string>
  readonly dials: Set<Promise<Connection>>
  /** The one that won; the others are broken off then. */
  readonly won: PromiseWithResolvers<Connection>
  readonly done: AbortController
}
interface Attempt {
  readonly started: Promise<void>
  readonly result: Promise<Connection>
}

/**
 * Dials peers. Addresses of one peer start 150 ms apart and the first that proves the expected identity wins (RFC 8305's
 * idea; libp2p's own queue tries them one after the other). Calls for the same peer share one
 * dial; addresses that it does not know get their turn beside it, so that a rumour that leads nowhere holds nobody up.
 */
export class Dialer {
  readonly #dialOne: DialOne
  readonly #preset: Preset
  readonly #slots = new Slots(MAX_PARALLEL_DIALS)
  readonly #underWay = new Map<PeerId, UnderWay>()
  readonly #closing: AbortSignal

  constructor(dialOne: DialOne, preset: Preset, closing: AbortSignal) {
    this.#dialOne = dialOne
    this.#preset = preset
    this.#closing = closing
  }

  /** A configured place: any kind of address, with or without an expected identity. */
  async place({ address, peerId }: DialAddress, signal: AbortSignal | undefined): Promise<Connection> {
    const target = multiaddr(peerId === undefined ? address : `${address}/p2p/${peerId}`)
    return await this.#race([target], `${address}`, signal)
  }

  /** A peer at addresses that may be a stranger's words. */
  async peer({ peerId, addresses }: PeerAddress, signal: AbortSignal | undefined): Promise<Connection> {
    const underWay = this.#underWay.get(peerId) ?? nothingUnderWay()
    const fresh = addresses.filter(address => !underWay.tried.has(address))
    using limit = deadline(2 * DIAL_TIMEOUT_MS, `dial ${peerId}`, signal)
    underWay.waiting++
    try {
      if (fresh.length > 0 || underWay.dials.size === 0) this.#start(peerId, fresh, underWay)
      return await Promise.race([underWay.won.promise, firstOf(underWay.dials), aborted(limit.signal)])
    } finally {
      underWay.waiting--
    }
  }

  #start(peerId: PeerId, addresses: readonly string[], underWay: UnderWay): void {
    const targets = addresses.flatMap(text => {
      const target = parsed(text)
      return target !== undefined && mayDial(this.#preset, target) ? [multiaddr(`${text}/p2p/${peerId}`)] : []
    })
    for (const address of addresses) underWay.tried.add(address)
    const dial = this.#inTurn(targets.slice(0, MAX_DIALLED_ADDRESSES), peerId, underWay).finally(() => {
      underWay.dials.delete(dial)
      if (underWay.dials.size === 0) this.#underWay.delete(peerId)
    })
    dial.catch(() => undefined) // whoever asked hears it; nobody may be left when it fails
    underWay.dials.add(dial)
    this.#underWay.set(peerId, underWay)
  }

  async #inTurn(targets: readonly Multiaddr[], peerId: PeerId, underWay: UnderWay): Promise<Connection> {
    const { dials, won, done } = underWay
    if (dials.size > 0) await turn({ started: Promise.resolve(), result: firstOf([...dials]) }, done.signal)
    const connection = await this.#race(targets, peerId, done.signal, () => underWay.waiting > 0)
    won.resolve(connection)
    done.abort(new MusterError('aborted', 'another address won'))
    return connection
  }

  async #race(
    targets: readonly Multiaddr[],
    what: string,
    signal: AbortSignal | undefined,
    isWanted = () => true
  ): Promise<Connection> {
    if (targets.length === 0) throw new MusterError('unreachable', `${what} has no address that may be dialled`)
    using queue = deadline(2 * DIAL_TIMEOUT_MS, `dial ${what}`, this.#closing, signal)
    return await this.#slots.run(async () => {
      if (!isWanted()) throw new MusterError('aborted', 'nobody waits for the dial any more')
      using limit = deadline(DIAL_TIMEOUT_MS, `dial ${what}`, this.#closing, signal)
      if (limit.signal.aborted) throw asMusterError(limit.signal.reason, 'aborted')
      const stop = new AbortController()
      limit.signal.addEventListener('abort', () => stop.abort(limit.signal.reason), { once: true })
      const failures: Error[] = []
      const attempts: Array<Promise<Connection>> = []
      let previous: Attempt | undefined
      for (const target of targets) {
        const started = Promise.withResolvers<void>()
        const result = this.#attempt(target, previous, started.resolve, stop.signal, failures)
        previous = { started: started.promise, result }
        attempts.push(result)
      }
      try {
        return await Promise.any(attempts)
      } catch {
        if (limit.signal.aborted) throw asMusterError(limit.signal.reason, 'timed-out')
        throw new MusterError('unreachable', `${what} could not be reached`, { cause: failures[0] })
      } finally {
        stop.abort(new MusterError('aborted', 'another address won'))
      }
    }, queue.signal)
  }

  async #attempt(
    target: Multiaddr,
    previous: Attempt | undefined,
    onStart: () => void,
    stop: AbortSignal,
    failures: Error[]
  ): Promise<Connection> {
    // a signal of its own: libp2p keeps listening to it after the dial, and the winner must outlive the others
    const own = new AbortController()
    const give = (): void => own.abort(stop.reason)
    try {
      if (previous !== undefined) await turn(previous, stop)
      stop.throwIfAborted()
      stop.addEventListener('abort', give, { once: true })
      onStart()
      return await this.#dialOne(target, own.signal)
    } catch (thrown) {
      failures.push(asError(thrown))
      throw thrown
    } finally {
      stop.removeEventListener('abort', give)
    }
  }
}

function nothingUnderWay(): UnderWay {
  return { waiting: 0, tried: new Set(), dials: new Set(), won: Promise.withResolvers(), done: new AbortController() }
}

/** Waits until it is the next address's turn: the one before failed, or has not answered for a while. */
async function turn(previous: Attempt, signal: AbortSignal): Promise<void> {
  const failed = previous.result.then(
    () => new Promise<void>(() => undefined), // it won: nobody needs a turn
    () => undefined
  )
  const isLate = previous.started.then(() => pause(DIAL_STAGGER_MS, signal))
  await Promise.race([failed, isLate])
}

/** The first to succeed; when none does, what went wrong first. */
async function firstOf(dials: Iterable<Promise<Connection>>): Promise<Connection> {
  try {
    return await Promise.any(dials)
  } catch (thrown) {
    throw (thrown as AggregateError).errors[0]
  }
}

function parsed(text: string): Multiaddr | undefined {
  try {
    return multiaddr(text)
  } catch {
    return undefined // a stranger's address that is none
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(asMusterError(signal.reason, 'aborted'))
    signal.addEventListener('abort', () => reject(asMusterError(signal.reason, 'aborted')), { once: true })
  })
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        reject(signal.reason)
      },
      { once: true }
    )
  })
}
