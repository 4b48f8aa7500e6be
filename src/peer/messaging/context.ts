import type { PeerId } from '../../shared/core/address.ts'
import type { Clock } from '../../shared/core/clock.ts'
import { Deadlines } from '../../shared/core/deadlines.ts'
import { MusterError } from '../../shared/core/errors.ts'
import type { SendOptions, Value } from '../api.ts'
import { checkTimes } from '../times.ts'
import { encodeValue, type PackedValue } from '../value.ts'
import { Budget } from './budget.ts'
import { givenUp } from './failure.ts'
import type { MessagingLimits } from './limits.ts'
import { Outbox } from './outbox.ts'
import { Outgoing, type Sent } from './outgoing.ts'
import { type Compression, pack, type Terms, type Unpacked, unpack } from './pack.ts'

export interface HandOptions extends SendOptions {
  readonly replyTo?: number
  readonly wantsReply: boolean
  /** Called when a value that is compressed first does not get into the outbox after all. */
  readonly onNotHanded?: () => void
}

/** Longest time-out a timer takes; a larger one would fire at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

/** What all streams of one peer share: time, limits, room, and how a value is handed in and taken out. */
export class Context {
  readonly clock: Clock
  readonly limits: MessagingLimits
  readonly deadlines: Deadlines
  readonly incomingBytes: Budget
  readonly outgoingBytes: Budget
  readonly #compression: Compression | undefined
  readonly #now: () => number
  /** Outboxes in which a large value waits for room on its way to a peer. */
  readonly #waiting = new Map<PeerId, Set<() => void>>()
  #lastId = 0

  constructor(clock: Clock, now: () => number, limits: MessagingLimits, compression: Compression | undefined) {
    this.clock = clock
    this.#now = now
    this.limits = limits
    this.deadlines = new Deadlines(clock)
    this.incomingBytes = new Budget(limits.maxPeerBytes, limits.maxIncomingBytes)
    this.outgoingBytes = new Budget(limits.maxPeerBytes)
    this.#compression = compression
  }

  /** What we say of ourselves. */
  get terms(): Terms {
    return { encodings: this.#compression?.encodings ?? 0, maxBytes: this.limits.maxMessageBytes }
  }

  /** Somewhere to put what goes to a peer. `wake` is called when there is something to say. */
  outboxTo(peerId: PeerId, wake: () => void): Outbox {
    return new Outbox(
      {
        now: this.#now,
        nextId: () => ++this.#lastId,
        take: bytes => this.#takeRoom(peerId, bytes, wake),
        give: bytes => this.#giveRoom(peerId, bytes),
        wake
      },
      this.limits
    )
  }

  /**
   * Judges a value and puts it into an outbox, at once: the order of the calls is the order of the messages. Only a large
   * value that is compressed first comes later.
   * @throws MusterError `options-invalid` | `aborted` | `value-invalid` | `too-large` | `limit-reached`.
   */
  hand(outbox: Outbox, value: Value, options: HandOptions): Promise<Sent> {
    const { signal, replyTo, wantsReply, onProgress, waitMs = 0 } = options
    const { timeoutMs = this.limits.timeoutMs + waitMs } = options
    checkTimes(options)
    if (signal?.aborted) throw givenUp('aborted', 'the send was cancelled; the message was not sent', signal.reason)
    const encoded = encodeValue(value, Math.min(this.limits.maxMessageBytes, outbox.terms.maxBytes))
    const waitUntil = waitMs === 0 ? 0 : this.clock.now() + waitMs
    const put = (packed: PackedValue, leftMs: number): Promise<Sent> => {
      const outgoing = new Outgoing(packed, { replyTo, wantsReply, timeoutMs: leftMs, waitUntil, signal, onProgress })
      outbox.add(outgoing)
      return outgoing.settled(this.deadlines)
    }
    const { encodings } = outbox.terms
    const { compressAbove } = this.limits
    const maxMs = Math.min(timeoutMs, MAX_TIMEOUT_MS)
    const start = this.clock.now()
    const ready = pack(encoded, { encodings, compressAbove }, this.#compression)
    if (!(ready instanceof Promise)) return put(ready, maxMs)
    const handing = ready.then(packed => {
      const leftMs = maxMs - (this.clock.now() - start)
      if (signal?.aborted) throw givenUp('aborted', 'the send was cancelled; the message was not sent', signal.reason)
      if (leftMs <= 0) throw new MusterError('timed-out', `not packed within ${maxMs} ms; the message was not sent`)
      return { receipt: put(packed, leftMs) }
    })
    handing.catch(() => options.onNotHanded?.())
    return handing.then(({ receipt }) => receipt)
  }

  #takeRoom(peerId: PeerId, bytes: number, wake: () => void): boolean {
    if (this.outgoingBytes.take(peerId, bytes)) return true
    const waiting = this.#waiting.get(peerId) ?? new Set()
    this.#waiting.set(peerId, waiting.add(wake))
    return false
  }

  /** Room is shared by all streams to a peer: whichever waits for it hears of it. */
  #giveRoom(peerId: PeerId, bytes: number): void {
    this.outgoingBytes.give(peerId, bytes)
    const waiting = this.#waiting.get(peerId) ?? []
    this.#waiting.delete(peerId)
    for (const wake of waiting) queueMicrotask(wake) // not in the midst of what gives it
  }

  /** See `unpack`. */
  unpack(value: PackedValue): Unpacked | Promise<Unpacked> {
    return unpack(value, this.#compression)
  }
}
