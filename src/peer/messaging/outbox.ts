import { MusterError } from '../../shared/core/errors.ts'
import { PART_BYTES } from '../../shared/wire/message.ts'
import type { Answer } from './exchange.ts'
import { refusalError } from './failure.ts'
import { cancelFrame, messageFrame, partFrame, type RefusalCode, receiptFrame, refusalFrame } from './frame.ts'
import type { MessagingLimits } from './limits.ts'
import { type Outgoing, tooMany } from './outgoing.ts'

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

/** What the other side of a stream said of itself. */
export interface Terms {
  /** The sum of the encodings it reads. */
  readonly encodings: number
  /** Longest value it takes, in bytes. */
  readonly maxBytes: number
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
  answers = 0
  readonly #needs: OutboxNeeds
  readonly #limits: MessagingLimits
  readonly #small: Outgoing[] = []
  readonly #large: Outgoing[] = []
  #smallBytes = 0
  #largeBytes = 0
  /** Handed in whole or in part, and neither taken nor refused. What its caller gave up stays: it takes room over there. */
  readonly #handed = new Map<number, Outgoing>()
  /** The highest id that was handed. */
  #lastHanded = 0
  #handedSmall = 0
  #handedBytes = 0
  readonly #transfers: Outgoing[] = []
  readonly #asked = new Map<number, Outgoing>()
  #answers: Uint8Array[] = []
  #taken: { since: number; id: number } | undefined

  constructor(needs: OutboxNeeds, limits: MessagingLimits) {
    this.#needs = needs
    this.#limits = limits
  }

  /** Nothing waits here, and nothing is due from the other side. */
  get isIdle(): boolean {
    return !this.isWaiting && this.#handed.size === 0 && this.#asked.size === 0
  }

  get isWaiting(): boolean {
    return this.#small.length > 0 || this.#large.length > 0
  }

  /** Somebody still waits for something that has to do with this stream. */
  get isWanted(): boolean {
    return this.isWaiting || this.#asked.size > 0 || [...this.#handed.values()].some(each => !each.isSettled)
  }

  /** @throws MusterError `limit-reached`. */
  add(outgoing: Outgoing): void {
    const { maxWaitingMessages, maxWaitingBytes, maxPeerBytes, maxAsked } = this.#limits
    const { length } = outgoing.value.body
    const [queue, bytes, maxBytes] = outgoing.isLarge
      ? [this.#large, this.#largeBytes, maxPeerBytes]
      : [this.#small, this.#smallBytes, maxWaitingBytes]
    if (queue.length >= maxWaitingMessages || bytes + length > maxBytes) throw tooMany(queue.length, bytes)
    if (outgoing.wantsReply && this.#asked.size >= maxAsked) {
      throw new MusterError('limit-reached', `${maxAsked} requests to this member are open; wait for their answers`)
    }
    outgoing.onGivenUp = () => this.#onGivenUp(outgoing)
    queue.push(outgoing)
    this.#count(outgoing, length)
    this.#needs.wake()
  }

  /** Says that messages were taken; runs of them are said at once. */
  receipt(id: number): void {
    if (this.#taken !== undefined && this.#taken.id + 1 === id) this.#taken.id = id
    else {
      this.#sayTaken()
      this.#taken = { since: id, id }
    }
    this.#needs.wake()
  }

  refuse(id: number, code: RefusalCode): void {
    this.say(refusalFrame(code, id))
  }

  /** A frame that goes out before any message. */
  say(frame: Uint8Array): void {
    this.#sayTaken()
    this.#answers.push(frame)
    this.#needs.wake()
  }

  /** The next frames, in the order they have to leave; `maxBytes` of them and at most one part more. Empty: nothing to do. */
  next(maxBytes: number): Uint8Array[] {
    this.#sayTaken()
    const frames = this.#answers
    this.#answers = []
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
      this.#judgeWhole(each)
      const outgoing = this.#unhand(each)
      if (!outgoing.wantsReply) outgoing.resolve(this.#sent(outgoing))
      else if (!outgoing.isSettled) this.#asked.set(each, outgoing)
    }
  }

  /** @throws MusterError `protocol-violation` for a refusal of something that was not sent. */
  onRefusal(id: number, code: RefusalCode): void {
    const asked = this.#asked.get(id)
    if (asked === undefined && !this.#handed.has(id) && id <= this.#lastHanded) return // it crossed our CANCEL
    const outgoing = asked ?? this.#unhand(id)
    this.#asked.delete(id)
    if (this.#dropTransfer(outgoing)) this.say(cancelFrame(id)) // the parts under way belong to nothing
    outgoing.reject(refusalError(code, 'message'))
  }

  /** An answer: also the receipt of the request. False when nobody waits for it any more. */
  onReply(replyTo: number, answer: Answer): boolean {
    const asked = this.#asked.get(replyTo)
    const handed = this.#handed.get(replyTo)
    if (asked === undefined && handed?.wantsReply !== true) return false
    this.#judgeWhole(replyTo)
    const outgoing = asked ?? this.#unhand(replyTo)
    this.#asked.delete(replyTo)
    if (outgoing.isSettled) return false
    outgoing.resolve({ ...this.#sent(outgoing), answer })
    return true
  }

  /** A part of an answer came. */
  onReplyProgress(replyTo: number): void {
    const asked = this.#asked.get(replyTo) ?? this.#handed.get(replyTo)
    if (asked?.wantsReply === true) asked.restart()
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
      if (outgoing.waitUntil > now || !outgoing.hasReopened) {
        outgoing.hasReopened = true
        return false
      }
      return true
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

  /** When the first of those that wait for an absent member gives up. */
  get waitsUntil(): number {
    return [...this.#small, ...this.#large].reduce(
      (first, { waitUntil }) => Math.min(first, waitUntil),
      Number.POSITIVE_INFINITY
    )
  }

  #nextSmall(): Uint8Array | undefined {
    const { maxUnreceiptedMessages, maxUnreceiptedBytes } = this.#limits
    const [outgoing] = this.#small
    if (outgoing === undefined) return undefined
    const { body } = outgoing.value
    const hasRoom = this.#handedSmall < maxUnreceiptedMessages && this.#handedBytes + body.length <= maxUnreceiptedBytes
    if (!hasRoom && this.#handedSmall > 0) return undefined
    this.#small.shift()
    this.#count(outgoing, -body.length)
    this.#handedSmall++
    this.#handedBytes += body.length
    outgoing.sentBytes = body.length
    return this.#hand(outgoing, body)
  }

  #nextPart(): Uint8Array | undefined {
    const [waiting] = this.#large
    const { maxTransfers } = this.#limits
    if (waiting !== undefined && this.#transfers.length < maxTransfers && this.#needs.take(waiting.value.body.length)) {
      this.#large.shift()
      this.#count(waiting, -waiting.value.body.length)
      this.#transfers.push(waiting)
      const first = waiting.value.body.subarray(0, PART_BYTES)
      const frame = this.#hand(waiting, first)
      waiting.progress(first.length)
      return frame
    }
    const at = this.#transfers.findIndex(({ value, sentBytes }) => sentBytes < value.body.length)
    const outgoing = this.#transfers[at]
    if (outgoing === undefined) return undefined
    this.#transfers.push(...this.#transfers.splice(at, 1)) // the others first, next time
    const part = outgoing.value.body.subarray(outgoing.sentBytes, outgoing.sentBytes + PART_BYTES)
    outgoing.progress(outgoing.sentBytes + part.length)
    return partFrame(outgoing.id, part)
  }

  #hand(outgoing: Outgoing, body: Uint8Array): Uint8Array {
    const { value, replyTo, wantsReply, waitUntil, isLarge } = outgoing
    if (outgoing.id === 0) outgoing.id = this.#needs.nextId() // what is said again keeps its id
    outgoing.handedAt = this.#needs.now()
    this.#handed.set(outgoing.id, outgoing)
    this.#lastHanded = Math.max(this.#lastHanded, outgoing.id)
    return messageFrame({
      id: outgoing.id,
      kind: value.kind,
      body,
      ...(replyTo === undefined ? {} : { replyTo }),
      ...(wantsReply ? { wantsReply } : {}),
      ...(isLarge ? { size: value.body.length } : {}),
      ...(value.encoding === undefined ? {} : { encoding: value.encoding, rawSize: value.rawSize }),
      ...(waitUntil > 0 && !isLarge && !wantsReply ? { mayRepeat: true } : {})
    })
  }

  /** @throws MusterError `protocol-violation` when a part of it has not been sent: nobody can have taken it. */
  #judgeWhole(id: number): void {
    const handed = this.#handed.get(id)
    if (handed !== undefined && handed.sentBytes < handed.value.body.length) {
      throw new MusterError('protocol-violation', 'an answer to a message that is not whole')
    }
  }

  #unhand(id: number): Outgoing {
    const outgoing = this.#handed.get(id)
    if (outgoing === undefined) throw new MusterError('protocol-violation', 'an answer to a message that was not sent')
    this.answers++
    this.#handed.delete(id)
    if (!outgoing.isLarge) {
      this.#handedSmall--
      this.#handedBytes -= outgoing.value.body.length
    } else if (outgoing.sentBytes === outgoing.value.body.length) this.#dropTransfer(outgoing)
    return outgoing
  }

  /** True when a part of it has not been sent. */
  #dropTransfer(outgoing: Outgoing): boolean {
    const at = this.#transfers.indexOf(outgoing)
    if (at < 0) return false
    this.#transfers.splice(at, 1)
    this.#needs.give(outgoing.value.body.length)
    return outgoing.sentBytes < outgoing.value.body.length
  }

  #onGivenUp(outgoing: Outgoing): void {
    const queue = outgoing.isLarge ? this.#large : this.#small
    const at = queue.indexOf(outgoing)
    if (at >= 0) {
      queue.splice(at, 1)
      this.#count(outgoing, -outgoing.value.body.length)
      this.#refuseUnanswered(outgoing)
      this.#needs.wake()
      return
    }
    const isWhole = this.#handed.has(outgoing.id) && outgoing.sentBytes === outgoing.value.body.length
    if (outgoing.isLarge && isWhole) this.#forgetBody(outgoing)
    const isPartial = !isWhole && this.#dropTransfer(outgoing)
    if (isPartial) {
      this.#handed.delete(outgoing.id)
      this.#refuseUnanswered(outgoing)
    }
    const isAsked = this.#asked.delete(outgoing.id) || (outgoing.wantsReply && this.#handed.has(outgoing.id))
    if (isPartial || isAsked) this.say(cancelFrame(outgoing.id))
    else this.#needs.wake()
  }

  /** It keeps its place until the other side says what came of it, which may be never; its bytes are not kept for that. */
  #forgetBody(outgoing: Outgoing): void {
    this.#needs.give(outgoing.value.body.length)
    outgoing.forgetBody()
  }

  /** An answer that never gets there whole: whoever asked hears that none comes, and has its place back. */
  #refuseUnanswered({ replyTo }: Outgoing): void {
    if (replyTo !== undefined) this.refuse(replyTo, 'refused')
  }

  #requeue(outgoing: Outgoing): void {
    outgoing.sentBytes = 0
    const queue = outgoing.isLarge ? this.#large : this.#small
    queue.unshift(outgoing)
    this.#count(outgoing, outgoing.value.body.length)
  }

  #failWaiting(error: MusterError, isFailed: (outgoing: Outgoing) => boolean): void {
    for (const queue of [this.#small, this.#large]) {
      for (const outgoing of queue.splice(0)) {
        if (!isFailed(outgoing)) queue.push(outgoing)
        else {
          this.#count(outgoing, -outgoing.value.body.length)
          outgoing.reject(outgoing.mayHaveArrived ? perhapsSent(error) : error)
        }
      }
    }
  }

  #count(outgoing: Outgoing, bytes: number): void {
    if (outgoing.isLarge) this.#largeBytes += bytes
    else this.#smallBytes += bytes
  }

  /** Forgets everything that belongs to the stream. */
  #clear(): void {
    this.#handed.clear()
    this.#asked.clear()
    this.#handedSmall = 0
    this.#handedBytes = 0
    for (const outgoing of [...this.#transfers]) this.#dropTransfer(outgoing)
    this.#answers = []
    this.#taken = undefined
  }

  #sayTaken(): void {
    if (this.#taken === undefined) return
    const { id, since } = this.#taken
    this.#taken = undefined
    this.#answers.push(receiptFrame(id, since))
  }

  #sent({ id, handedAt }: Outgoing): { id: number; rttMs: number; answer: undefined } {
    return { id, rttMs: Math.max(0, this.#needs.now() - handedAt), answer: undefined }
  }
}

/** What waits may have been on a stream that broke: then nobody knows. */
function perhapsSent(cause: MusterError): MusterError {
  const text = 'the connection broke before the receipt came; the message may have been delivered or not'
  return new MusterError('gone', text, { cause })
}
