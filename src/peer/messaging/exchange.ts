import { asMusterError, isMusterError, MusterError } from '../../shared/core/errors.ts'
import type { Channel } from '../../shared/node/port.ts'
import { type MessageFrame, PART_BYTES } from '../../shared/wire/message.ts'
import type { Progress, Value } from '../api.ts'
import type { Context } from './context.ts'
import { type RefusalCode, readFrame, refusalCodeOf } from './frame.ts'
import { type Arrived, Inbox } from './inbox.ts'
import { MAX_TURN_MS } from './limits.ts'
import type { Outbox } from './outbox.ts'
import type { Unpacked } from './pack.ts'
import { OpenRequest, type Reply, type Request } from './request.ts'

/** A message of the other side that answers one of ours. */
export interface Answer {
  readonly id: number
  readonly value: Value
  /** Set when the other side waits for an answer in its turn. */
  readonly request: Request | undefined
}

/** A message of the other side that stands for itself. */
export interface Incoming extends Answer {
  readonly mayRepeat: boolean
}

export interface ExchangeNeeds {
  readonly context: Context
  readonly outbox: Outbox
  /** A message that stands for itself; `finish` is to be called once with what came of it. Absent where none may come. */
  onMessage?(incoming: Incoming, finish: (outcome: 'taken' | RefusalCode) => void): void
  onProgress(id: number, progress: Progress): void
  /** A message was refused before the application saw it. */
  onRefused?(code: RefusalCode): void
  /** WELCOME, and the refusal of the whole stream: only who opened the stream gets them. */
  onWelcome?(welcome: NonNullable<MessageFrame['welcome']>): void
  onStreamRefused?(code: RefusalCode): void
}

/** Frames that are looked at before the clock is. */
const FRAMES_PER_LOOK = 64

/** One channel with what is said on it and what is heard: both sides of a stream run the same. */
export class Exchange {
  readonly channel: Channel
  readonly #needs: ExchangeNeeds
  readonly #inbox: Inbox
  readonly #requests = new Map<number, OpenRequest>()
  /** Messages of one part that came and are not answered: the other side keeps count of them too. */
  #unfinished = 0
  #isPumping = false
  #pumping = Promise.resolve()
  #isPumpDue = false
  #isOver = false

  constructor(channel: Channel, needs: ExchangeNeeds) {
    this.channel = channel
    this.#needs = needs
    const { deadlines, incomingBytes, limits } = needs.context
    const { peerId } = channel
    this.#inbox = new Inbox(
      {
        deadlines,
        take: bytes => incomingBytes.take(peerId, bytes),
        give: bytes => incomingBytes.give(peerId, bytes),
        hold: bytes => incomingBytes.hold(bytes),
        letGo: bytes => incomingBytes.letGo(bytes),
        onMessage: arrived => this.#onMessage(arrived),
        onRefused: (id, code, replyTo) => {
          this.#needs.onRefused?.(code)
          this.#needs.outbox.answers.refuse(id, code)
          if (replyTo !== undefined) this.#needs.outbox.onReplyRefused(replyTo, code)
        },
        onProgress: (id, progress, replyTo) => {
          this.#needs.onProgress(id, progress)
          if (replyTo !== undefined) this.#needs.outbox.onReplyProgress(replyTo)
        },
        onCancelled: id => this.#cancel(id, new MusterError('aborted', 'the other side does not wait any more'))
      },
      limits
    )
  }

  /** Sends what there is to say, soon: what is said in the same turn leaves together. */
  wake(): void {
    if (this.#isPumpDue || this.#isPumping) return
    this.#isPumpDue = true
    queueMicrotask(() => {
      this.#isPumpDue = false
      void this.flush()
    })
  }

  /** Sends what there is to say; resolves when all of it is with the channel. Never rejects. */
  flush(): Promise<void> {
    if (!this.#isPumping) this.#pumping = this.#pump()
    return this.#pumping
  }

  /** Reads until the other side ends the stream. @throws MusterError what broke it. */
  async read(batches: AsyncIterator<readonly Uint8Array[]>): Promise<void> {
    let turnStart = performance.now()
    let untilLook = FRAMES_PER_LOOK
    for (let next = await batches.next(); next.done !== true; next = await batches.next()) {
      for (const bytes of next.value) {
        if (this.#isOver) return
        this.#take(readFrame(bytes))
        if (this.#needs.outbox.isUnheard) throw new MusterError('limit-reached', 'what we answer is not read')
        if (--untilLook > 0) continue
        untilLook = FRAMES_PER_LOOK
        if (performance.now() - turnStart > MAX_TURN_MS) {
          await new Promise(resolve => setTimeout(resolve)) // ten thousand small messages may lie in one chunk
          turnStart = performance.now()
        }
      }
    }
  }

  /** The channel is over: what is half here is dropped, and whoever works on a request is told that nobody waits. */
  end(reason: MusterError): void {
    this.#isOver = true
    this.#inbox.close()
    this.cancelRequests(reason)
  }

  /** Nobody waits for what was asked, although the channel may go on for a moment. */
  cancelRequests(reason: MusterError): void {
    for (const id of [...this.#requests.keys()]) this.#cancel(id, reason)
  }

  async #pump(): Promise<void> {
    const { channel } = this
    this.#isPumping = true
    try {
      while (!channel.signal.aborted) {
        const frames = this.#needs.outbox.next(PART_BYTES)
        if (frames.length === 0) break
        // in one go, so that they leave together; those that find room share a promise
        const sent = new Set<Promise<void>>()
        for (const frame of frames) sent.add(channel.send(frame))
        await Promise.all(sent)
      }
    } catch (thrown) {
      // answers may still lie unread, so the reader says when it is over; until then nothing more is handed to it
      if (!isMusterError(thrown, 'closed')) channel.abort(asMusterError(thrown, 'closed'))
    } finally {
      this.#isPumping = false
    }
  }

  #take(frame: MessageFrame): void {
    const { outbox, onWelcome, onStreamRefused } = this.#needs
    const { receipt, refusal, welcome } = frame
    if (receipt !== undefined) {
      outbox.onReceipt(receipt.id, receipt.since)
      this.wake()
    } else if (refusal?.id !== undefined) {
      outbox.onRefusal(refusal.id, refusalCodeOf(refusal.code))
      this.wake()
    } else if (welcome !== undefined && onWelcome !== undefined) onWelcome(welcome)
    else if (refusal !== undefined && onStreamRefused !== undefined) onStreamRefused(refusalCodeOf(refusal.code))
    else this.#inbox.take(frame)
  }

  #onMessage(arrived: Arrived): void {
    const { context } = this.#needs
    if (!isLarge(arrived) && ++this.#unfinished > context.limits.maxUnreceiptedMessages) {
      throw new MusterError('protocol-violation', 'more messages than may be under way')
    }
    try {
      const value = context.unpack(arrived.value)
      if (value instanceof Promise) void this.#onceUnpacked(arrived, value)
      else this.#onValue(arrived, value)
    } catch (thrown) {
      arrived.release()
      throw thrown
    }
  }

  async #onceUnpacked(arrived: Arrived, value: Promise<Unpacked>): Promise<void> {
    try {
      const unpacked = await value
      if (this.#isOver) arrived.release()
      else this.#onValue(arrived, unpacked)
    } catch (thrown) {
      arrived.release()
      this.channel.abort(asMusterError(thrown, 'protocol-violation'))
    }
  }

  #onValue(arrived: Arrived, unpacked: Unpacked): void {
    const { id, replyTo, wantsReply, mayRepeat } = arrived
    const { outbox, onMessage } = this.#needs
    const request = wantsReply ? this.#openRequest(arrived) : undefined
    if (unpacked === undefined || (wantsReply && request === undefined)) {
      const code = unpacked === undefined ? 'refused' : 'limit-reached'
      this.#finish(arrived, request, code)
      if (replyTo !== undefined) outbox.onReplyRefused(replyTo, code)
      return
    }
    const { value } = unpacked
    if (replyTo !== undefined) {
      const isTaken = outbox.onReply(replyTo, { id, value, request })
      this.#finish(arrived, request, isTaken ? 'taken' : 'aborted')
      this.wake()
    } else if (onMessage === undefined) {
      throw new MusterError('protocol-violation', 'a message on a stream that is for answers')
    } else onMessage({ id, value, request, mayRepeat }, outcome => this.#finish(arrived, request, outcome))
  }

  /** The application took it, or it was refused. An answer given meanwhile has said so already. */
  #finish(arrived: Arrived, request: OpenRequest | undefined, outcome: 'taken' | RefusalCode): void {
    arrived.release()
    if (request?.isAnswered === true) return
    if (!isLarge(arrived)) this.#unfinished--
    if (request !== undefined) request.isCounted = false
    if (outcome === 'taken') this.#needs.outbox.answers.receipt(arrived.id)
    else {
      if (request !== undefined) this.#cancel(arrived.id, new MusterError('closed', 'the message was refused'))
      this.#needs.outbox.answers.refuse(arrived.id, outcome)
    }
  }

  #openRequest(arrived: Arrived): OpenRequest | undefined {
    if (this.#requests.size >= this.#needs.context.limits.maxOpenRequests) return undefined
    const request = new OpenRequest(arrived.id, !isLarge(arrived), this.#reply)
    this.#requests.set(arrived.id, request)
    return request
  }

  readonly #reply: Reply = (request, value, wantsReply, options) => {
    const { context, outbox } = this.#needs
    const onNotHanded = (): void => {
      if (!this.#isOver) outbox.answers.refuse(request.id, 'refused') // whoever asked waits for something to be said
    }
    const sent = context.hand(outbox, value, { ...options, replyTo: request.id, wantsReply, onNotHanded })
    this.#requests.delete(request.id)
    if (request.isCounted) this.#unfinished-- // the answer is the receipt too
    request.isCounted = false
    return sent
  }

  #cancel(id: number, reason: MusterError): void {
    const request = this.#requests.get(id)
    this.#requests.delete(id)
    request?.cancel(reason)
  }
}

function isLarge({ value }: Arrived): boolean {
  return Math.max(value.body.length, value.rawSize) > PART_BYTES
}
