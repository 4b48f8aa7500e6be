import type { PeerId } from '../core/address.ts'
import { asMusterError, MusterError } from '../core/errors.ts'
import { reportUncaught, type Undo } from '../core/lifecycle.ts'
import { raceSignal } from '../core/signals.ts'
import type { TopicId } from '../core/topic.ts'
import type { RunningGossip } from './gossip.ts'
import type { GossipInsight } from './gossip-insight.ts'
import type { Gossip, GossipMessage, GossipVerdict, Published, WaitOptions } from './port.ts'

type Judge = (message: GossipMessage) => Promise<GossipVerdict>

/** Gossip that is loaded with the first topic, and not before the quiet start is over. */
export class LazyGossip implements Gossip {
  readonly #start: () => Promise<RunningGossip>
  readonly #notBeforeMs: number
  readonly #closed = Promise.withResolvers<never>()
  readonly #topics = new Map<TopicId, { readonly judge: Judge; undo?: Undo }>()
  #running: Promise<RunningGossip> | undefined
  #gossip: RunningGossip | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #isClosed = false

  constructor(start: () => Promise<RunningGossip>, delayMs: number) {
    this.#start = start
    this.#notBeforeMs = performance.now() + delayMs
    this.#closed.promise.catch(() => undefined) // only those who wait for the start hear it
  }

  subscribe(topicId: TopicId, judge: Judge): Undo {
    if (this.#topics.has(topicId)) throw new MusterError('options-invalid', 'the topic is subscribed to already')
    const topic: { readonly judge: Judge; undo?: Undo } = { judge }
    this.#topics.set(topicId, topic)
    if (this.#gossip !== undefined) topic.undo = this.#gossip.subscribe(topicId, judge)
    else void this.#started().catch(thrown => !this.#isClosed && reportUncaught(thrown))
    return () => {
      if (this.#topics.get(topicId) !== topic) return
      this.#topics.delete(topicId)
      topic.undo?.()
    }
  }

  async publish(topicId: TopicId, data: Uint8Array, { signal }: WaitOptions = {}): Promise<Published> {
    const started = this.#started()
    const gossip = await (signal === undefined ? started : raceSignal(started, signal)).catch(thrown => {
      throw asMusterError(thrown, 'closed')
    })
    return await gossip.publish(topicId, data)
  }

  neighbours(topicId: TopicId): readonly PeerId[] {
    return this.#gossip?.neighbours(topicId) ?? []
  }

  /** What has been started, for those who look inside. */
  get running(): GossipInsight | undefined {
    return this.#gossip
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#closed.reject(new MusterError('closed', 'the node is closed'))
    await this.#running?.catch(() => undefined)
    await this.#gossip?.stop()
  }

  #started(): Promise<RunningGossip> {
    this.#running ??= Promise.race([this.#load(), this.#closed.promise])
    return this.#running
  }

  async #load(): Promise<RunningGossip> {
    await new Promise<void>(resolve => {
      this.#timer = setTimeout(resolve, Math.max(0, this.#notBeforeMs - performance.now()))
      this.#timer.unref?.()
    })
    const gossip = await this.#start()
    if (this.#isClosed) {
      await gossip.stop()
      throw new MusterError('closed', 'the node is closed')
    }
    this.#gossip = gossip
    for (const [topicId, topic] of this.#topics) topic.undo = gossip.subscribe(topicId, topic.judge)
    return gossip
  }
}
