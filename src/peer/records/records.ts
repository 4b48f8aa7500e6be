import { ED25519_PEER_ID, type PeerId } from '../../shared/core/address.ts'
import { MusterError } from '../../shared/core/errors.ts'
import { contentKey, normalCid, normalName, type RecordKey as SharedKey } from '../../shared/records/key.ts'
import { MAX_RECORD_VALIDITY_MS, MIN_RECORD_VALIDITY_MS, REPLICAS } from '../../shared/records/limits.ts'
import type { SignedRecord } from '../../shared/records/record.ts'
import type { Records as SharedRecords } from '../../shared/records/records.ts'
import type { Put } from '../../shared/records/write.ts'
import { MAX_RECORD_VALUE_BYTES } from '../../shared/wire/record.ts'
import type { PutOptions, PutResult, RecordKey, Records, RecordVersion, Value } from '../api.ts'
import { MAX_WAIT_MS } from '../times.ts'
import { decodeValue, encodeValue } from '../value.ts'

/** The records of the library: keys and values as users write them. */
export function peerRecords(records: SharedRecords, self: PeerId): Records {
  const put = async (key: SharedKey, value: Parameters<SharedRecords['put']>[1], options: PutOptions) => {
    if (key.kind === 'owned' && key.owner !== self) {
      throw new MusterError('refused', `only ${key.owner} writes ${JSON.stringify(key.name)}`)
    }
    judgeTimes(options)
    return putResult(await records.put(key, value, options))
  }
  return {
    async put(key, value, options = {}) {
      const encoded = encodeValue(value, MAX_RECORD_VALUE_BYTES)
      const hash = (): SharedKey & { readonly kind: 'content' } => contentKey(encoded.kind, encoded.body)
      const full = key === null ? hash() : keyOf(key, self)
      if (full.kind === 'content' && full.cid !== hash().cid) {
        throw new MusterError('refused', 'the key is the hash of another value')
      }
      return await put(full, encoded, options)
    },
    async get(key, options = {}) {
      judgeTimes(options)
      const { quorum } = options
      if (quorum !== undefined && !(Number.isInteger(quorum) && quorum >= 1 && quorum <= REPLICAS)) {
        throw new MusterError('options-invalid', `quorum: received ${quorum}, expected 1 to ${REPLICAS}`)
      }
      const found = await records.get(keyOf(key, self), options)
      if (found === undefined) return undefined
      const { value, ...version } = versionOf(found.record)
      if (value === undefined) return undefined
      return { ...version, value, holders: found.holders, answers: found.answers }
    },
    async delete(key, options = {}) {
      const full = keyOf(key, self)
      if (full.kind === 'content') {
        throw new MusterError('refused', 'what is stored under its own hash cannot be deleted: it ends with its time')
      }
      return await put(full, undefined, options)
    },
    async *watch(key, { signal = new AbortController().signal } = {}) {
      for await (const record of records.watch(keyOf(key, self), signal)) {
        const version = readable(record)
        if (version !== undefined) yield version
      }
    },
    async list() {
      const own = await records.own()
      return own.flatMap(({ record, stored, renewMs }) => {
        const { value, ...version } = versionOf(record)
        return value === undefined ? [] : [{ ...version, value, stored, renew: renewMs !== undefined }]
      })
    }
  }
}

/** @throws MusterError `key-invalid`. */
function keyOf(key: RecordKey, self: PeerId): SharedKey {
  if (typeof key === 'string') return { kind: 'open', name: normalName(key) }
  if (typeof key === 'object' && key !== null && 'content' in key)
    return { kind: 'content', cid: normalCid(key.content) }
  if (typeof key !== 'object' || key === null || !('name' in key)) {
    throw new MusterError('key-invalid', 'a key is a string, { name }, { owner, name } or { content }')
  }
  const { name, owner = self } = key
  if (!ED25519_PEER_ID.test(owner))
    throw new MusterError('key-invalid', `owner: ${JSON.stringify(owner)} is no peer id`)
  return { kind: 'owned', owner, name: normalName(name) }
}

/** @throws MusterError `options-invalid`. */
function judgeTimes({ validityMs, timeoutMs }: { readonly validityMs?: number; readonly timeoutMs?: number }): void {
  const problems: string[] = []
  const check = (name: string, value: number | undefined, min: number, max: number): void => {
    if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return
    problems.push(`${name}: received ${value}, expected ${min} to ${max} milliseconds`)
  }
  check('validityMs', validityMs, MIN_RECORD_VALIDITY_MS, MAX_RECORD_VALIDITY_MS)
  check('timeoutMs', timeoutMs, 1, MAX_WAIT_MS)
  if (problems.length > 0) throw new MusterError('options-invalid', problems.join('\n'))
}

function putResult({ record, stored, isQuorum }: Put): PutResult {
  return { ...versionOf(record), stored, isQuorum }
}

function versionOf({ key, value, author, sequence, issuedMs, expiresMs }: SignedRecord): RecordVersion {
  return {
    key: publicKeyOf(key),
    value: value === undefined ? undefined : decoded(value),
    author,
    sequence,
    issuedAt: new Date(issuedMs).toISOString(),
    expiresAt: new Date(expiresMs).toISOString()
  }
}

function publicKeyOf(key: SharedKey): RecordKey {
  if (key.kind === 'content') return { content: key.cid }
  return key.kind === 'open' ? key.name : { owner: key.owner, name: key.name }
}

/** @throws MusterError `record-invalid`: its author signed what is no value. */
function decoded(value: NonNullable<SignedRecord['value']>): Value {
  let read: ReturnType<typeof decodeValue>
  try {
    read = decodeValue(value)
  } catch (cause) {
    throw new MusterError('record-invalid', 'the author signed what is neither JSON nor bytes', { cause })
  }
  if (read === undefined) {
    throw new MusterError('record-invalid', 'the author signed a value of a kind this version does not know')
  }
  return read.value
}

/** Undefined for what its author signed though it is no value: on an open key anybody may. */
function readable(record: SignedRecord): RecordVersion | undefined {
  try {
    return versionOf(record)
  } catch {
    return undefined
  }
}
