import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { PeerId } from '../../src/shared/core/address.ts'
import { seededRandom } from '../../src/shared/core/random.ts'
import type { Identity } from '../../src/shared/node/keys.ts'
import { REPUBLISH_MS } from '../../src/shared/records/limits.ts'
import { peekRecord } from '../../src/shared/records/record.ts'
import { envelopeOf } from '../../src/shared/records/shelf.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import type { Store } from '../../src/shared/store/port.ts'
import { EventClock, passTime } from '../support/event-clock.ts'
import { type Holder, json, RecordWorld } from '../support/record-world.ts'

/** Worlds that are tried; `MUSTER_SIMULATIONS=5000` for a night. */
const COUNT = Number(process.env.MUSTER_SIMULATIONS ?? 60)
/** The first of them; a failure names the one to repeat alone. */
const FIRST_SEED = Number(process.env.MUSTER_SEED ?? 1)
const KEYS = ['one', 'two']

interface Seat {
  readonly identity: Identity
  readonly store: Store
  readonly address: string
  holder: Holder | undefined
  /** What its disk held last, by row: sequence. */
  readonly onDisk: Map<string, number>
  /** What this run of the node has read, by key: sequence. */
  seen: Map<string, number>
}

/** What is known of one key from outside. */
interface Truth {
  /** Highest sequence whose write was acknowledged. */
  acknowledged: number
}

class Simulation {
  readonly history: string[] = []
  readonly #clock = new EventClock()
  readonly #world: RecordWorld
  readonly #random: () => number
  readonly #seats: Seat[] = []
  readonly #truths = new Map<string, Truth>()
  readonly #open = new Set<Promise<void>>()
  /** Envelopes of all that was written. */
  readonly #written: Uint8Array[] = []
  /** Keys that somebody tried to delete: from then on there may be nothing. */
  readonly #deletions = new Set<string>()
  readonly #faults: string[] = []

  constructor(seed: number) {
    this.#world = new RecordWorld({ seed, clock: this.#clock, latencyMs: 20 })
    this.#random = seededRandom(seed * 104_729 + 1)
  }

  async run(): Promise<void> {
    await using _ = this.#world
    const size = 4 + Math.floor(this.#random() * 6)
    for (let at = 0; at < size; at++) await this.#sit()
    await this.#meet()
    for (let step = 0; step < 25; step++) {
      await this.#act()
      await this.#pass(this.#pick([0, 20, 100, 1_000, 15_000, 60_000]))
      await this.#lookAtDisks()
    }
    await this.#mend()
    assert.deepEqual(this.#faults, [])
    await this.#converges()
  }

  async #sit(): Promise<void> {
    const store = memoryStore()
    const holder = await this.#world.holder({ store })
    const address = holder.node.addresses[0] as string
    this.#seats.push({ identity: holder.identity, store, address, holder, seen: new Map(), onDisk: new Map() })
  }

  get #living(): Array<Seat & { readonly holder: Holder }> {
    return this.#seats.filter((seat): seat is Seat & { holder: Holder } => seat.holder !== undefined)
  }

  async #act(): Promise<void> {
    const drawn = this.#random()
    if (drawn < 0.3) this.#write(this.#pick(this.#living.slice(0, 3)), this.#pick(KEYS), this.#random() < 0.2)
    else if (drawn < 0.6) this.#read(this.#pick(this.#living), this.#pick(this.#seats.slice(0, 3)), this.#pick(KEYS))
    else if (drawn < 0.65) this.#replay(this.#pick(this.#living))
    else if (drawn < 0.77) await this.#crash()
    else if (drawn < 0.87) await this.#return(this.#random() < 0.5)
    else if (drawn < 0.95) {
      const side = this.#living.filter(() => this.#random() < 0.5)
      const other = this.#living.filter(seat => !side.includes(seat))
      this.#world.network.partition(
        side.map(({ holder }) => holder.node),
        other.map(({ holder }) => holder.node)
      )
      this.#note(`cut into ${side.length} and ${other.length}`)
    } else {
      this.#world.network.heal()
      this.#note('healed')
      await this.#meet()
    }
  }

  #write(seat: Seat & { readonly holder: Holder }, name: string, isDeleted: boolean): void {
    const { node, records } = seat.holder
    const key = `${this.#nameOf(node.peerId)}/${name}`
    const value = isDeleted ? undefined : json(this.history.length)
    const truth = this.#truthOf(key)
    const run = seat.holder
    if (isDeleted) this.#deletions.add(key)
    this.#start(
      records.put({ kind: 'owned', owner: node.peerId, name }, value).then(
        ({ record, stored }) => {
          this.#written.push(record.envelope)
          this.#note(`${key} = ${record.sequence}${isDeleted ? ' deleted' : ''}, stored by ${stored}`)
          truth.acknowledged = Math.max(truth.acknowledged, record.sequence)
          if (seat.holder === run) seat.seen.set(key, Math.max(record.sequence, seat.seen.get(key) ?? 0))
        },
        thrown => this.#note(`${key}: not written, ${thrown.code}`)
      )
    )
  }

  #read(seat: Seat & { readonly holder: Holder }, owner: Seat, name: string): void {
    const key = `${this.#nameOf(owner.identity.peerId)}/${name}`
    const run = seat.holder
    const before = seat.seen.get(key) ?? 0
    const reader = this.#nameOf(run.node.peerId)
    this.#start(
      run.records.get({ kind: 'owned', owner: owner.identity.peerId, name }).then(
        found => {
          this.#note(`${reader} reads ${key}: ${found?.record.sequence ?? 'nothing'}`)
          if (seat.holder !== run) return
          if (found === undefined) {
            // deleted since: the deletion's own sequence is not shown
            if (before > 0 && !this.#deletions.has(key)) this.#fault(`${reader} read nothing of ${key} after ${before}`)
            return
          }
          const { sequence } = found.record
          if (sequence < before) this.#fault(`${reader} read ${key} ${sequence} after ${before}`)
          seat.seen.set(key, Math.max(sequence, seat.seen.get(key) ?? 0))
        },
        thrown => this.#note(`${reader} cannot read ${key}: ${thrown.code}`)
      )
    )
  }

  /** What a node has on disk of a key never becomes older, whatever happens to the node. */
  async #lookAtDisks(): Promise<void> {
    for (const { store, onDisk, identity } of this.#seats) {
      const { datastore } = await store.openTable('records')
      for await (const { key, value } of datastore.query({ prefix: '/muster/record/held' })) {
        const { sequence } = peekRecord(envelopeOf(value))
        const before = onDisk.get(key.toString()) ?? 0
        if (sequence < before) this.#fault(`${this.#nameOf(identity.peerId)} holds ${sequence} after ${before}`)
        onDisk.set(key.toString(), sequence)
      }
    }
  }

  /** Somebody brings an old record again. */
  #replay(seat: Seat & { readonly holder: Holder }): void {
    const envelope = this.#written[Math.floor(this.#random() * this.#written.length)]
    if (envelope === undefined) return
    this.#note(`${this.#nameOf(seat.identity.peerId)} is brought an old record`)
    this.#start(seat.holder.records.restore(envelope).then(() => undefined))
  }

  async #crash(): Promise<void> {
    if (this.#living.length < 3) return
    const seat = this.#pick(this.#living)
    this.#note(`${this.#nameOf(seat.identity.peerId)} crashes`)
    const { holder } = seat
    ;(seat as Seat).holder = undefined
    await holder.kill()
  }

  async #return(isMet = true): Promise<void> {
    const seat = this.#seats.find(({ holder }) => holder === undefined)
    if (seat === undefined) return
    this.#note(`${this.#nameOf(seat.identity.peerId)} comes back`)
    const { identity, store, address } = seat
    seat.holder = await this.#world.holder({ identity, store, address })
    seat.seen = new Map()
    if (isMet) await this.#meet()
    else await this.#meetOne(seat.holder)
  }

  async #meetOne({ node }: Holder): Promise<void> {
    const { holder: other } = this.#pick(this.#living.filter(({ holder }) => holder.node !== node))
    this.#start(node.connect({ peerId: other.node.peerId, addresses: other.node.addresses }).then(ignored, ignored))
    await this.#pass(200)
  }

  /** Everybody dials everybody; what does not work now is tried again with the next. */
  async #meet(): Promise<void> {
    for (const [at, { holder }] of this.#living.entries()) {
      for (const { holder: other } of this.#living.slice(0, at)) {
        if (holder.node.isConnected(other.node.peerId)) continue
        this.#start(
          holder.node.connect({ peerId: other.node.peerId, addresses: other.node.addresses }).then(ignored, ignored)
        )
      }
    }
    await this.#pass(200)
  }

  async #mend(): Promise<void> {
    this.#note('everything is mended')
    this.#world.network.heal()
    while (this.#living.length < this.#seats.length) await this.#return()
    await this.#pass(30_000) // what was under way ends with its deadline
    await this.#meet()
    await this.#pass(2 * REPUBLISH_MS)
  }

  /** All read the same of each key: nothing older than what was acknowledged last. */
  async #converges(): Promise<void> {
    for (const [key, { acknowledged }] of this.#truths) {
      if (acknowledged === 0) continue
      const [ownerName = '', name = ''] = key.split('/')
      const owner = this.#seats.find(({ identity }) => this.#nameOf(identity.peerId) === ownerName) as Seat
      const sequences = new Set<number>()
      for (const { holder } of this.#living) {
        for await (const record of this.#watchOnce(holder, owner.identity.peerId, name)) sequences.add(record)
      }
      assert.equal(sequences.size, 1, `${key}: ${[...sequences]}`)
      assert.ok(
        [...sequences].every(sequence => sequence >= acknowledged),
        `${key}: ${[...sequences]} < ${acknowledged}`
      )
    }
  }

  /** The version a node finds, deleted ones too. */
  async *#watchOnce(holder: Holder, owner: PeerId, name: string): AsyncGenerator<number> {
    const stop = new AbortController()
    const watching = holder.records.watch({ kind: 'owned', owner, name }, stop.signal)[Symbol.asyncIterator]()
    const next = watching.next()
    let sequence: number | undefined
    this.#start(
      next.then(({ value }) => {
        sequence = value?.sequence
      })
    )
    await this.#pass(15_000)
    stop.abort()
    await watching.return?.(undefined)
    assert.ok(
      sequence !== undefined,
      `${this.#nameOf(holder.node.peerId)} finds nothing of ${this.#nameOf(owner)}/${name}`
    )
    yield sequence
  }

  #start(work: Promise<void>): void {
    this.#open.add(work)
    void work.finally(() => this.#open.delete(work))
  }

  async #pass(ms: number): Promise<void> {
    await passTime(this.#clock, this.#world.network, ms)
  }

  #truthOf(key: string): Truth {
    const truth = this.#truths.get(key) ?? { acknowledged: 0 }
    this.#truths.set(key, truth)
    return truth
  }

  #nameOf(peerId: PeerId): string {
    return `n${this.#seats.findIndex(({ identity }) => identity.peerId === peerId)}`
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)] as T
  }

  #fault(text: string): void {
    this.#note(`FAULT ${text}`)
    this.#faults.push(text)
  }

  #note(text: string): void {
    this.history.push(`${((this.#clock.now() - 1_700_000_000_000) / 1000).toFixed(2)} s: ${text}`)
  }
}

const ignored = (): void => undefined

describe('records in simulated networks with crashes and cuts', () => {
  it(`never go backwards for a reader, and come together again, in ${COUNT} worlds from seed ${FIRST_SEED}`, async () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + COUNT; seed++) {
      const simulation = new Simulation(seed)
      await simulation.run().catch(thrown => {
        throw new Error(`MUSTER_SEED=${seed} MUSTER_SIMULATIONS=1:\n${simulation.history.join('\n')}`, {
          cause: thrown
        })
      })
    }
  })
})
