import type { PeerId } from '../../shared/core/address.ts'
import type { Clock } from '../../shared/core/clock.ts'
import { asMusterError, isMusterError, MusterError } from '../../shared/core/errors.ts'
import { deadlineBy, raceSignal } from '../../shared/core/signals.ts'
import type { Topic, TopicId } from '../../shared/core/topic.ts'
import type { Channel, Node } from '../../shared/node/port.ts'
import { MAX_STREAM_FRAME_BYTES, STREAM_PROTOCOL } from '../../shared/wire/stream.ts'
import type { OpenStreamOptions } from '../api.ts'
import { RawStream } from './byte-stream.ts'
import { openFrame, readAnswer } from './frame.ts'
import type { StreamLimits } from './limits.ts'

export interface OutgoingNeeds {
  readonly node: Pick<Node, 'open' | 'isConnected'>
  connect(peerId: PeerId, signal: AbortSignal): Promise<void>
  readonly membership: { ownEnvelope(topicId: TopicId): Uint8Array | undefined }
  onOpened(stream: RawStream): void
  onClosed(stream: RawStream): void
  /** Called once for each stream we tried to open. */
  onOver(outcome: 'ended' | 'broken' | 'refused' | 'failed'): void
  readonly clock: Clock
}

/** Longest time-out a timer takes; a larger one would fire at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

/** Opens streams to others. */
export class Outgoing {
  readonly #needs: OutgoingNeeds
  readonly #limits: StreamLimits
  /** Streams by receiver: being opened, and open. */
  readonly #counts = new Map<PeerId, number>()
  readonly #opening = new Map<AbortController, TopicId>()

  constructor(needs: OutgoingNeeds, limits: StreamLimits) {
    this.#needs = needs
    this.#limits = limits
  }

  /** Gives up what is being opened in these topics. */
  giveUp(ofThese: (topicId: TopicId) => boolean): void {
    for (const [controller, topicId] of this.#opening) {
      if (ofThese(topicId)) controller.abort(new MusterError('closed', 'the topic was left'))
    }
  }

  async open(topic: Topic, to: PeerId, name: string, { signal, timeoutMs }: OpenStreamOptions): Promise<RawStream> {
    const { clock, onOver } = this.#needs
    const ms = Math.min(timeoutMs ?? this.#limits.timeoutMs, MAX_TIMEOUT_MS)
    if (!(ms > 0)) throw new MusterError('options-invalid', `timeoutMs is ${timeoutMs}; it must be positive`)
    if (signal?.aborted) throw asMusterError(signal.reason, 'aborted')
    const count = this.#counts.get(to) ?? 0
    if (count >= this.#limits.maxStreamsPerPeer) {
      throw new MusterError('limit-reached', `${count} streams to this member are open already`)
    }
    this.#counts.set(to, count + 1)
    const leaving = new AbortController()
    this.#opening.set(leaving, topic.id)
    using limit = deadlineBy(clock, ms, 'the stream was not taken', signal, leaving.signal)
    try {
      return await this.#openNow(topic, to, name, limit.signal)
    } catch (thrown) {
      this.#release(to)
      const error = asMusterError(limit.signal.aborted ? limit.signal.reason : thrown, 'aborted')
      onOver(isRefusal(error) ? 'refused' : 'failed')
      throw error
    } finally {
      this.#opening.delete(leaving)
    }
  }

  async #openNow(topic: Topic, to: PeerId, name: string, signal: AbortSignal): Promise<RawStream> {
    const channel = await this.#dial(topic, to, name, signal)
    const frames = channel.frames[Symbol.asyncIterator]()
    try {
      const answer = await raceSignal(frames.next(), signal)
      if (answer.done === true) throw new MusterError('closed', 'the other side closed the stream without an answer')
      const refusal = readAnswer(answer.value)
      if (refusal !== undefined) throw new MusterError(refusal, `the other side refused the stream: ${refusal}`)
    } catch (thrown) {
      const error = asMusterError(thrown, 'closed')
      channel.abort(error)
      throw openingError(error)
    }
    const { clock, onOpened, onClosed, onOver } = this.#needs
    const onStreamOver = (over: RawStream, outcome: 'ended' | 'broken'): void => {
      this.#release(to)
      onClosed(over)
      onOver(outcome)
    }
    const stream = new RawStream({ channel, frames, topic, name, onOver: onStreamOver }, this.#limits, clock)
    onOpened(stream)
    return stream
  }

  async #dial(topic: Topic, to: PeerId, name: string, signal: AbortSignal): Promise<Channel> {
    const { node, connect, membership } = this.#needs
    for (let attempt = 1; ; attempt++) {
      if (!node.isConnected(to)) await raceSignal(connect(to, signal), signal).catch(rethrowDial)
      const envelope = membership.ownEnvelope(topic.id)
      if (envelope === undefined) throw new MusterError('not-a-member', 'this peer is not in the topic')
      const first = [openFrame(topic.key, envelope, name)]
      try {
        return await node.open(to, STREAM_PROTOCOL, { signal, first, maxFrameBytes: MAX_STREAM_FRAME_BYTES })
      } catch (thrown) {
        // the connection went away between the two lines; nothing was opened, so a second try opens nothing twice
        if (!isMusterError(thrown, 'unreachable') || attempt > 1) throw openingError(asMusterError(thrown, 'closed'))
      }
    }
  }

  #release(to: PeerId): void {
    const count = (this.#counts.get(to) ?? 1) - 1
    if (count > 0) this.#counts.set(to, count)
    else this.#counts.delete(to)
  }
}

function isRefusal({ code }: MusterError): boolean {
  return code === 'no-handler' || code === 'not-a-member' || code === 'limit-reached'
}

/** What a failed dial means to the caller. */
function rethrowDial(thrown: unknown): never {
  const error = asMusterError(thrown, 'unreachable')
  if (['unreachable', 'timed-out', 'closed', 'not-a-member'].includes(error.code)) throw error
  throw new MusterError('unreachable', undefined, { cause: thrown })
}

/** Who does not speak the protocol takes no streams; what else breaks the opening is `closed`. */
function openingError(error: MusterError): MusterError {
  if (error.code === 'network-mismatch') {
    return new MusterError('no-handler', 'the other side takes no streams', { cause: error })
  }
  if (error.code !== 'protocol-violation' && error.code !== 'too-large') return error
  return new MusterError('closed', 'the stream could not be opened', { cause: error })
}
