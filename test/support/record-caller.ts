import { base58btc } from 'multiformats/bases/base58'
import type { PeerId } from '../../src/shared/core/address.ts'
import { seededRandom } from '../../src/shared/core/random.ts'
import { createIdentity, type Identity } from '../../src/shared/node/keys.ts'
import type { Channel, Node } from '../../src/shared/node/port.ts'
import { closestTo } from '../../src/shared/node/position.ts'
import { type RecordFields, type SignedRecord, signRecord } from '../../src/shared/records/record.ts'
import {
  MAX_RECORD_FRAME_BYTES,
  type NamedNode,
  RECORD_PROTOCOL,
  type RecordFrame,
  recordFrameCodec
} from '../../src/shared/wire/record.ts'
import { json, open } from './record-world.ts'

// Somebody who speaks the record protocol by hand: what is said is up to the test.

export class RecordCaller {
  readonly channel: Channel
  /** What came that nobody waited for. */
  readonly unasked: RecordFrame[] = []
  readonly #waiting = new Map<number, PromiseWithResolvers<RecordFrame>>()
  #lastId = 0

  private constructor(channel: Channel) {
    this.channel = channel
    void this.#read()
  }

  static async dial(node: Pick<Node, 'open'>, peerId: PeerId): Promise<RecordCaller> {
    return new RecordCaller(await node.open(peerId, RECORD_PROTOCOL, { maxFrameBytes: MAX_RECORD_FRAME_BYTES }))
  }

  async find(place: Uint8Array): Promise<NonNullable<RecordFrame['found']>> {
    const { found, refusal } = await this.ask(id => ({ find: { id, place } }))
    if (found === undefined) throw new Error(`not found but ${refusal?.code}`)
    return found
  }

  /** Resolves with why it was not stored; undefined when it was. */
  async store({ envelope }: Pick<SignedRecord, 'envelope'>): Promise<string | undefined> {
    const { stored, refusal } = await this.ask(id => ({ store: { id, envelope } }))
    return stored === undefined ? (refusal?.code ?? 'another answer') : stored.refusal
  }

  async ask(question: (id: number) => RecordFrame): Promise<RecordFrame> {
    const id = ++this.#lastId
    const answer = Promise.withResolvers<RecordFrame>()
    this.#waiting.set(id, answer)
    await this.channel.send(recordFrameCodec.encode(question(id)))
    return await answer.promise
  }

  /** Says something, whatever comes of it. */
  say(bytes: Uint8Array): void {
    this.channel.send(bytes).catch(() => undefined)
  }

  async #read(): Promise<void> {
    try {
      for await (const bytes of this.channel.frames) {
        const frame = recordFrameCodec.decode(bytes)
        const { id } = Object.values(frame)[0] as { id?: number }
        const answer = id === undefined ? undefined : this.#waiting.get(id)
        if (answer === undefined) this.unasked.push(frame)
        else answer.resolve(frame)
      }
      throw new Error('the stream ended')
    } catch (thrown) {
      for (const { promise, reject } of this.#waiting.values()) {
        promise.catch(() => undefined)
        reject(thrown)
      }
    }
  }
}

/** A record as its author might sign it, an hour long, with anything in it that a test wants otherwise. */
export async function recordOf(author: Identity, said: Partial<RecordFields> & { readonly text?: string } = {}) {
  const { text = 'a value', ...fields } = said
  const issuedMs = fields.issuedMs ?? Date.now()
  return await signRecord(author, {
    key: open('colour'),
    sequence: issuedMs,
    issuedMs,
    expiresMs: issuedMs + 3_600_000,
    value: json(text),
    ...fields
  })
}

/** Of so many that could be made up, the closest to a place is taken. */
const NEARER = 20

/** Peer ids that nobody has, closer to a place than real nodes are, at addresses where nobody is. */
export function madeUpNodes(place: Uint8Array, count: number, seed: number, nearer = NEARER): NamedNode[] {
  const random = seededRandom(seed)
  const ids = Array.from({ length: count * nearer }, () =>
    base58btc.baseEncode(
      Uint8Array.from([0, 36, 8, 1, 18, 32, ...Array.from({ length: 32 }, () => Math.floor(random() * 256))])
    )
  )
  return closestTo(place, ids, count, id => id).map((peerId, at) => ({
    peerId,
    addresses: [MADE_UP_ADDRESSES[at % MADE_UP_ADDRESSES.length] as string]
  }))
}
const MADE_UP_ADDRESSES = ['/ip4/127.0.0.1/tcp/1', '/ip4/127.0.0.1/tcp/2', 'no address at all', '/ip4/0.0.0.0/udp/9']

export { createIdentity }
