import type { PeerId } from '../../shared/core/address.ts'
import { type Clock, systemClock } from '../../shared/core/clock.ts'
import { MusterError } from '../../shared/core/errors.ts'
import { type Closable, Scope, type Undo } from '../../shared/core/lifecycle.ts'
import { type Log, silentLog } from '../../shared/core/log.ts'
import type { Topic, TopicId } from '../../shared/core/topic.ts'
import type { Node } from '../../shared/node/port.ts'
import { MAX_STREAM_FRAME_BYTES, STREAM_PROTOCOL } from '../../shared/wire/stream.ts'
import type { ByteStream, LeaveReason, OpenStreamOptions } from '../api.ts'
import type { RawStream } from './byte-stream.ts'
import { isStreamName } from './frame.ts'
import { Incoming, type StreamHandler } from './incoming.ts'
import { DEFAULTS, type StreamLimits } from './limits.ts'
import { Outgoing } from './outgoing.ts'

/** What streams report to whoever counts: each stream once, when it is over. Labels are closed sets. */
export interface StreamMetrics {
  /** `refused` and `failed` were never taken; `failed` by no answer, `broken` without both ends in order. */
  onOver(direction: 'in' | 'out', outcome: 'ended' | 'broken' | 'refused' | 'failed'): void
}

export interface StreamsNeeds {
  readonly node: Pick<Node, 'peerId' | 'open' | 'handle' | 'isConnected'>
  /**
   * Dials a member. @throws MusterError `unreachable` | `timed-out`.
   */
  connect(peerId: PeerId, signal: AbortSignal): Promise<void>
  readonly membership: {
    /** Our signed member record; undefined when we are not in the topic. */
    ownEnvelope(topicId: TopicId): Uint8Array | undefined
    /**
     * Verifies an opener's record and makes it known.
     * @throws MusterError `not-a-member` | `protocol-violation`.
     */
    admit(topicId: TopicId, peerId: PeerId, envelope: Uint8Array): Promise<void>
  }
  readonly metrics?: StreamMetrics
  readonly clock?: Clock
  readonly log?: Log
}

/** Raw byte streams of one peer, in all its topics. See docs/protocols/stream.md. */
export interface RawStreams extends Closable {
  /**
   * Opens a stream to a handler of another member: `Streams.openStream`.
   * @throws MusterError as there.
   */
  open(topic: Topic, to: PeerId, name: string, options?: OpenStreamOptions): Promise<ByteStream>
  /**
   * Takes streams by name: `Streams.onStream`.
   * @throws MusterError `options-invalid`.
   */
  handle(topic: Topic, name: string, handler: StreamHandler): Undo
  /** A member is no longer in a topic: its streams end with `gone`, after a goodbye a moment later. */
  drop(topicId: TopicId, peerId: PeerId, reason: LeaveReason): void
  /** Ends all streams of a topic with `closed`, and forgets its handlers. Never rejects. */
  forget(topicId: TopicId): Promise<void>
}

/** Serves the stream protocol on a node and opens streams over it. */
export function createStreams(needs: StreamsNeeds, options: Partial<StreamLimits> = {}): RawStreams {
  const limits: StreamLimits = { ...DEFAULTS, ...options }
  const { node, membership, metrics, clock = systemClock, log = silentLog } = needs
  const scope = new Scope()
  const streams = new Set<RawStream>()
  /** Handlers by topic and name. */
  const handlers = new Map<string, { readonly topic: Topic; readonly run: StreamHandler }>()
  const common = {
    clock,
    membership,
    onOpened: (stream: RawStream) => void streams.add(stream),
    onClosed: (stream: RawStream) => void streams.delete(stream)
  }
  const incoming = new Incoming(
    {
      ...common,
      handlerOf: (topicId, name) => handlers.get(`${topicId} ${name}`),
      onOver: outcome => metrics?.onOver('in', outcome),
      log
    },
    limits
  )
  const outgoing = new Outgoing(
    { ...common, node, connect: needs.connect, onOver: outcome => metrics?.onOver('out', outcome) },
    limits
  )

  async function end(ofThese: (topicId: TopicId) => boolean): Promise<void> {
    outgoing.giveUp(ofThese)
    const left = new MusterError('closed', 'the topic was left')
    await Promise.all([...streams].filter(({ topicId }) => ofThese(topicId)).map(stream => stream.leave(left)))
  }

  scope.defer(() => incoming.close())
  scope.defer(() => end(() => true))
  scope.defer(
    node.handle(
      STREAM_PROTOCOL,
      { maxFrameBytes: MAX_STREAM_FRAME_BYTES, maxInboundPerConnection: limits.maxStreamsPerConnection },
      channel => incoming.serve(channel)
    )
  )

  return {
    signal: scope.signal,
    close: () => scope.close(),
    [Symbol.asyncDispose]: () => scope.close(),
    async open(topic, to, name, openOptions = {}) {
      if (scope.signal.aborted) throw new MusterError('closed', 'the peer is closed')
      if (!isStreamName(name)) throw new MusterError('value-invalid', NAME_RULE)
      if (to === node.peerId) throw new MusterError('unreachable', 'a peer opens no streams to itself')
      return await outgoing.open(topic, to, name, openOptions)
    },
    handle(topic, name, run) {
      if (!isStreamName(name)) throw new MusterError('options-invalid', NAME_RULE)
      const key = `${topic.id} ${name}`
      if (handlers.has(key)) {
        throw new MusterError('options-invalid', `streams named ${JSON.stringify(name)} have a handler already`)
      }
      const handler = { topic, run }
      handlers.set(key, handler)
      return () => {
        if (handlers.get(key) === handler) handlers.delete(key)
      }
    },
    drop(topicId, peerId, reason) {
      const gone = new MusterError('gone', 'the member left the topic or was lost')
      for (const stream of streams) {
        if (stream.topicId !== topicId || stream.peerId !== peerId) continue
        if (reason === 'lost') stream.abort(gone)
        else {
          // one that has ended meanwhile may still be read
          const stop = clock.after(limits.goodbyeTimeoutMs, () => streams.has(stream) && stream.abort(gone))
          stream.signal.addEventListener('abort', stop, { once: true })
        }
      }
    },
    async forget(topicId) {
      for (const [key, { topic }] of handlers) if (topic.id === topicId) handlers.delete(key)
      await end(id => id === topicId)
    }
  }
}

const NAME_RULE = 'the name of a stream is 1 to 64 bytes of text'
