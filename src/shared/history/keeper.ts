import type { PeerId } from '../core/address.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { asMusterError, isMusterError, MusterError } from '../core/errors.ts'
import type { Undo } from '../core/lifecycle.ts'
import { type Log, silentLog } from '../core/log.ts'
import { deadlineBy, raceSignal } from '../core/signals.ts'
import { type TopicId, topicIdOf } from '../core/topic.ts'
import { TokenBuckets } from '../node/buckets.ts'
import type { Channel, Node } from '../node/port.ts'
import { HISTORY_PROTOCOL, type HistoryFrame, MAX_HISTORY_FRAME_BYTES, MAX_HISTORY_MESSAGES } from '../wire/history.ts'
import type { Kept } from './book.ts'
import { endFrame, entryFrame, type HistoryRefusal, historyRefusalFrame, readHistoryFrame } from './frame.ts'
import {
  ANSWER_BYTES_BURST,
  ANSWER_BYTES_PER_SECOND,
  ANSWER_TIMEOUT_MS,
  ASK_COST_BYTES,
  ASK_TIMEOUT_MS,
  MAX_ANSWERS,
  MAX_ASKERS,
  MAX_HISTORY_STREAMS_PER_CONNECTION
} from './limits.ts'
import type { HistoryStore } from './store.ts'

export interface KeeperNeeds {
  readonly node: Pick<Node, 'handle'>
  readonly store: Pick<HistoryStore, 'newest' | 'read'>
  keeps(topicId: TopicId): boolean
  /**
   * Verifies the record an asker presents about itself.
   * @throws MusterError `not-a-member` | `limit-reached` | `protocol-violation`.
   */
  admit(peerId: PeerId, topicId: TopicId, envelope: Uint8Array): Promise<void>
  readonly clock?: Clock
  readonly log?: Log
  onAnswered?(outcome: 'answered' | 'refused' | 'failed'): void
}

/** Serves the history protocol (docs/protocols/history.md) until the returned undo is called: members get what is kept. */
export function serveHistory(needs: KeeperNeeds): Undo {
  const serving = new Serving(needs)
  return needs.node.handle(
    HISTORY_PROTOCOL,
    { maxFrameBytes: MAX_HISTORY_FRAME_BYTES, maxInboundPerConnection: MAX_HISTORY_STREAMS_PER_CONNECTION },
    channel => serving.serve(channel)
  )
}

class Serving {
  readonly #needs: KeeperNeeds
  readonly #clock: Clock
  readonly #rates = new TokenBuckets(ANSWER_BYTES_PER_SECOND, ANSWER_BYTES_BURST, MAX_ASKERS)
  #answers = 0

  constructor(needs: KeeperNeeds) {
    this.#needs = needs
    this.#clock = needs.clock ?? systemClock
  }

  /** One question, one answer. */
  async serve(channel: Channel): Promise<void> {
    const { log = silentLog, onAnswered } = this.#needs
    try {
      const refusal = await this.#answer(channel)
      onAnswered?.(refusal === undefined ? 'answered' : 'refused')
      using limit = deadlineBy(this.#clock, ANSWER_TIMEOUT_MS, 'the end of an answer')
      if (refusal !== undefined) await raceSignal(channel.send(historyRefusalFrame(refusal)), limit.signal)
      await raceSignal(channel.close(), limit.signal)
    } catch (thrown) {
      const error = asMusterError(thrown, 'closed')
      onAnswered?.('failed')
      log.debug({ err: error, peerId: channel.peerId }, 'history not served')
      channel.abort(error)
    }
  }

  async #answer(channel: Channel): Promise<HistoryRefusal | undefined> {
    const { keeps, admit, store } = this.#needs
    const { topic, envelope, limit } = await this.#question(channel)
    const topicId = topicIdOf(topic)
    if (!keeps(topicId)) return 'not-kept'
    const { peerId } = channel
    if (!this.#rates.take(peerId, this.#clock.now(), ASK_COST_BYTES)) return 'limit-reached'
    try {
      await admit(peerId, topicId, envelope)
    } catch (thrown) {
      if (isMusterError(thrown, 'not-a-member')) return 'not-a-member'
      if (isMusterError(thrown, 'limit-reached')) return 'limit-reached'
      throw thrown
    }
    const messages = store.newest(topicId, Math.min(limit, MAX_HISTORY_MESSAGES))
    const bytes = messages.reduce((sum, message) => sum + message.bytes, 0)
    if (this.#answers >= MAX_ANSWERS || !this.#rates.take(peerId, this.#clock.now(), bytes)) return 'limit-reached'
    this.#answers++
    try {
      await this.#give(channel, messages)
    } finally {
      this.#answers--
    }
    return undefined
  }

  async #question(channel: Channel): Promise<NonNullable<HistoryFrame['ask']>> {
    using limit = deadlineBy(this.#clock, ASK_TIMEOUT_MS, 'a question about history')
    const first = await raceSignal(channel.frames[Symbol.asyncIterator]().next(), limit.signal)
    if (first.done === true) throw new MusterError('closed', 'the stream ended before anything was asked')
    const { ask } = readHistoryFrame(first.value)
    if (ask === undefined || ask.limit === 0)
      throw new MusterError('protocol-violation', 'the first frame does not ask')
    return ask
  }

  /** Newest first: an answer that is cut off has what matters most. */
  async #give(channel: Channel, messages: readonly Kept[]): Promise<void> {
    using limit = deadlineBy(this.#clock, ANSWER_TIMEOUT_MS, 'an answer about history', channel.signal)
    for (const message of messages.toReversed()) {
      const proof = await this.#needs.store.read(message)
      if (proof !== undefined) await raceSignal(channel.send(entryFrame(proof)), limit.signal)
    }
    await raceSignal(channel.send(endFrame()), limit.signal)
  }
}
