import type { PeerId } from '../../shared/core/address.ts'
import type { Clock } from '../../shared/core/clock.ts'
import { asMusterError, isMusterError, MusterError } from '../../shared/core/errors.ts'
import { type TopicId, topicIdOf } from '../../shared/core/topic.ts'
import type { Channel } from '../../shared/node/port.ts'
import type { MessageFrame } from '../../shared/wire/message.ts'
import type { Value } from '../api.ts'
import { decodeValue } from '../value.ts'
import { closeWithin } from './closing.ts'
import { type RefusalCode, readFrame, receiptFrame, refusalFrame } from './frame.ts'
import { MAX_TURN_MS, type MessagingLimits } from './limits.ts'

export interface Delivery {
  /** The sender, proven by the connection. */
  readonly from: PeerId
  readonly topicId: TopicId
  /** The sender's number for the message, the same as in its receipt. */
  readonly id: string
  readonly value: Value
}

export interface IncomingNeeds {
  isMember(topicId: TopicId): boolean
  admit(topicId: TopicId, peerId: PeerId, envelope: Uint8Array): Promise<void>
  deliver(delivery: Delivery): void | Promise<void>
  readonly clock: Clock
  /** Called once for each message judged. */
  onJudged(outcome: 'taken' | RefusalCode): void
}

/** What one sender says in one topic. It outlives its channel while the application is busy with a message. */
interface Line {
  readonly topicId: TopicId
  channel: Channel | undefined
  isBusy: boolean
  wake: (() => void) | undefined
}

/** Serves the channels others open towards us: one per sender and topic, each strictly in order. */
export class Incoming {
  readonly #needs: IncomingNeeds
  readonly #limits: MessagingLimits
  readonly #lines = new Map<string, Line>()
  readonly #channels = new Set<Channel>()

  constructor(needs: IncomingNeeds, limits: MessagingLimits) {
    this.#needs = needs
    this.#limits = limits
  }

  /** Serves one channel until it ends. Whatever it throws has broken that channel alone. */
  async serve(channel: Channel): Promise<void> {
    if (this.#channels.size >= this.#limits.maxStreams) return this.#refuse(channel, 'limit-reached')
    this.#channels.add(channel)
    try {
      const frames = channel.frames[Symbol.asyncIterator]()
      const topicId = await this.#open(channel, frames)
      if (topicId === undefined) return await this.#refuse(channel, 'not-a-member')
      await this.#serveTopic(channel, topicId, frames)
      await closeWithin(channel, this.#limits.closeTimeoutMs, this.#needs.clock)
    } catch (thrown) {
      channel.abort(asMusterError(thrown, 'closed'))
    } finally {
      this.#channels.delete(channel)
    }
  }

  /** Closes the channels of one topic. */
  async forget(topicId: TopicId): Promise<void> {
    const lines = [...this.#lines.values()].filter(line => line.topicId === topicId)
    await Promise.all(lines.map(line => line.channel && this.#close(line.channel)))
  }

  /** Closes all channels. A message the application still works on gets no receipt. */
  async close(): Promise<void> {
    await Promise.all([...this.#channels].map(channel => this.#close(channel)))
  }

  #close(channel: Channel): Promise<void> {
    return closeWithin(channel, this.#limits.closeTimeoutMs, this.#needs.clock)
  }

  async #refuse(channel: Channel, code: RefusalCode): Promise<void> {
    this.#needs.onJudged(code)
    channel.send(refusalFrame(code)).catch(() => undefined) // closing waits for it; gone already is as good
    await this.#close(channel)
  }

  /** Reads and judges the OPEN frame. Undefined: the sender, or we, are not in the topic. */
  async #open(channel: Channel, frames: AsyncIterator<Uint8Array>): Promise<TopicId | undefined> {
    const stop = this.#needs.clock.after(this.#limits.openTimeoutMs, () =>
      channel.abort(new MusterError('timed-out', 'the stream was not opened in time'))
    )
    try {
      const first = await frames.next()
      if (first.done === true) throw new MusterError('closed', 'the stream ended before it was opened')
      const { open } = readFrame(first.value)
      if (open === undefined) throw new MusterError('protocol-violation', 'the first frame does not open the stream')
      const topicId = topicIdOf(open.topic)
      if (!this.#needs.isMember(topicId)) return undefined
      await this.#needs.admit(topicId, channel.peerId, open.envelope)
      return topicId
    } catch (thrown) {
      if (isMusterError(thrown, 'not-a-member')) return undefined
      throw thrown
    } finally {
      stop()
    }
  }

  async #serveTopic(channel: Channel, topicId: TopicId, frames: AsyncIterator<Uint8Array>): Promise<void> {
    const key = `${channel.peerId} ${topicId}`
    const line = this.#lines.get(key) ?? { topicId, channel: undefined, isBusy: false, wake: undefined }
    this.#lines.set(key, line)
    // A sender has one stream per topic. When it opens another, the one before is dead to it, even if we do not know yet.
    line.channel?.abort(new MusterError('closed', 'the sender opened another stream for the topic'))
    line.channel = channel
    line.wake?.()
    try {
      await this.#untilFree(line, channel)
      await this.#readMessages(line, channel, frames)
    } finally {
      if (line.channel === channel) line.channel = undefined
      if (line.channel === undefined && !line.isBusy) this.#lines.delete(key)
    }
  }

  /** Order holds across streams: a message of the stream before may still be with the application. */
  async #untilFree(line: Line, channel: Channel): Promise<void> {
    while (line.isBusy && !channel.signal.aborted) {
      await new Promise<void>(resolve => {
        line.wake = resolve
        channel.signal.addEventListener('abort', () => resolve(), { once: true })
      })
    }
    if (channel.signal.aborted) throw channel.signal.reason
  }

  async #readMessages(line: Line, channel: Channel, frames: AsyncIterator<Uint8Array>): Promise<void> {
    let turnStart = performance.now()
    let lastId = 0
    for (let next = await frames.next(); next.done !== true; next = await frames.next()) {
      const { message } = readFrame(next.value)
      if (message === undefined)
        throw new MusterError('protocol-violation', 'a sender sent something else than messages')
      if (message.id <= lastId) throw new MusterError('protocol-violation', 'message ids do not increase')
      lastId = message.id
      if (!this.#needs.isMember(line.topicId)) return this.#refuse(channel, 'not-a-member')
      const outcome = await this.#judge(line, channel.peerId, message)
      this.#needs.onJudged(outcome)
      await channel.send(outcome === 'taken' ? receiptFrame(message.id) : refusalFrame(outcome, message.id))
      if (performance.now() - turnStart > MAX_TURN_MS) {
        await new Promise(resolve => setTimeout(resolve)) // ten thousand small messages may lie in one chunk
        turnStart = performance.now()
      }
    }
  }

  async #judge(
    line: Line,
    from: PeerId,
    message: NonNullable<MessageFrame['message']>
  ): Promise<'taken' | RefusalCode> {
    if (message.body.length > this.#limits.maxMessageBytes) return 'too-large'
    const decoded = decodeValue(message)
    if (decoded === undefined) return 'refused'
    line.isBusy = true
    try {
      await this.#needs.deliver({ from, topicId: line.topicId, id: String(message.id), value: decoded.value })
      return 'taken'
    } catch {
      return 'refused'
    } finally {
      line.isBusy = false
      line.wake?.()
    }
  }
}
