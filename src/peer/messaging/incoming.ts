import type { PeerId } from '../../shared/core/address.ts'
import { asMusterError, isMusterError, MusterError } from '../../shared/core/errors.ts'
import { type TopicId, topicIdOf } from '../../shared/core/topic.ts'
import { closeWithin } from '../../shared/node/closing.ts'
import type { Channel } from '../../shared/node/port.ts'
import type { MessageFrame } from '../../shared/wire/message.ts'
import type { Progress, Value } from '../api.ts'
import type { Context } from './context.ts'
import { Exchange } from './exchange.ts'
import { type RefusalCode, readFrame, refusalFrame, welcomeFrame } from './frame.ts'
import { MAX_REMEMBERED_SENDERS, RESEND_MEMORY_MS } from './limits.ts'
import type { Request } from './request.ts'
import { Sender } from './sender.ts'

export interface Delivery {
  /** The sender, proven by the connection. */
  readonly from: PeerId
  readonly topicId: TopicId
  /** The sender's number for the message, the same as in its receipt. */
  readonly id: string
  readonly value: Value
  /** Set when the sender waits for an answer. */
  readonly request: Request | undefined
}

export interface IncomingNeeds {
  readonly context: Context
  isMember(topicId: TopicId): boolean
  admit(topicId: TopicId, peerId: PeerId, envelope: Uint8Array): Promise<void>
  deliver(delivery: Delivery): void | Promise<void>
  onProgress(from: PeerId, topicId: TopicId, id: string, progress: Progress): void
  /** Called once for each message judged. */
  onJudged(outcome: 'taken' | RefusalCode): void
}

/** Serves the channels others open towards us: one per sender and topic. */
export class Incoming {
  readonly #needs: IncomingNeeds
  readonly #senders = new Map<string, Sender>()
  readonly #channels = new Set<Channel>()

  constructor(needs: IncomingNeeds) {
    this.#needs = needs
  }

  /** Streams that are served, and senders that are remembered. */
  get held(): { readonly streams: number; readonly senders: number } {
    return { streams: this.#channels.size, senders: this.#senders.size }
  }

  /** Serves one channel until it ends. Whatever it throws has broken that channel alone. */
  async serve(channel: Channel): Promise<void> {
    if (this.#channels.size >= this.#needs.context.limits.maxStreams) return this.#refuse(channel, 'limit-reached')
    this.#channels.add(channel)
    try {
      const batches = channel.batches[Symbol.asyncIterator]()
      const opened = await this.#open(channel, batches)
      if (opened === undefined) return await this.#refuse(channel, 'not-a-member')
      await this.#serveTopic(channel, opened, batches)
      await this.#close(channel)
    } catch (thrown) {
      channel.abort(asMusterError(thrown, 'closed'))
    } finally {
      this.#channels.delete(channel)
    }
  }

  /** Closes the channels of one topic. Senders stay remembered: the topic may be joined again before they give up. */
  async forget(topicId: TopicId): Promise<void> {
    const senders = [...this.#senders.values()].filter(sender => sender.topicId === topicId)
    await Promise.all(
      senders.map(async sender => {
        const closed = sender.exchange && this.#close(sender.exchange.channel)
        sender.dropQueue() // the channel takes nothing any more: a refusal would end what may come again
        await closed
      })
    )
  }

  /** A member left or was lost: it waits for no answer. Its last words may still be on their way. */
  abandon(topicId: TopicId, peerId: PeerId, error: MusterError): void {
    this.#senders.get(keyOf(peerId, topicId))?.exchange?.cancelRequests(error)
  }

  /** Closes all channels. A message the application still works on gets no receipt. */
  async close(): Promise<void> {
    await Promise.all([...this.#channels].map(channel => this.#close(channel)))
  }

  #close(channel: Channel): Promise<void> {
    const { limits, clock } = this.#needs.context
    return closeWithin(channel, limits.closeTimeoutMs, clock)
  }

  async #refuse(channel: Channel, code: RefusalCode): Promise<void> {
    this.#needs.onJudged(code)
    channel.send(refusalFrame(code)).catch(() => undefined) // closing waits for it; gone already is as good
    await this.#close(channel)
  }

  /** Reads and judges the OPEN frame. Undefined: the sender, or we, are not in the topic. */
  async #open(channel: Channel, batches: AsyncIterator<readonly Uint8Array[]>): Promise<Opened | undefined> {
    const { clock, limits } = this.#needs.context
    const stop = clock.after(limits.openTimeoutMs, () =>
      channel.abort(new MusterError('timed-out', 'the stream was not opened in time'))
    )
    try {
      const batch = await batches.next()
      const [first, ...rest] = batch.done === true ? [] : batch.value
      if (first === undefined) throw new MusterError('closed', 'the stream ended before it was opened')
      const { open } = readFrame(first)
      if (open === undefined) throw new MusterError('protocol-violation', 'the first frame does not open the stream')
      const topicId = topicIdOf(open.topic)
      if (!this.#needs.isMember(topicId)) return undefined
      await this.#needs.admit(topicId, channel.peerId, open.envelope)
      return { open, topicId, rest }
    } catch (thrown) {
      if (isMusterError(thrown, 'not-a-member')) return undefined
      throw thrown
    } finally {
      stop()
    }
  }

  async #serveTopic(
    channel: Channel,
    { open, topicId, rest }: Opened,
    batches: AsyncIterator<readonly Uint8Array[]>
  ): Promise<void> {
    const { context, onJudged, onProgress } = this.#needs
    const sender = this.#senderOf(channel.peerId, topicId, open.session)
    const outbox = context.outboxTo(channel.peerId, () => exchange.wake())
    outbox.terms = { encodings: open.encodings ?? 0, maxBytes: open.maxBytes }
    const exchange: Exchange = new Exchange(channel, {
      context,
      outbox,
      onMessage: (incoming, finish) => {
        if (this.#needs.isMember(topicId)) {
          sender.take(incoming, finish)
          return
        }
        finish('not-a-member')
        exchange.end(new MusterError('closed', 'the topic was left'))
        void exchange.flush().then(() => this.#refuse(channel, 'not-a-member'))
      },
      onRefused: onJudged,
      onProgress: (id, progress) => onProgress(channel.peerId, topicId, String(id), progress)
    })
    sender.replace(exchange)
    outbox.answers.say(welcomeFrame(context.terms))
    try {
      await exchange.read(inFront(rest, batches))
    } finally {
      const error = new MusterError('closed', 'the stream ended')
      exchange.end(error)
      outbox.close(error)
      sender.release(exchange)
      this.#forgetLater(channel.peerId, topicId, sender)
    }
  }

  /** A sender keeps its place while it comes back in the same session: what came twice is taken once. */
  #senderOf(peerId: PeerId, topicId: TopicId, session: number): Sender {
    const key = keyOf(peerId, topicId)
    const known = this.#senders.get(key)
    const { context, onJudged } = this.#needs
    const sender =
      known?.session === session
        ? known
        : new Sender(topicId, session, {
            maxRemembered: context.limits.maxUnreceiptedMessages,
            deliver: ({ id, value, request }) =>
              this.#needs.deliver({ from: peerId, topicId, id: String(id), value, request }),
            onJudged
          })
    if (known !== undefined && known !== sender) known.giveWayTo(sender)
    this.#senders.delete(key) // the map's order is that of the last stream
    this.#senders.set(key, sender)
    if (this.#senders.size > MAX_REMEMBERED_SENDERS) this.#forgetOldest()
    return sender
  }

  #forgetLater(peerId: PeerId, topicId: TopicId, sender: Sender): void {
    const key = keyOf(peerId, topicId)
    const forget = (): void => {
      if (sender.exchange === undefined && this.#senders.get(key) === sender) this.#senders.delete(key)
    }
    sender.expiry?.stop()
    if (sender.isMemorable) sender.expiry = this.#needs.context.deadlines.after(RESEND_MEMORY_MS, forget)
    else forget()
  }

  #forgetOldest(): void {
    for (const [key, sender] of this.#senders) {
      if (sender.exchange !== undefined) continue
      sender.expiry?.stop()
      this.#senders.delete(key)
      return
    }
  }
}

interface Opened {
  readonly open: NonNullable<MessageFrame['open']>
  readonly topicId: TopicId
  /** Frames that came together with OPEN. */
  readonly rest: readonly Uint8Array[]
}

function keyOf(peerId: PeerId, topicId: TopicId): string {
  return `${peerId} ${topicId}`
}

async function* inFront<T>(first: T, rest: AsyncIterator<T>): AsyncGenerator<T> {
  yield first
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value
}
