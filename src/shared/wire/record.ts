import { codec, type Shape } from './codec.ts'

/** Short name of the record protocol; on the wire `/muster/<network>/record/1.0.0`. */
export const RECORD_PROTOCOL = 'record/1.0.0'

/** Longest value of a record, in bytes after encoding. */
export const MAX_RECORD_VALUE_BYTES = 8_192
/** Longest key, in bytes of UTF-8. */
export const MAX_RECORD_KEY_BYTES = 256
/** A record in its envelope: value, key, signature and the rest. */
export const MAX_RECORD_ENVELOPE_BYTES = MAX_RECORD_VALUE_BYTES + 768
/** Nodes named in one answer: Kademlia's k. */
export const MAX_CLOSER_NODES = 20
/** Addresses of a node that is named. */
export const MAX_CLOSER_ADDRESSES = 8
/** Records offered in one frame. */
export const MAX_OFFERS = 256
/** A record, 20 nodes with 8 addresses of 128 bytes, and the protobuf around them. */
export const MAX_RECORD_FRAME_BYTES = 40_960

/** Bytes of a place: a position among the Kademlia ids. */
export const PLACE_BYTES = 32
/** Bytes of a sha2-256. */
const DIGEST_BYTES = 32
const MAX_ADDRESS_BYTES = 128

/** Which rule a key follows. Numbers on the wire. */
export const RECORD_KIND = { content: 1, owned: 2, open: 3 } as const
export type RecordKind = keyof typeof RECORD_KIND

/** What is signed, as payload of a libp2p signed envelope under the domain `record`. */
export const recordCodec = codec({
  kind: { id: 1, type: 'uint32', required: true },
  /** `content`: a CIDv1 with a sha2-256 of the value, 36 or 37 bytes. Otherwise UTF-8 in normal form C. */
  key: { id: 2, type: 'bytes', max: MAX_RECORD_KEY_BYTES, required: true },
  /** Counts up; at least 1, at most `issuedMs`. */
  sequence: { id: 3, type: 'uint64', required: true },
  /** Milliseconds since 1970. */
  issuedMs: { id: 4, type: 'uint64', required: true },
  expiresMs: { id: 5, type: 'uint64', required: true },
  /** One of `VALUE_KIND`. */
  valueKind: { id: 6, type: 'uint32' },
  /** Absent: a tombstone, the key was deleted. */
  value: { id: 7, type: 'bytes', max: MAX_RECORD_VALUE_BYTES }
})
export type RecordPayload = Parameters<typeof recordCodec.encode>[0]

const nodeCodec = codec({
  peerId: { id: 1, type: 'string', max: 64, required: true },
  addresses: { id: 2, type: 'string', max: MAX_ADDRESS_BYTES, repeated: MAX_CLOSER_ADDRESSES }
})

const findSchema = {
  id: { id: 1, type: 'uint32', required: true },
  place: { id: 2, type: 'bytes', max: PLACE_BYTES, required: true },
  /** Tell of changes, too, for a while. */
  watch: { id: 3, type: 'bool' }
} as const

const storeSchema = {
  id: { id: 1, type: 'uint32', required: true },
  envelope: { id: 2, type: 'bytes', max: MAX_RECORD_ENVELOPE_BYTES, required: true },
  /** Name the nodes closest to the record, too. */
  wantsCloser: { id: 3, type: 'bool' }
} as const

const offerCodec = codec({
  place: { id: 1, type: 'bytes', max: PLACE_BYTES, required: true },
  /** As in the record… */
  sequence: { id: 2, type: 'uint64', required: true },
  issuedMs: { id: 3, type: 'uint64', required: true },
  expiresMs: { id: 4, type: 'uint64', required: true },
  /** …and the sha2-256 of its payload. */
  digest: { id: 5, type: 'bytes', max: DIGEST_BYTES, required: true }
})

const offersSchema = {
  id: { id: 1, type: 'uint32', required: true },
  records: { id: 2, message: offerCodec, repeated: MAX_OFFERS }
} as const

const foundSchema = {
  id: { id: 1, type: 'uint32', required: true },
  envelope: { id: 2, type: 'bytes', max: MAX_RECORD_ENVELOPE_BYTES },
  closer: { id: 3, message: nodeCodec, repeated: MAX_CLOSER_NODES }
} as const

const storedSchema = {
  id: { id: 1, type: 'uint32', required: true },
  /** Why it is not stored: `older` (`newer` says than what) or another code; absent when it is, on disk. */
  refusal: { id: 2, type: 'string', max: 32 },
  newer: { id: 3, type: 'bytes', max: MAX_RECORD_ENVELOPE_BYTES },
  closer: { id: 4, message: nodeCodec, repeated: MAX_CLOSER_NODES }
} as const

const wantedSchema = {
  id: { id: 1, type: 'uint32', required: true },
  places: { id: 2, type: 'bytes', max: PLACE_BYTES, repeated: MAX_OFFERS }
} as const

const changedSchema = {
  envelope: { id: 1, type: 'bytes', max: MAX_RECORD_ENVELOPE_BYTES, required: true }
} as const

const refusalSchema = {
  id: { id: 1, type: 'uint32', required: true },
  code: { id: 2, type: 'string', max: 32, required: true }
} as const

const recordFrameSchema = {
  find: { id: 1, message: codec(findSchema) },
  store: { id: 2, message: codec(storeSchema) },
  offers: { id: 3, message: codec(offersSchema) },
  found: { id: 4, message: codec(foundSchema) },
  stored: { id: 5, message: codec(storedSchema) },
  wanted: { id: 6, message: codec(wantedSchema) },
  /** A record that is watched was replaced: by itself, whenever it happens. */
  changed: { id: 7, message: codec(changedSchema) },
  refusal: { id: 8, message: codec(refusalSchema) }
} as const

/** One frame of the record protocol: exactly one field is set. Requests: `find`, `store`, `offers`. */
export const recordFrameCodec = codec(recordFrameSchema)
export type RecordFrame = Shape<typeof recordFrameSchema>
export type NamedNode = Shape<{
  peerId: { id: 1; type: 'string'; required: true }
  addresses: { id: 2; type: 'string'; repeated: number }
}>
