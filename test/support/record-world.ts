import { type Clock, systemClock } from '../../src/shared/core/clock.ts'
import { type Closable, Scope } from '../../src/shared/core/lifecycle.ts'
import { seededRandom } from '../../src/shared/core/random.ts'
import { FakeNetwork } from '../../src/shared/node/fake.ts'
import { createIdentity, type Identity, unseal } from '../../src/shared/node/keys.ts'
import type { Node } from '../../src/shared/node/port.ts'
import type { RecordKey } from '../../src/shared/records/key.ts'
import type { RecordValue } from '../../src/shared/records/record.ts'
import { openRecords, type Records, type RecordsNeeds } from '../../src/shared/records/records.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import type { Store } from '../../src/shared/store/port.ts'
import { VALUE_KIND } from '../../src/shared/wire/message.ts'

/** A node with records on a network in memory. */
export interface Holder {
  readonly node: Node
  readonly identity: Identity
  readonly store: Store
  readonly records: Records
  /** As `kill -9`. */
  kill(): Promise<void>
  close(): Promise<void>
}

export interface HolderOptions {
  readonly identity?: Identity
  readonly store?: Store
  readonly address?: string
  /** What its records are given instead. */
  readonly needs?: Partial<RecordsNeeds>
}

export class RecordWorld implements Closable {
  readonly network: FakeNetwork
  readonly clock: Clock
  readonly #random: () => number
  readonly #scope = new Scope()

  constructor({ seed = 1, clock = systemClock, latencyMs = 0 } = {}) {
    this.clock = clock
    this.#random = seededRandom(seed)
    this.network = new FakeNetwork({ clock, random: this.#random, latencyMs })
  }

  get signal(): AbortSignal {
    return this.#scope.signal
  }

  close(): Promise<void> {
    return this.#scope.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async holder(options: HolderOptions = {}): Promise<Holder> {
    const { store = memoryStore(), address, needs } = options
    const identity =
      options.identity ?? (await createIdentity(Uint8Array.from({ length: 32 }, () => this.#random() * 256)))
    const node = await this.network.createNode({
      identity,
      answersAlone: true,
      ...(address === undefined ? {} : { address })
    })
    const records = await openRecords({
      node,
      table: await store.openTable('records'),
      unseal,
      clock: this.clock,
      random: this.#random,
      ...needs
    })
    const close = async (): Promise<void> => {
      await records.close()
      await node.close()
    }
    this.#scope.defer(close)
    const kill = async (): Promise<void> => {
      await this.network.kill(node)
      await records.close()
    }
    return { node, identity, store, records, kill, close }
  }

  /** Holders that all know each other. */
  async holders(count: number): Promise<Holder[]> {
    const holders: Holder[] = []
    for (let at = 0; at < count; at++) holders.push(await this.holder())
    await mesh(holders)
    return holders
  }
}

export async function mesh(holders: readonly Holder[]): Promise<void> {
  for (const [at, { node }] of holders.entries()) {
    for (const { node: other } of holders.slice(0, at)) {
      await node.connect({ peerId: other.peerId, addresses: other.addresses })
    }
  }
}

export const open = (name: string): RecordKey => ({ kind: 'open', name })
export const owned = (owner: Pick<Holder, 'node'>, name: string): RecordKey => ({
  kind: 'owned',
  owner: owner.node.peerId,
  name
})

export function json(value: unknown): RecordValue {
  return { kind: VALUE_KIND.json, body: new TextEncoder().encode(JSON.stringify(value)) }
}

export function read(found: { readonly record: { readonly value: RecordValue | undefined } } | undefined): unknown {
  const value = found?.record.value
  return value === undefined ? undefined : JSON.parse(new TextDecoder().decode(value.body))
}
