import type { PeerId } from '../core/address.ts'
import type { Clock } from '../core/clock.ts'
import { MusterError } from '../core/errors.ts'
import type { TopicId } from '../core/topic.ts'
import { endWithin } from '../node/closing.ts'
import type { Channel } from '../node/port.ts'
import { type TopicFrame, topicFrameCodec } from '../wire/topic.ts'
import {
  MAX_UNSENT_TOPIC_BYTES,
  MAX_UNSENT_TOPIC_FRAMES,
  TOPIC_CLOSE_MS,
  TOPIC_FRAMES_BURST,
  TOPIC_FRAMES_PER_SECOND
} from './limits.ts'

export type FrameKind = 'hello' | 'members' | 'update' | 'lost' | 'refusal' | 'unwatch'

/** A HELLO that waits for its answer. */
interface Asked {
  /** Our own record as it was sent. */
  readonly envelope: Uint8Array | undefined
  readonly answer: PromiseWithResolvers<void>
}

/** One topic stream to a neighbour. A HELLO, from either side, makes a topic shared: news of it goes both ways. */
export class Link {
  readonly channel: Channel
  readonly shared = new Set<TopicId>()
  /** Topics the neighbour has answered our HELLO for: there we take its word. */
  readonly trusted = new Set<TopicId>()
  /** Per topic in the order they were sent, as the answers come; an answer nobody asked for is a violation. */
  readonly #asked = new Map<TopicId, Asked[]>()
  readonly #onSent: (kind: FrameKind) => void
  #unsent = 0
  #unsentBytes = 0
  #tokens = TOPIC_FRAMES_BURST
  #tokensAt: number

  constructor(channel: Channel, now: number, onSent: (kind: FrameKind) => void) {
    this.channel = channel
    this.#tokensAt = now
    this.#onSent = onSent
  }

  get peerId(): PeerId {
    return this.channel.peerId
  }

  get isOpen(): boolean {
    return !this.channel.signal.aborted
  }

  /** Queues a frame; a neighbour that does not read for long loses its stream instead of growing our memory. */
  send(frame: TopicFrame): void {
    if (!this.isOpen) return
    const bytes = topicFrameCodec.encode(frame)
    if (this.#unsent >= MAX_UNSENT_TOPIC_FRAMES || this.#unsentBytes + bytes.length > MAX_UNSENT_TOPIC_BYTES) {
      this.channel.abort(new MusterError('limit-reached', 'the neighbour does not read'))
      return
    }
    this.#unsent++
    this.#unsentBytes += bytes.length
    this.#onSent(kindOf(frame))
    const onSettled = (): void => {
      this.#unsent--
      this.#unsentBytes -= bytes.length
    }
    this.channel.send(bytes).then(onSettled, onSettled) // when the channel is gone, its reader deals with that
  }

  /** False when the neighbour sends faster than it may. */
  mayReceive(now: number): boolean {
    const elapsedMs = Math.max(0, now - this.#tokensAt)
    this.#tokens = Math.min(TOPIC_FRAMES_BURST, this.#tokens + (elapsedMs / 1000) * TOPIC_FRAMES_PER_SECOND)
    this.#tokensAt = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  /** The answer to a HELLO that said the same and is still waited for. */
  awaited(topicId: TopicId, envelope: Uint8Array | undefined): Promise<void> | undefined {
    const last = this.#asked.get(topicId)?.at(-1)
    return last !== undefined && last.envelope === envelope ? last.answer.promise : undefined
  }

  /**
   * To be called when a HELLO goes out; resolves with its answer. Whoever waits may give up: the answer stays expected,
   * for it will come.
   */
  expect(topicId: TopicId, envelope: Uint8Array | undefined): Promise<void> {
    const answer = Promise.withResolvers<void>()
    answer.promise.catch(() => undefined) // perhaps nobody waits any more
    const asked = this.#asked.get(topicId) ?? []
    this.#asked.set(topicId, asked)
    asked.push({ envelope, answer })
    this.shared.add(topicId)
    return answer.promise
  }

  /** The oldest HELLO of a topic that waits for its answer; undefined when none does. */
  answered(topicId: TopicId): PromiseWithResolvers<void> | undefined {
    const asked = this.#asked.get(topicId)
    const oldest = asked?.shift()
    if (asked?.length === 0) this.#asked.delete(topicId)
    return oldest?.answer
  }

  /** No news of the topic any more, in either direction. */
  unshare(topicId: TopicId): void {
    this.shared.delete(topicId)
    this.trusted.delete(topicId)
  }

  /** Ends the stream once the neighbour has read what was said; one that does not read is not waited for. Never rejects. */
  close(clock: Clock): Promise<void> {
    return endWithin(this.channel, TOPIC_CLOSE_MS, clock)
  }

  /** Ends every HELLO that still waits. */
  fail(reason: MusterError): void {
    for (const asked of this.#asked.values()) for (const { answer } of asked) answer.reject(reason)
    this.#asked.clear()
  }
}

/**
 * Which of its fields a frame has set: exactly one, because a frame that says two things has no order.
 * @throws MusterError `protocol-violation`.
 */
export function kindOf(frame: TopicFrame): FrameKind {
  const [kind, ...more] = Object.keys(frame)
  if (kind === undefined || more.length > 0) {
    throw new MusterError('protocol-violation', 'a topic frame that does not say exactly one thing')
  }
  return kind as FrameKind
}
