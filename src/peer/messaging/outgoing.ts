import type { Deadline, Deadlines } from '../../shared/core/deadlines.ts'
import type { MusterError } from '../../shared/core/errors.ts'
import { reportUncaught } from '../../shared/core/lifecycle.ts'
import { type MessageHead, PART_BYTES } from '../../shared/wire/message.ts'
import type { Progress } from '../api.ts'
import type { PackedValue } from '../value.ts'
import type { Answer } from './exchange.ts'
import { givenUp } from './failure.ts'

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** How a call ended well: with a receipt, and for a request with the answer. */
export interface Sent {
  readonly id: number
  readonly rttMs: number
  readonly answer: Answer | undefined
}

export interface OutgoingOptions {
  /** The message of the other side that this answers. */
  readonly replyTo?: number | undefined
  readonly wantsReply: boolean
  readonly timeoutMs: number
  /** Until when, on the clock, it may wait for a member that is away, and be said again; 0 for not at all. */
  readonly waitUntil: number
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/** One value on its way out, from the call that hands it in until that call is answered. */
export class Outgoing {
  value: PackedValue
  readonly replyTo: number | undefined
  readonly wantsReply: boolean
  readonly waitUntil: number
  /** What it takes at the other side, which has to unpack it. */
  claimedBytes: number
  /** Longer than one part, packed or not: it may be overtaken, and is not said again. */
  readonly isLarge: boolean
  /** 0 while it was on no stream; what is said again over another one keeps its id. */
  id = 0
  /** It was on a stream that broke. */
  mayHaveArrived = false
  sentBytes = 0
  handedAt = 0
  /** It has changed the stream once already. */
  hasReopened = false
  /** The caller has its answer, or gave up. */
  isSettled = false
  /** Where it is kept, to be told. */
  outbox: { onGivenUp(outgoing: Outgoing): void; onSettled(outgoing: Outgoing): void } | undefined
  readonly #options: OutgoingOptions
  #resolve: ((sent: Sent) => void) | undefined
  #reject: ((error: MusterError) => void) | undefined
  #deadline: Deadline | undefined
  #onAbort: (() => void) | undefined

  constructor(value: PackedValue, options: OutgoingOptions) {
    this.value = value
    this.replyTo = options.replyTo
    this.wantsReply = options.wantsReply
    this.waitUntil = options.waitUntil
    this.claimedBytes = Math.max(value.body.length, value.rawSize)
    this.isLarge = this.claimedBytes > PART_BYTES
    this.#options = options
  }

  /** What the caller waits for. The deadline of a large value is one without progress. */
  settled(deadlines: Deadlines): Promise<Sent> {
    const { timeoutMs, signal } = this.#options
    this.#deadline = deadlines.after(timeoutMs, () => this.#giveUp('timed-out'))
    if (signal !== undefined) {
      this.#onAbort = () => this.#giveUp('aborted', signal.reason)
      signal.addEventListener('abort', this.#onAbort, { once: true })
    }
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** What it says at its head, with the first part of its value. */
  head(body: Uint8Array): MessageHead {
    const { value, replyTo, wantsReply } = this
    const head: Writable<MessageHead> = { id: this.id, kind: value.kind, body }
    if (replyTo !== undefined) head.replyTo = replyTo
    if (wantsReply) head.wantsReply = true
    if (value.body.length > PART_BYTES) head.size = value.body.length
    if (value.encoding !== undefined) {
      head.encoding = value.encoding
      head.rawSize = value.rawSize
    }
    if (this.waitUntil > 0 && !this.isLarge && !wantsReply) head.mayRepeat = true
    return head
  }

  progress(sentBytes: number): void {
    this.sentBytes = sentBytes
    this.extend()
    try {
      this.#options.onProgress?.({ bytes: sentBytes, totalBytes: this.value.body.length })
    } catch (thrown) {
      reportUncaught(thrown) // as of a listener: the stream is not its caller's alone
    }
  }

  /** All of it was sent and nobody waits for it any more. */
  forgetBody(): void {
    this.value = { ...this.value, body: new Uint8Array(0) }
    this.sentBytes = 0
    this.claimedBytes = 0
  }

  /** Something of it, or of its answer, went on. */
  extend(): void {
    this.#deadline?.restart()
  }

  resolve(sent: Sent): void {
    if (this.#settle()) this.#resolve?.(sent)
  }

  reject(error: MusterError): void {
    if (this.#settle()) this.#reject?.(error)
  }

  #settle(): boolean {
    if (this.isSettled) return false
    this.isSettled = true
    this.outbox?.onSettled(this)
    this.#deadline?.stop()
    if (this.#onAbort !== undefined) this.#options.signal?.removeEventListener('abort', this.#onAbort)
    return true
  }

  #giveUp(code: 'timed-out' | 'aborted', reason?: unknown): void {
    if (this.isSettled) return
    const { timeoutMs } = this.#options
    const late = this.isLarge ? `nothing went on for ${timeoutMs} ms` : `no answer within ${timeoutMs} ms`
    const what = code === 'aborted' ? 'it was cancelled' : late
    const state = this.id === 0 ? 'the message was not sent' : 'the message may have been delivered or not'
    const error = givenUp(code, `${what}; ${state}`, reason)
    this.reject(error)
    this.outbox?.onGivenUp(this)
  }
}
