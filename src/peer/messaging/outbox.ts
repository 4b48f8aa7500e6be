import { MusterError } from '../../shared/core/errors.ts'
import { Answers } from './answers.ts'
import type { Answer } from './exchange.ts'
import { perhapsSent, refusalError } from './failure.ts'
import { messageFrame, partFrame, type RefusalCode } from './frame.ts'
import { MAX_UNSAID_ANSWERS, type MessagingLimits } from './limits.ts'
import type { Outgoing, Sent } from './outgoing.ts'
import type { Terms } from './pack.ts'
import { Transfers } from './transfers.ts'
import { Waiting } from './waiting.ts'

export interface OutboxNeeds {
  /** Milliseconds, as fine as can be had. */
  now(): number
  nextId(): number
  /** Room for a large value on its way to this peer; false: it waits. */
  take(bytes: number): boolean
  give(bytes: number): void
  /** There is something new to say. */
  wake(): void
}

/**
 * What we say on one stream, in which order; no I/O. Answers to the other side go first, then messages of one part in the
 * order of their calls, then a part of one large value, in turn. A value is in exactly one of three places: *waiting*
 * (it may be given up without a trace), *handed* (it may arrive), or *asked* (taken by the other side, its answer is due).
 */
export class Outbox {
  /** What the other side said of itself, once it did. */
  terms: Terms = { encodings: 0, maxBytes: Number.POSITIVE_INFINITY }
  /** Messages the other side has answered in some way. */
  answered = 0
  /** What is said about messages, ahead of them. */
  readonly answers: Answers
  readonly #needs: OutboxNeeds
  readonly #limits: MessagingLimits
  readonly #small: Waiting
  readonly #large: Waiting
  /** Handed in whole or in part, and neither taken nor refused. What its caller gave up stays: it takes room over there. */
  readonly #handed = new Map<number, Outgoing>()
  #handedSmall = 0
  #handedBytes = 0
  readonly #transfers: Transfers
  readonly #asked = new Map<number, Outgoing>()
  #openAsks = 0
  #lastHanded = 0
  #closed: MusterError | undefined

  constructor(needs: OutboxNeeds, limits: MessagingLimits) {
    this.#needs = needs
    this.#limits = limits
    this.answers = new Answers(() => needs.wake())
    this.#small = new Waiting(limits.maxWaitingMessages, limits.maxWaitingBytes)
    this.#large = new Waiting(limits.maxWaitingMessages, limits.maxPeerBytes)
    this.#transfers = new Transfers(limits.maxTransfers)
  }

  /** Nothing waits here, and nothing is due from the other side. */
  get isIdle(): boolean {
    return !this.isWaiting && this.#handed.size === 0 && this.#asked.size === 0
  }

  get isWaiting(): boolean {
    return !this.#small.isEmpty || !this.#large.isEmpty
  }

  /** Somebody still waits for something that has to do with this stream. */
  get isWanted(): boolean {
    return this.isWaiting || this.#asked.size > 0 || [...this.#handed.values()].some(each => !each.isSettled)
  }

  /** More waits to be said than a side that reads ever causes. */
  get isUnheard(): boolean {
    return this.answers.length > MAX_UNSAID_ANSWERS
  }

  /** When the first of those that wait for an absent member gives up. */
  get waitsUntil(): number {
    return Math.min(this.#small.waitsUntil, this.#large.waitsUntil)
  }

  /** @throws MusterError `limit-reached`; what the outbox was closed with. */
  add(outgoing: Outgoing): void {
    if (this.#closed !== undefined) throw this.#closed
    const { maxAsked } = this.#limits
    if (outgoing.wantsReply && this.#openAsks >= maxAsked) {
      throw new MusterError('limit-reached', `${maxAsked} requests to this member are open; wait for their answers`)
    }
    this.#queueOf(outgoing).add(outgoing)
    outgoing.outbox = this
    if (outgoing.wantsReply) this.#openAsks++
    this.#needs.wake()
  }

  /** The next frames, in the order they have to leave; `maxBytes` of them and at most one part more. Empty: nothing to do. */
  next(maxBytes: number): Uint8Array[] {
    const frames = this.answers.take()
    let bytes = frames.reduce((sum, frame) => sum + frame.length, 0)
    for (let frame = this.#nextSmall(); frame !== undefined; frame = bytes < maxBytes ? this.#nextSmall() : undefined) {
      frames.push(frame)
      bytes += frame.length
    }
    const part = this.#nextPart()
    if (part !== undefined) frames.push(part)
    return frames
  }

  /** @throws MusterError `protocol-violation` for a receipt of something that was not sent. */
  onReceipt(id: number, since = id): void {
    if (!(since <= id && id - since < this.#handed.size)) {
      throw new MusterError('protocol-violation', 'a receipt for an impossible run of messages')
    }
    for (let each = since; each <= id; each++) {
      const outgoing = this.#unhand(each)
      if (!outgoing.wantsReply) outgoing.resolve(this.#sent(outgoing))
      else if (!outgoing.isSettled) this.#asked.set(each, outgoing)
    }
  }

  /** @throws MusterError `protocol-violation` for a refusal of something that was not sent. */
  onRefusal(id: number, code: RefusalCode): void {
    const outgoing = this.#asked.get(id) ?? this.#handed.get(id)
    if (outgoing === undefined) {
      if (id <= this.#lastHanded) return // it crossed our CANCEL
      throw new MusterError('protocol-violation', 'a refusal of a message that was not sent')
    }
    if (this.#forget(outgoing)) this.answers.cancel(id) // the parts under way belong to nothing
    // only a caller cancels: who asks several must not take one of them for itself
    const said = code === 'aborted' && outgoing.replyTo === undefined ? 'refused' : code
    outgoing.reject(refusalError(said, 'message'))
  }

  /** An answer: also the receipt of the request. False when nobody waits for it any more. */
  onReply(replyTo: number, answer: Answer): boolean {
    const asked = this.#asked.get(replyTo)
    if (asked === undefined && this.#handed.get(replyTo)?.wantsReply !== true) return false
    const outgoing = asked ?? this.#unhand(replyTo)
    this.#asked.delete(replyTo)
    if (outgoing.isSettled) return false
    outgoing.resolve(this.#sent(outgoing, answer))
    return true
  }

  /** Parts of an answer come. */
  onReplyProgress(replyTo: number): void {
    ;(this.#asked.get(replyTo) ?? this.#handed.get(replyTo))?.extend()
  }

  /** The answer is there, and we cannot take it. */
  onReplyRefused(replyTo: number, code: RefusalCode): void {
    const outgoing = this.#asked.get(replyTo) ?? this.#handed.get(replyTo)
    if (outgoing?.wantsReply !== true || outgoing.sentBytes < outgoing.value.body.length) return
    this.#forget(outgoing)
    outgoing.reject(new MusterError(code, 'the answer came, and was refused on this side'))
  }

  /** The stream never existed: what was handed to it waits again, in front. */
  takeBack(): void {
    const handed = [...this.#handed.values()].filter(outgoing => !outgoing.isSettled)
    this.#clear()
    for (const outgoing of handed.toReversed()) {
      if (!outgoing.mayHaveArrived) outgoing.id = 0
      this.#requeue(outgoing)
    }
  }

  /**
   * The stream broke. What was handed to it fails with `error`, as do requests that were taken; what may be said again
   * waits in front. What waited fails with `again` the second time that this happens to it.
   */
  onBroken(error: MusterError, again: MusterError, now: number): void {
    const handed = [...this.#handed.values()]
    const asked = [...this.#asked.values()]
    this.#clear()
    this.#failWaiting(again, outgoing => {
      const isSecond = outgoing.hasReopened && outgoing.waitUntil <= now
      outgoing.hasReopened = true
      return isSecond
    })
    const isRepeated = (each: Outgoing): boolean => !each.isLarge && !each.wantsReply && each.waitUntil > now
    for (const outgoing of handed.toReversed()) {
      if (!outgoing.isSettled && isRepeated(outgoing)) {
        outgoing.mayHaveArrived = true
        this.#requeue(outgoing)
      } else outgoing.reject(error)
    }
    for (const outgoing of asked) outgoing.reject(error)
  }

  /** Fails what waits, except what may wait for longer. */
  failWaiting(error: MusterError, now: number): void {
    this.#failWaiting(error, outgoing => outgoing.waitUntil <= now)
  }

  failAll(error: MusterError): void {
    const outgoing = [...this.#handed.values(), ...this.#asked.values()]
    this.#clear()
    this.#failWaiting(error, () => true)
    for (const each of outgoing) each.reject(error)
  }

  /** Fails everything, and whatever is added from now on. */
  close(error: MusterError): void {
    this.#closed = error
    this.failAll(error)
  }

  #queueOf({ isLarge }: Outgoing): Waiting {
    return isLarge ? this.#large : this.#small
  }

  #nextSmall(): Uint8Array | undefined {
    const { maxUnreceiptedMessages, maxUnreceiptedBytes } = this.#limits
    const { first } = this.#small
    if (first === undefined) return undefined
    const { body } = first.value
    const hasRoom = this.#handedSmall < maxUnreceiptedMessages && this.#handedBytes + body.length <= maxUnreceiptedBytes
    if (!hasRoom && this.#handedSmall > 0) return undefined
    this.#small.shift()
    this.#handedSmall++
    this.#handedBytes += body.length
    first.sentBytes = body.length
    return this.#hand(first, body)
  }

  #nextPart(): Uint8Array | undefined {
    const { first } = this.#large
    // ids only go up: what is said again under its old one comes before anything new
    const isFree = this.#transfers.hasPlace && (this.#small.first?.id ?? 0) === 0
    if (first !== undefined && isFree && this.#needs.take(first.claimedBytes)) {
      this.#large.shift()
      const part = this.#transfers.begin(first)
      const frame = this.#hand(first, part)
      first.progress(part.length)
      return frame
    }
    const next = this.#transfers.next()
    if (next === undefined) return undefined
    const { outgoing, part } = next
    outgoing.progress(outgoing.sentBytes + part.length)
    return partFrame(outgoing.id, part)
  }

  #hand(outgoing: Outgoing, body: Uint8Array): Uint8Array {
    if (outgoing.id === 0) outgoing.id = this.#needs.nextId() // what is said again keeps its id
    outgoing.handedAt = this.#needs.now()
    this.#handed.set(outgoing.id, outgoing)
    this.#lastHanded = outgoing.id
    return messageFrame(outgoing.head(body))
  }

  /** @throws MusterError `protocol-violation` when it was not sent, or not all of it: nobody can have taken it. */
  #unhand(id: number): Outgoing {
    const outgoing = this.#handed.get(id)
    if (outgoing === undefined || outgoing.sentBytes < outgoing.value.body.length) {
      throw new MusterError('protocol-violation', 'an answer to a message that was not sent, or not all of it')
    }
    this.answered++
    this.#forget(outgoing)
    return outgoing
  }

  /** It is on this stream no more. True when a part of it was still to be sent. */
  #forget(outgoing: Outgoing): boolean {
    this.#asked.delete(outgoing.id)
    if (!this.#handed.delete(outgoing.id)) return false
    if (outgoing.isLarge) return this.#dropTransfer(outgoing)
    this.#handedSmall--
    this.#handedBytes -= outgoing.value.body.length
    return false
  }

  /** True when a part of it was still to be sent. */
  #dropTransfer(outgoing: Outgoing): boolean {
    if (!this.#transfers.remove(outgoing)) return false
    this.#needs.give(outgoing.claimedBytes)
    return outgoing.sentBytes < outgoing.value.body.length
  }

  /** @internal The caller has its answer. */
  onSettled({ wantsReply }: Outgoing): void {
    if (wantsReply) this.#openAsks--
  }

  /** @internal The caller does not wait any more. */
  onGivenUp(outgoing: Outgoing): void {
    if (this.#queueOf(outgoing).remove(outgoing)) {
      this.#refuseUnanswered(outgoing)
      this.#needs.wake()
      return
    }
    const isWhole = this.#handed.has(outgoing.id) && outgoing.sentBytes === outgoing.value.body.length
    const isPartial = !isWhole && this.#dropTransfer(outgoing)
    if (isPartial) {
      this.#handed.delete(outgoing.id)
      this.#refuseUnanswered(outgoing)
    } else if (outgoing.isLarge && isWhole) this.#forgetBody(outgoing)
    const isAsked = this.#asked.delete(outgoing.id) || (outgoing.wantsReply && this.#handed.has(outgoing.id))
    if (isPartial || isAsked) this.answers.cancel(outgoing.id)
    this.#needs.wake()
  }

  /** It keeps its place until the other side says what came of it, which may be never; its bytes are not kept for that. */
  #forgetBody(outgoing: Outgoing): void {
    this.#needs.give(outgoing.claimedBytes)
    outgoing.forgetBody()
  }

  /** An answer that never gets there whole: whoever asked hears that none comes, and has its place back. */
  #refuseUnanswered({ replyTo }: Outgoing): void {
    if (replyTo !== undefined) this.answers.refuse(replyTo, 'refused')
  }

  #requeue(outgoing: Outgoing): void {
    outgoing.sentBytes = 0
    this.#queueOf(outgoing).addInFront(outgoing)
  }

  #failWaiting(error: MusterError, isFailed: (outgoing: Outgoing) => boolean): void {
    for (const queue of [this.#small, this.#large]) {
      for (const outgoing of queue.takeOut(isFailed)) {
        outgoing.reject(outgoing.mayHaveArrived ? perhapsSent(error) : error)
      }
    }
  }

  /** Forgets everything that belongs to the stream. */
  #clear(): void {
    this.#handed.clear()
    this.#asked.clear()
    this.#handedSmall = 0
    this.#handedBytes = 0
    this.#lastHanded = 0
    for (const { claimedBytes } of this.#transfers.removeAll()) this.#needs.give(claimedBytes)
    this.answers.take()
  }

  #sent({ id, handedAt }: Outgoing, answer?: Answer): Sent {
    return { id, rttMs: Math.max(0, this.#needs.now() - handedAt), answer }
  }
}
