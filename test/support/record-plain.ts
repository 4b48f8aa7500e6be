import { createIdentity, type Identity, unseal } from '../../src/shared/node/keys.ts'
import { codec } from '../../src/shared/wire/codec.ts'
import { eventually } from './eventually.ts'
import { kadOf, type PlainNode, plainNode, type Scope, T1_CURE } from './plain.ts'

// Values in kad-dht as a careful user would keep them: signed, numbered, dated, with the key inside, and a validator and a
// selector that look at all of that.

export const MAX_SKEW_MS = 2 * 60_000
const DOMAIN = 'plain'
/** What the stream of kad-dht takes. */
const MAX_BYTES = 4_194_304
const NO_PATH = { index: 0, queued: 0, running: 0, total: 0 }

const valueCodec = codec({
  key: { id: 1, type: 'string', required: true },
  sequence: { id: 2, type: 'uint64', required: true },
  expiresMs: { id: 3, type: 'uint64', required: true },
  text: { id: 4, type: 'string', required: true }
})
const libp2pRecord = codec({
  key: { id: 1, type: 'bytes', required: true },
  value: { id: 2, type: 'bytes', required: true },
  timeReceived: { id: 5, type: 'string', required: true }
})

export interface PlainValue {
  readonly key: string
  readonly sequence: number
  readonly expiresMs: number
  /** Empty: deleted. */
  readonly text: string
}

export const plainKey = (name: string): Uint8Array => new TextEncoder().encode(`/v/${name}`)

export async function sealed(author: Identity, said: Partial<PlainValue> = {}): Promise<Uint8Array> {
  const now = Date.now()
  const value = { key: '/v/colour', sequence: now, expiresMs: now + 3_600_000, text: 'a value', ...said }
  return await author.seal(DOMAIN, valueCodec.encode(value), MAX_BYTES)
}

async function opened(bytes: Uint8Array): Promise<PlainValue> {
  return valueCodec.decode((await unseal(DOMAIN, bytes, MAX_BYTES)).payload)
}

export async function validate(key: Uint8Array, bytes: Uint8Array): Promise<void> {
  const { key: said, sequence, expiresMs } = await opened(bytes)
  if (said !== new TextDecoder().decode(key)) throw new Error('the value of another key')
  if (expiresMs <= Date.now()) throw new Error('an expired value')
  if (sequence > Date.now() + MAX_SKEW_MS) throw new Error('a value from the future')
}

export async function select(_key: Uint8Array, values: Uint8Array[]): Promise<number> {
  const all = await Promise.all(values.map(opened))
  return all.reduce((best, { sequence }, at) => (sequence > (all[best] as PlainValue).sequence ? at : best), 0)
}

/** Three nodes that know each other. The holder is attacked. */
export interface PlainWorld {
  readonly author: Identity
  readonly holder: PlainNode
  readonly attacker: PlainNode
  readonly reader: PlainNode
  /** PUT_VALUE to the holder; resolves with whether it was acknowledged. `recordKey`: what stands in the record. */
  bring(name: string, value: Uint8Array, recordName?: string): Promise<boolean>
  /** What a node answers to GET_VALUE. */
  holds(name: string, node?: PlainNode): Promise<string | undefined>
}

export async function plainWorld(scope: Scope): Promise<PlainWorld> {
  const dht = { ...T1_CURE, validators: { v: validate }, selectors: { v: select } }
  const [author, holder, attacker, reader] = await Promise.all([
    createIdentity(),
    plainNode(scope, { dht }),
    plainNode(scope, { dht }),
    plainNode(scope, { dht })
  ])
  for (const node of [attacker, reader]) await node.dial(holder.getMultiaddrs())
  await attacker.dial(reader.getMultiaddrs())
  await eventually('they know each other', () =>
    [holder, attacker, reader].every(node => kadOf(node).routingTable.size === 2)
  )
  return {
    author,
    holder,
    attacker,
    reader,
    bring: (name, value, recordName) => put(attacker, holder, name, value, recordName),
    async holds(name, node = holder) {
      const asker = node === attacker ? reader : attacker
      const question = { type: 'GET_VALUE', key: plainKey(name) }
      for await (const answer of request(asker, node, question)) {
        if (answer.record !== undefined) return (await opened(answer.record.value)).text
      }
      return undefined
    }
  }
}

/** Brings a value to one node; resolves with whether that acknowledged it. */
export async function put(
  from: PlainNode,
  to: PlainNode,
  name: string,
  value: Uint8Array,
  recordName = name
): Promise<boolean> {
  const record = libp2pRecord.encode({ key: plainKey(recordName), value, timeReceived: new Date().toISOString() })
  let isAcknowledged = false
  for await (const answer of request(from, to, { type: 'PUT_VALUE', key: plainKey(name), record })) {
    if (answer.name === 'PEER_RESPONSE') isAcknowledged = true
  }
  return isAcknowledged
}

type Answer = { readonly name: string; readonly record?: { readonly value: Uint8Array } }

function request(from: PlainNode, to: PlainNode, message: object): AsyncIterable<Answer> {
  return kadOf(from).network.sendRequest(to.peerId, message, {
    path: NO_PATH,
    signal: AbortSignal.timeout(10_000)
  }) as AsyncIterable<Answer>
}
