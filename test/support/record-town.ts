import { Key } from 'interface-datastore'
import { hexOf } from '../../src/shared/core/bytes.ts'
import { type Clock, sleep } from '../../src/shared/core/clock.ts'
import { sample, seededRandom } from '../../src/shared/core/random.ts'
import type { Node } from '../../src/shared/node/port.ts'
import { closestTo } from '../../src/shared/node/position.ts'
import { placeOf, type RecordKey } from '../../src/shared/records/key.ts'
import { REPLICAS } from '../../src/shared/records/limits.ts'
import { peekRecord } from '../../src/shared/records/record.ts'
import { envelopeOf } from '../../src/shared/records/shelf.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import type { Store } from '../../src/shared/store/port.ts'
import { EventClock, passTime } from './event-clock.ts'
import { conspiracy, type HostileServer, type Hostility, serveHostile } from './record-hostiles.ts'
import { type Holder, json, open, RecordWorld, read } from './record-world.ts'

export interface TownOptions {
  readonly seed: number
  readonly honest: number
  /** What each hostile node is. */
  readonly hostile?: readonly Hostility[]
  /** Connections each node opens, to others at random; everybody knows everybody by default. */
  readonly links?: number
  /** Milliseconds an honest node takes to read its disk. */
  readonly readMs?: number
}

/** Many holders on the fake network, some of them hostile, in simulated time. */
export class Town extends RecordWorld {
  readonly seed: number
  readonly time: EventClock
  readonly honest: Holder[] = []
  readonly hostile: HostileServer[] = []
  readonly #nodes: Node[] = []
  readonly draw: () => number

  private constructor(seed: number, time: EventClock) {
    super({ seed, clock: time })
    this.seed = seed
    this.time = time
    this.draw = seededRandom(seed * 7919 + 1)
  }

  static async found({ seed, honest, hostile = [], links, readMs = 0 }: TownOptions): Promise<Town> {
    const town = new Town(seed, new EventClock())
    for (let at = 0; at < honest; at++) {
      town.honest.push(await town.holder({ store: readMs === 0 ? memoryStore() : slowStore(town.time, readMs) }))
    }
    const first = conspiracy()
    const evil: Node[] = []
    for (const kind of hostile) {
      const node = await town.network.createNode({ answersAlone: true })
      town.hostile.push(serveHostile(node, kind, { first, random: town.draw }))
      evil.push(node)
    }
    town.#nodes.push(...town.honest.map(({ node }) => node), ...evil)
    await town.#link(links)
    return town
  }

  /** Puts `count` keys, `versions` times each, by honest writers at random; resolves with the keys and what counts. */
  async fill(count: number, versions = 2): Promise<Map<RecordKey, string>> {
    const newest = new Map<RecordKey, string>()
    for (let at = 0; at < count; at++) {
      const key = open(`key ${at}`)
      for (let version = 1; version <= versions; version++) {
        const value = `value ${at}, version ${version}`
        await this.until(this.anyone().records.put(key, json(value)))
        this.time.advanceTo(this.time.now() + 10)
        newest.set(key, value)
      }
    }
    return newest
  }

  /** Reads every key at an honest node at random; what went wrong, one line for each. */
  async misses(newest: ReadonlyMap<RecordKey, string>): Promise<string[]> {
    const wrong: string[] = []
    for (const [key, value] of newest) {
      const said = await this.until(this.anyone().records.get(key)).then(read, (thrown: Error) => thrown.message)
      if (said !== value) wrong.push(`${JSON.stringify(key)}: ${JSON.stringify(said)}`)
    }
    return wrong
  }

  /** Of the nodes that should hold the keys, those that live and are honest, how many hold the newest: 0 to 1. */
  async recall(newest: ReadonlyMap<RecordKey, string>): Promise<number> {
    let [due, there] = [0, 0]
    for (const [key, value] of newest) {
      const place = placeOf(key)
      const closest = closestTo(place, this.living(), REPLICAS, ({ peerId }) => peerId)
      for (const { store } of this.honest.filter(({ node }) => closest.includes(node))) {
        due++
        if ((await this.until(heldIn(store, place))) === value) there++
      }
    }
    return there / due
  }

  living(): Node[] {
    return this.#nodes.filter(({ signal }) => !signal.aborted)
  }

  anyone(): Holder {
    const [one] = sample(
      this.honest.filter(({ node }) => !node.signal.aborted),
      1,
      this.draw
    )
    if (one === undefined) throw new Error('nobody lives')
    return one
  }

  /** Kills so many honest ones at once. */
  async strike(count: number): Promise<void> {
    await Promise.all(sample(this.honest, count, this.draw).map(holder => holder.kill()))
    await this.network.settle()
  }

  /** Lets time pass, in jumps, until something is over. */
  async until<T>(pending: Promise<T>): Promise<T> {
    let isOver = false
    const over = (): void => {
      isOver = true
    }
    pending.then(over, over)
    for (;;) {
      await this.network.settle()
      if (isOver) return await pending
      const next = this.time.nextAt
      if (next === undefined) throw new Error('nothing will ever happen')
      this.time.advanceTo(next)
    }
  }

  /** Lets so much time pass. */
  async pass(ms: number): Promise<void> {
    await passTime(this.time, this.network, ms)
  }

  async #link(links: number | undefined): Promise<void> {
    for (const [at, node] of this.#nodes.entries()) {
      const others = links === undefined ? this.#nodes.slice(0, at) : sample(this.#nodes, links, this.draw)
      await Promise.all(
        others
          .filter(other => other !== node)
          .map(({ peerId, addresses }) => this.until(node.connect({ peerId, addresses })))
      )
    }
  }
}

/** What a node holds under a key, read from its disk. */
export async function heldIn(store: Store, place: Uint8Array): Promise<unknown> {
  const { datastore } = await store.openTable('records')
  try {
    const row = await datastore.get(new Key(`/muster/record/held/${hexOf(place)}`))
    return read({ record: peekRecord(envelopeOf(row)) })
  } catch {
    return undefined // nothing
  }
}

/** A store whose reads take a while. */
function slowStore(clock: Clock, readMs: number): Store {
  const store = memoryStore()
  return {
    ...store,
    async openTable(name) {
      const table = await store.openTable(name)
      const { datastore } = table
      const get = datastore.get.bind(datastore)
      datastore.get = async (...args) => {
        await sleep(clock, readMs, NEVER)
        return await get(...args)
      }
      return table
    }
  }
}
const NEVER = new AbortController().signal
