import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'
import { MusterError } from './errors.ts'

/** Longest topic name, in bytes of its NFC form in UTF-8. */
export const MAX_TOPIC_BYTES = 256

const DOMAIN = 'muster/topic/1\n'

/** The text form of a topic key: CIDv1, raw codec, sha2-256, base32. */
export type TopicId = string

export interface Topic {
  /** As the user wrote it, in Unicode normal form C. */
  readonly name: string
  /** The topic key as text. */
  readonly id: TopicId
  /** The topic key as bytes: 36 bytes, as they go over the wire. */
  readonly key: Uint8Array
}

/**
 * The topic of a name: CIDv1, raw, sha2-256 of `muster/topic/1` ‖ 0x0A ‖ UTF-8(NFC(name)).
 * @throws MusterError `topic-invalid` when the name is empty, over {@link MAX_TOPIC_BYTES} bytes, or not well-formed text.
 */
export async function topicOf(name: string): Promise<Topic> {
  const normal = normalTopicName(name)
  const digest = await sha256.digest(new TextEncoder().encode(DOMAIN + normal))
  const cid = CID.createV1(raw.code, digest)
  return { name: normal, id: cid.toString(), key: cid.bytes }
}

/** Judges a topic name without hashing it. */
export function normalTopicName(name: unknown): string {
  if (typeof name !== 'string') throw new MusterError('topic-invalid', `a topic name is a string, not ${typeof name}`)
  if (!name.isWellFormed()) throw new MusterError('topic-invalid', 'the topic name has a lone surrogate')
  const normal = name.normalize('NFC')
  const bytes = new TextEncoder().encode(normal).length
  if (bytes === 0) throw new MusterError('topic-invalid', 'a topic name has at least one character')
  if (bytes > MAX_TOPIC_BYTES) {
    throw new MusterError('topic-invalid', `the topic name is ${bytes} bytes long; at most ${MAX_TOPIC_BYTES}`)
  }
  return normal
}

/**
 * The text form of topic key bytes.
 * @throws MusterError `protocol-violation` when they are not a CIDv1, raw, sha2-256.
 */
export function topicIdOf(key: Uint8Array): TopicId {
  try {
    const cid = CID.decode(key)
    if (cid.version === 1 && cid.code === raw.code && cid.multihash.code === sha256.code && cid.multihash.size === 32) {
      return cid.toString()
    }
  } catch (cause) {
    throw new MusterError('protocol-violation', 'not a topic key', { cause })
  }
  throw new MusterError('protocol-violation', 'not a topic key')
}
