import type { PeerId } from '../../shared/core/address.ts'
import type { Clock } from '../../shared/core/clock.ts'
import { asError, asMusterError, isMusterError, MusterError } from '../../shared/core/errors.ts'
import type { Log } from '../../shared/core/log.ts'
import { type Topic, type TopicId, topicIdOf } from '../../shared/core/topic.ts'
import { closeWithin } from '../../shared/node/closing.ts'
import type { Channel } from '../../shared/node/port.ts'
import type { ByteStream } from '../api.ts'
import { RawStream } from './byte-stream.ts'
import { ACCEPT_FRAME, isStreamName, type RefusalCode, readFrame, refusalFrame } from './frame.ts'
import type { StreamLimits } from './limits.ts'

export type StreamHandler = (stream: ByteStream) => void | Promise<void>

export interface IncomingNeeds {
  readonly membership: {
    ownEnvelope(topicId: TopicId): Uint8Array | undefined
    admit(topicId: TopicId, peerId: PeerId, envelope: Uint8Array): Promise<void>
  }
  handlerOf(topicId: TopicId, name: string): { readonly topic: Topic; readonly run: StreamHandler } | undefined
  onOpened(stream: RawStream): void
  onClosed(stream: RawStream): void
  /** Called once for each stream others opened. */
  onOver(outcome: 'ended' | 'broken' | 'refused'): void
  readonly clock: Clock
  readonly log: Log
}

/** Serves the streams others open towards us. */
export class Incoming {
  readonly #needs: IncomingNeeds
  readonly #limits: StreamLimits
  readonly #channels = new Set<Channel>()

  constructor(needs: IncomingNeeds, limits: StreamLimits) {
    this.#needs = needs
    this.#limits = limits
  }

  /** Judges who opens what, and hands the stream to its handler. Whatever goes wrong breaks this stream alone. */
  async serve(channel: Channel): Promise<void> {
    const { maxStreams, maxStreamsPerPeer } = this.#limits
    if (this.#channels.size >= maxStreams || this.#countFrom(channel.peerId) >= maxStreamsPerPeer) {
      return await this.#refuse(channel, 'limit-reached')
    }
    this.#channels.add(channel)
    try {
      const frames = channel.frames[Symbol.asyncIterator]()
      const judged = await this.#judge(channel, frames)
      if (typeof judged === 'string') {
        await this.#refuse(channel, judged)
        this.#channels.delete(channel)
        return
      }
      await channel.send(ACCEPT_FRAME)
      this.#start(channel, frames, judged)
    } catch (thrown) {
      this.#channels.delete(channel)
      channel.abort(asMusterError(thrown, 'closed'))
      this.#needs.onOver('broken')
    }
  }

  /** Drops what was not judged yet. */
  close(): void {
    for (const channel of this.#channels) channel.abort(new MusterError('closed'))
  }

  #countFrom(peerId: PeerId): number {
    let count = 0
    for (const channel of this.#channels) if (channel.peerId === peerId) count++
    return count
  }

  async #refuse(channel: Channel, code: RefusalCode): Promise<void> {
    this.#needs.onOver('refused')
    channel.send(refusalFrame(code)).catch(() => undefined) // closing waits for it; gone already is as good
    await closeWithin(channel, this.#limits.closeTimeoutMs, this.#needs.clock)
  }

  async #judge(
    channel: Channel,
    frames: AsyncIterator<Uint8Array>
  ): Promise<RefusalCode | { readonly topic: Topic; readonly name: string; readonly run: StreamHandler }> {
    const { membership, clock, handlerOf } = this.#needs
    const stop = clock.after(this.#limits.openTimeoutMs, () =>
      channel.abort(new MusterError('timed-out', 'the stream was not opened in time'))
    )
    try {
      const first = await frames.next()
      if (first.done === true) throw new MusterError('closed', 'the stream ended before it was opened')
      const { open } = readFrame(first.value)
      if (open === undefined || !isStreamName(open.name)) {
        throw new MusterError('protocol-violation', 'the first frame does not open the stream')
      }
      const topicId = topicIdOf(open.topic)
      if (membership.ownEnvelope(topicId) === undefined) return 'not-a-member'
      await membership.admit(topicId, channel.peerId, open.envelope)
      const handler = handlerOf(topicId, open.name)
      return handler === undefined ? 'no-handler' : { ...handler, name: open.name }
    } catch (thrown) {
      if (isMusterError(thrown, 'not-a-member')) return 'not-a-member'
      throw thrown
    } finally {
      stop()
    }
  }

  #start(
    channel: Channel,
    frames: AsyncIterator<Uint8Array>,
    { topic, name, run }: { readonly topic: Topic; readonly name: string; readonly run: StreamHandler }
  ): void {
    const { clock, log, onOpened, onClosed, onOver } = this.#needs
    const onStreamOver = (over: RawStream, outcome: 'ended' | 'broken'): void => {
      this.#channels.delete(channel)
      onClosed(over)
      onOver(outcome)
    }
    const stream = new RawStream({ channel, frames, topic, name, onOver: onStreamOver }, this.#limits, clock)
    onOpened(stream)
    void (async () => {
      try {
        await run(stream)
      } catch (thrown) {
        if (!stream.signal.aborted) log.warn({ err: asError(thrown), name }, 'a handler of streams failed')
        stream.abort(asMusterError(thrown, 'handler-failed'))
      }
    })()
  }
}
