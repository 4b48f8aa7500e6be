import type { PeerId } from '../core/address.ts'
import { MusterError } from '../core/errors.ts'
import type { TopicId } from '../core/topic.ts'
import type { OpenProof } from '../node/port.ts'
import { broadcastCodec, gossipTopic, MAX_BROADCAST_DATA_BYTES } from '../wire/broadcast.ts'
import type { Author, SignedBroadcast } from './broadcast.ts'

/** A member record that was verified. */
export interface AuthorRecord extends Author {
  readonly topicId: TopicId
  readonly peerId: PeerId
  readonly issuedMs: number
  readonly expiresMs: number
  /** True for a goodbye. */
  readonly left: boolean
}

/**
 * Verifies a member record as of a time.
 * @throws MusterError `protocol-violation`, also when it did not count then.
 */
export type OpenRecord = (envelope: Uint8Array, atMs: number) => Promise<AuthorRecord>

export interface OpenedBroadcast extends SignedBroadcast {
  readonly wantsAck: boolean
  readonly sender: Author
}

/**
 * Opens a broadcast from its proof: the author's signature, its topic, its form and limits, and that the author was a
 * member when it spoke. Whether it comes too late, or again, is not judged here.
 * @throws MusterError `protocol-violation`.
 */
export async function openBroadcast(
  proof: Uint8Array,
  topicId: TopicId,
  network: string,
  { openProof, openRecord }: { readonly openProof: OpenProof; readonly openRecord: OpenRecord }
): Promise<OpenedBroadcast> {
  const { author, topic, data } = await openProof(proof)
  if (topic !== gossipTopic(network, topicId)) throw violation('a broadcast of another topic')
  return await readBroadcast({ topicId, author, data, proof }, openRecord)
}

/** The same for a message whose signature and topic were verified already. */
export async function readBroadcast(
  message: {
    readonly topicId: TopicId
    readonly author: PeerId
    readonly data: Uint8Array
    readonly proof: Uint8Array
  },
  openRecord: OpenRecord
): Promise<OpenedBroadcast> {
  const { topicId, author, proof } = message
  const said = decodeBroadcast(message.data)
  const { sequence, sentMs, kind, body, envelope, wantsAck = false } = said
  const record = await openRecord(envelope, sentMs)
  if (record.peerId !== author) throw violation('a broadcast with the member record of somebody else')
  if (record.topicId !== topicId) throw violation('a broadcast with a member record of another topic')
  if (record.left) throw violation('a broadcast of somebody who had left')
  const { name, addresses } = record
  return { topicId, author, sequence, sentMs, kind, body, envelope, proof, wantsAck, sender: { name, addresses } }
}

/** What a broadcast claims, before anything of it is proven. */
export function decodeBroadcast(data: Uint8Array): ReturnType<typeof broadcastCodec.decode> {
  if (data.length > MAX_BROADCAST_DATA_BYTES) throw violation(`a broadcast of ${data.length} bytes`)
  return broadcastCodec.decode(data)
}

function violation(what: string): MusterError {
  return new MusterError('protocol-violation', what)
}
