import type { PeerId } from '../core/address.ts'
import type { Clock } from '../core/clock.ts'
import { asMusterError, MusterError } from '../core/errors.ts'
import { type Log, silentLog } from '../core/log.ts'
import { deadlineBy, raceSignal } from '../core/signals.ts'
import type { Topic, TopicId } from '../core/topic.ts'
import type { SignedBroadcast } from '../gossip/broadcast.ts'
import type { Channel, Node } from '../node/port.ts'
import { MAX_CLOCK_SKEW_MS } from '../roster/limits.ts'
import { MAX_PROOF_BYTES } from '../wire/broadcast.ts'
import { HISTORY_PROTOCOL, MAX_HISTORY_FRAME_BYTES } from '../wire/history.ts'
import { askFrame, HISTORY_REFUSALS, type HistoryRefusal, readHistoryFrame } from './frame.ts'
import { ANSWER_TIMEOUT_MS, KEPT_MS, MAX_KEPT_BYTES, SILENCE_TIMEOUT_MS } from './limits.ts'

/** A broadcast from before, verified again, with what its author called itself then. */
export interface PastBroadcast extends SignedBroadcast {
  readonly sender: { readonly name: string | undefined }
}

/**
 * Opens a proof: signature, topic, form, and that the member record in it is its author's and counted when it was sent.
 * @throws MusterError `protocol-violation`.
 */
export type OpenBroadcast = (proof: Uint8Array, topicId: TopicId) => Promise<PastBroadcast>

export interface AskNeeds {
  readonly node: Pick<Node, 'open'>
  readonly open: OpenBroadcast
  /** Our signed member record; undefined when we are not in the topic. */
  ownEnvelope(topicId: TopicId): Uint8Array | undefined
  readonly clock: Clock
  readonly log?: Log
  onAsked?(outcome: 'answered' | 'refused' | 'failed'): void
}

/** What one keeper gave. Whatever its outcome, the messages are verified. */
export interface Answer {
  /** `failed`: it lied, was silent, broke the protocol, or cannot be reached. */
  readonly outcome: 'answered' | HistoryRefusal | 'refused' | 'failed'
  readonly messages: readonly PastBroadcast[]
}

/**
 * Asks one connected peer for the newest `limit` messages of a topic. What it gives is verified; at the first lie it is
 * heard no further. Rejects only when `signal` aborts.
 */
export async function askKeeper(
  needs: AskNeeds,
  peerId: PeerId,
  topic: Pick<Topic, 'id' | 'key'>,
  limit: number,
  signal: AbortSignal
): Promise<Answer> {
  const { clock, onAsked, log = silentLog } = needs
  const messages: PastBroadcast[] = []
  let channel: Channel | undefined
  using whole = deadlineBy(clock, ANSWER_TIMEOUT_MS, `history of ${peerId}`, signal)
  try {
    const envelope = needs.ownEnvelope(topic.id)
    if (envelope === undefined) throw new MusterError('not-a-member', 'this peer is not in the topic')
    channel = await openWithin(needs, peerId, askFrame(topic.key, envelope, limit), whole.signal)
    const refusal = await read(needs, channel, topic.id, limit, messages, whole.signal)
    onAsked?.(refusal === undefined ? 'answered' : 'refused')
    channel.close().catch(() => undefined) // it has said all
    return { outcome: refusal ?? 'answered', messages }
  } catch (thrown) {
    const error = asMusterError(thrown, 'closed')
    channel?.abort(error)
    signal.throwIfAborted()
    onAsked?.('failed')
    log.debug({ err: error, peerId }, 'history not read')
    return { outcome: 'failed', messages }
  }
}

async function openWithin(
  { node, clock }: AskNeeds,
  peerId: PeerId,
  first: Uint8Array,
  signal: AbortSignal
): Promise<Channel> {
  using silence = deadlineBy(clock, SILENCE_TIMEOUT_MS, `history of ${peerId}`, signal)
  return await node.open(peerId, HISTORY_PROTOCOL, {
    first: [first],
    maxFrameBytes: MAX_HISTORY_FRAME_BYTES,
    signal: silence.signal
  })
}

/** Reads an answer to its end, into `messages`. */
async function read(
  { clock, open }: AskNeeds,
  channel: Channel,
  topicId: TopicId,
  limit: number,
  messages: PastBroadcast[],
  signal: AbortSignal
): Promise<HistoryRefusal | 'refused' | undefined> {
  const frames = channel.frames[Symbol.asyncIterator]()
  let bytes = 0
  for (let count = 0; ; count++) {
    using silence = deadlineBy(clock, SILENCE_TIMEOUT_MS, 'a keeper', signal)
    const next = await raceSignal(frames.next(), silence.signal)
    if (next.done === true) throw new MusterError('closed', 'an answer without an end')
    const { entry, end, refusal } = readHistoryFrame(next.value)
    if (end !== undefined) return undefined
    if (refusal !== undefined) return HISTORY_REFUSALS.find(code => code === refusal.code) ?? 'refused'
    if (entry === undefined) throw new MusterError('protocol-violation', 'a keeper asked')
    bytes += entry.proof.length
    if (count >= limit || bytes > MAX_KEPT_BYTES + MAX_PROOF_BYTES) {
      throw new MusterError('protocol-violation', 'more than was asked for')
    }
    const message = await open(entry.proof, topicId)
    if (isInTime(message, clock.now())) messages.push(message)
  }
}

/** What is past its time, or from the future, is left out: a keeper may have another clock than ours. */
function isInTime({ sentMs }: SignedBroadcast, now: number): boolean {
  return sentMs <= now + MAX_CLOCK_SKEW_MS && sentMs >= now - KEPT_MS - MAX_CLOCK_SKEW_MS
}
