import type { PeerId } from '../../shared/core/address.ts'
import type { Clock } from '../../shared/core/clock.ts'
import { asMusterError, MusterError } from '../../shared/core/errors.ts'
import { Scope } from '../../shared/core/lifecycle.ts'
import type { Log } from '../../shared/core/log.ts'
import { deadlineBy, raceSignal } from '../../shared/core/signals.ts'
import { Slots } from '../../shared/core/slots.ts'
import { type TopicId, topicIdOf } from '../../shared/core/topic.ts'
import type { Channel, Node } from '../../shared/node/port.ts'
import { ackCodec, BROADCAST_PROTOCOL, MAX_ACK_FRAME_BYTES } from '../../shared/wire/broadcast.ts'
import {
  ACK_TIMEOUT_MS,
  MAX_ACK_CHANNELS_PER_CONNECTION,
  MAX_ACK_WAITS,
  MAX_PARALLEL_ACKS,
  MAX_WAITING_ACKS
} from './limits.ts'

export interface AcksNeeds {
  readonly node: Pick<Node, 'open' | 'handle' | 'connect'>
  readonly clock: Clock
  readonly log: Log
}

/** A wait for acknowledgements. */
export interface AckWait {
  /** Those who answered, in the order of their answers, once everybody did or `ms` have passed. */
  collected(ms: number, signal: AbortSignal | undefined): Promise<readonly PeerId[]>
  /** Answers that come later go nowhere. */
  end(): void
}

interface Collector {
  readonly awaited: ReadonlySet<PeerId>
  readonly came: Set<PeerId>
  readonly all: PromiseWithResolvers<void>
}

/** Acknowledgements: those given for broadcasts of others, and those waited for. One frame on a channel of its own each. */
export class Acks {
  readonly #needs: AcksNeeds
  readonly #scope = new Scope()
  readonly #slots = new Slots(MAX_PARALLEL_ACKS)
  readonly #collectors = new Map<string, Collector>()
  #given = 0

  constructor(needs: AcksNeeds) {
    this.#needs = needs
    const limits = { maxFrameBytes: MAX_ACK_FRAME_BYTES, maxInboundPerConnection: MAX_ACK_CHANNELS_PER_CONNECTION }
    this.#scope.defer(needs.node.handle(BROADCAST_PROTOCOL, limits, channel => this.#take(channel)))
  }

  /** Broadcasts that are waited for. */
  get waits(): number {
    return this.#collectors.size
  }

  /**
   * Waits for `awaited`, whoever of them answers; nobody else is counted.
   * @throws MusterError `limit-reached`.
   */
  expect(topicId: TopicId, sequence: number, awaited: readonly PeerId[]): AckWait {
    if (this.#collectors.size >= MAX_ACK_WAITS) {
      throw new MusterError('limit-reached', `${MAX_ACK_WAITS} broadcasts wait for acknowledgements already`)
    }
    const key = `${topicId} ${sequence}`
    const collector: Collector = { awaited: new Set(awaited), came: new Set(), all: Promise.withResolvers() }
    this.#collectors.set(key, collector)
    if (awaited.length === 0) collector.all.resolve()
    return {
      collected: async (ms, signal) => {
        const undo = this.#needs.clock.after(ms, () => collector.all.resolve())
        try {
          await raceSignal(collector.all.promise, AbortSignal.any([this.#scope.signal, ...(signal ? [signal] : [])]))
        } catch (thrown) {
          throw asMusterError(thrown, 'aborted')
        } finally {
          undo()
        }
        return [...collector.came]
      },
      end: () => void this.#collectors.delete(key)
    }
  }

  /** Tells an author that our application took its broadcast; best effort. */
  async give(author: PeerId, addresses: readonly string[], topicKey: Uint8Array, sequence: number): Promise<void> {
    const { node, clock, log } = this.#needs
    if (this.#given >= MAX_WAITING_ACKS + MAX_PARALLEL_ACKS) return
    this.#given++
    try {
      await this.#slots.run(async () => {
        using limit = deadlineBy(clock, ACK_TIMEOUT_MS, 'an acknowledgement', this.#scope.signal)
        const { signal } = limit
        await node.connect({ peerId: author, addresses }, { signal })
        const first = [ackCodec.encode({ topic: topicKey, sequence })]
        const channel = await node.open(author, BROADCAST_PROTOCOL, {
          first,
          maxFrameBytes: MAX_ACK_FRAME_BYTES,
          signal
        })
        await channel.close()
      }, this.#scope.signal)
    } catch (err) {
      if (!this.#scope.signal.aborted) log.debug({ err, peerId: author }, 'a broadcast is not acknowledged')
    } finally {
      this.#given--
    }
  }

  close(): Promise<void> {
    return this.#scope.close()
  }

  async #take(channel: Channel): Promise<void> {
    for await (const frame of channel.frames) {
      const { topic, sequence } = ackCodec.decode(frame)
      const collector = this.#collectors.get(`${topicIdOf(topic)} ${sequence}`)
      if (collector?.awaited.has(channel.peerId) === true) {
        collector.came.add(channel.peerId)
        if (collector.came.size === collector.awaited.size) collector.all.resolve()
      }
      break // one each: a channel that goes on is closed
    }
    await channel.close()
  }
}
